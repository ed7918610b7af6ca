#!/bin/sh
# vsock_kernel.sh DIR: compiles Linux's own test of AF_VSOCK (tools/testing/vsock of Debian's linux-source-6.1) twice:
# as the guest's program DIR/guest/vsock_test, and for the host as DIR/vsock_kernel.o, whose main is kernel_vsock_test
# and whose calls about sockets go to the functions of vsock_kernel.h.
set -eu
dir=${1:?usage: vsock_kernel.sh DIR}
version=$(dpkg-query -W -f '${Version}' linux-source-6.1)
src=${XDG_CACHE_HOME:-$HOME/.cache}/capsa/vsock_test-$version
if [ ! -d "$src" ]; then
	mkdir -p "$(dirname "$src")"
	new=$(mktemp -d "$src.XXXXXX")
	trap 'rm -rf "$new"' EXIT
	tar -C "$new" -xJf /usr/src/linux-source-6.1.tar.xz --wildcards --strip-components=4 'linux-source-6.1/tools/testing/vsock/*'
	mv -T "$new" "$src" 2>/dev/null || [ -d "$src" ]
fi

work=$(mktemp -d)
trap 'rm -rf "$work" "${new:-}"' EXIT
# The flags of its Makefile. Of the kernel's headers it needs one macro.
flags='-g -O2 -w -Wno-pointer-sign -fno-strict-overflow -fno-strict-aliasing -fno-common -U_FORTIFY_SOURCE -D_GNU_SOURCE'
for part in vsock_test timeout control util; do
	gcc $flags '-DARRAY_SIZE(a)=(sizeof(a) / sizeof(a)[0])' -I "$src" -c -o "$work/$part.o" "$src/$part.c"
done
mkdir -p "$dir/guest"
# The linker warns that getaddrinfo needs the C library's shared objects; not for numbers.
gcc -static -s -Wl,--no-warnings -o "$work/vsock_test" "$work"/*.o
mv "$work/vsock_test" "$dir/guest/.vsock_test.$$"
mv "$dir/guest/.vsock_test.$$" "$dir/guest/vsock_test"

ld -r -o "$work/all" "$work"/*.o
set -- --redefine-sym main=kernel_vsock_test --keep-global-symbol=kernel_vsock_test
for call in socket bind listen accept connect close read; do
	set -- "$@" --redefine-sym $call=shim_$call
done
objcopy "$@" "$work/all" "$dir/vsock_kernel.o"
