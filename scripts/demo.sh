#!/bin/sh
# demo.sh: boots a small Linux through libcapsa.so and lets it greet, on the host's
# KVM where that is real, else in the lab. `make demo` builds what it needs first.
set -eu
cd "$(dirname "$0")/.."
build=$(cd "${BUILD:-build}" && pwd)

case $(tests/lab/lab-run --where) in
host) echo "demo: this host has KVM; the guest runs on it" ;;
*) echo "demo: this host has no hardware virtualisation; the guest runs in the lab, an emulated machine that has (slow)" ;;
esac
cc -std=c11 -O2 -Wall -Wextra -Iinclude -o "$build/demo" examples/hello.c -L"$build" -lcapsa -Wl,-rpath,"$build"
# shellcheck disable=SC2016 # the guest's shell expands it
exec tests/lab/lab-run "$build/demo" "$build/guest/bzImage" "$build/guest/initrd.cpio" \
	'echo "Hello from a virtual machine: Linux $(uname -r), $(nproc) processor, up since $(cut -d" " -f1 /proc/uptime) s."'
