#!/bin/sh
# run.sh [native|languages|net|netlab|mount|boot|disk|stop...]: builds and runs the benchmarks and reports them;
# README.md says what they are.
# BUILD (build) has the library and guest images; CAPSA_BENCH_ROUNDS (15; disk 5, stop 7) machines of a pair;
# of a share on a mount CAPSA_BENCH_MOUNT_ROUNDS (15);
# of the network CAPSA_BENCH_NET_ROUNDS (5) of CAPSA_BENCH_NET_MS (400) for each test and peer.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cd "$root"
build=$(cd "${BUILD:-build}" && pwd)
out=$build/bench
mkdir -p "$out"
[ $# -gt 0 ] || set -- native languages net mount boot disk stop

compile() {
	name=$1
	shift
	gcc -std=c11 -O2 -Wall -Wextra -Werror -Iinclude -o "$out/$name" "$@" -L"$build" -lcapsa -Wl,-rpath,"$build"
}
compile native "$here/native.c" "$here/floor.c"
compile load "$here/load.c"
compile boot "$here/boot.c"
compile once "$here/once.c"
compile disk "$here/disk.c"
compile stop "$here/stop.c"
compile isolated "$here/isolated.c"
compile calls.so -shared -fPIC "$here/calls.c"
for init in init diskload; do
	gcc -std=c11 -O2 -Wall -Wextra -Werror -static -s -o "$out/$init" "$here/$init.c"
done
gcc -c -o "$out/first.o" "$here/first.S"
ld -n -static -Ttext=0x1000000 -o "$out/first" "$out/first.o"
go build -buildmode=c-shared -o "$out/noop.so" ./tests/bench/noop
go build -o "$out/report" ./tests/bench/report
CGO_ENABLED=0 go run ./guest/cmd/mkinitrd -o "$out/initrd.cpio" -file "init=$out/init"
CGO_ENABLED=0 go run ./guest/cmd/mkinitrd -o "$out/disk.cpio" -file "init=$out/diskload"

: >"$out/samples.jsonl"
for part; do
	case $part in
	native)
		[ -w /dev/kvm ] || { echo "bench: no /dev/kvm" >&2; exit 1; }
		"$out/native" "$out/first" "$out/noop.so" >>"$out/samples.jsonl"
		"$out/isolated" native "$out/first" >>"$out/samples.jsonl"
		"$out/load" "$build/libcapsa.so" >>"$out/samples.jsonl"
		CAPSA_LIBRARY="$build/libcapsa.so" PYTHONPATH=bindings/python/src \
			"${PYTHON:-/usr/bin/python3}" "$here/python.py" "$out/first" "$out/calls.so" >>"$out/samples.jsonl"
		echo "{\"name\":\"size of the library\",\"unit\":\"bytes\",\"ours\":[$(stat -Lc %s "$build/libcapsa.so")]}" >>"$out/samples.jsonl"
		;;
	languages)
		[ -x "$build/polyglot/c.sh" ] || { echo "bench: no interpreters: make polyglot-build" >&2; exit 1; }
		set_of=
		for language in c cpp rust go python asyncio node; do
			[ ! -x "$build/polyglot/$language.sh" ] || set_of="$set_of $language=$build/polyglot/$language.sh"
		done
		# shellcheck disable=SC2086 # words
		"${PYTHON:-/usr/bin/python3}" "$here/languages.py" "$build/node/guest.elf" $set_of >>"$out/samples.jsonl"
		;;
	net)
		gvproxy=v0.8.9
		[ -x "$out/gvproxy-$gvproxy" ] || {
			GOBIN=$out go install github.com/containers/gvisor-tap-vsock/cmd/gvproxy@$gvproxy
			mv "$out/gvproxy" "$out/gvproxy-$gvproxy"
		}
		ln -sf gvproxy-$gvproxy "$out/gvproxy"
		gcc -std=c11 -O2 -Wall -Wextra -Werror -pthread -o "$out/traffic" "$here/net/traffic.c"
		gcc -std=c11 -O2 -Wall -Wextra -Werror -pthread -o "$out/relay" "$here/net/relay.c"
		go build -o "$out/ours" ./tests/bench/net/ours
		"$here/net/net.sh" "$out" "${CAPSA_BENCH_NET_ROUNDS:-5}" "${CAPSA_BENCH_NET_MS:-400}" ${CAPSA_BENCH_NET_TESTS:-} >>"$out/samples.jsonl"
		;;
	netlab)
		gcc -std=c11 -O2 -Wall -Wextra -Werror -static -s -o "$out/netinit" "$here/net/guest.c"
		gcc -std=c11 -O2 -Wall -Wextra -Werror -pthread -static -s -o "$out/traffic" "$here/net/traffic.c"
		compile machine "$here/net/machine.c"
		CGO_ENABLED=0 go run ./guest/cmd/mkinitrd -o "$out/net.cpio" -file "init=$out/netinit" -file "traffic=$out/traffic"
		NET_DUMMY=$(guest/kernel/stock.sh amd64)/modules/drivers/net/dummy.ko
		export NET_DUMMY
		LAB_FORCE=1 tests/lab/lab-run "$here/net/lab.sh" "$build" "${CAPSA_BENCH_NET_ROUNDS:-1}" "${CAPSA_BENCH_NET_MS:-2000}" \
			${CAPSA_BENCH_NET_TESTS:-} >>"$out/samples.jsonl"
		;;
	mount)
		gcc -std=c11 -O2 -Wall -Wextra -Werror -o "$out/share-load" "$here/share/load.c"
		CGO_ENABLED=0 go build -o "$out/share-server" ./tests/bench/share/server
		"$here/share/mount.sh" "$out" "${CAPSA_BENCH_MOUNT_ROUNDS:-15}" >>"$out/samples.jsonl"
		;;
	boot)
		echo "bench: booting Linux on: $(tests/lab/lab-run --where)" >&2
		tests/lab/lab-run "$here/lab.sh" "$build" "${CAPSA_BENCH_ROUNDS:-15}" >>"$out/samples.jsonl"
		;;
	disk)
		# Data that nothing can leave out, in both formats.
		head -c $((96 << 20)) /dev/urandom >"$out/disk.raw"
		qemu-img convert -f raw -O qcow2 "$out/disk.raw" "$out/disk.qcow2"
		echo "bench: disks on: $(tests/lab/lab-run --where)" >&2
		tests/lab/lab-run "$here/disk.sh" "$build" "${CAPSA_BENCH_ROUNDS:-5}" >>"$out/samples.jsonl"
		;;
	stop)
		echo "bench: stopping Linux on: $(tests/lab/lab-run --where)" >&2
		tests/lab/lab-run "$here/stop.sh" "$build" "${CAPSA_BENCH_ROUNDS:-7}" >>"$out/samples.jsonl"
		;;
	*)
		echo "bench: no part named $part" >&2
		exit 2
		;;
	esac
done
"$out/report" -json "$out/bench.json" -svg "$out/bench.svg" <"$out/samples.jsonl"
