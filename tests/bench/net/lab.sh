#!/bin/sh
# lab.sh BUILD ROUNDS MS [TEST...]: the network of a Linux guest: ours in libcapsa, QEMU's with slirp and with passt. Prints
# samples. run.sh starts it in the lab, whose interfaces it sets up. NET_DUMMY is the module of dummy devices, TEST a test of
# traffic.c and an MTU.
set -eu
build=$1 rounds=$2 ms=$3
shift 3
[ $# -gt 0 ] || set -- up-1500 down-1500 rr-1500 crr1-1500 udpup-1500 udpdown-1500
tests=$*
bin=$build/bench kernel=$build/guest/bzImage initrd=$build/bench/net.cpio
tmp=$(mktemp -d)
chmod 1777 "$tmp" # passt becomes nobody
ip link set lo up
# passt takes an interface with a way out for the host's.
[ -e /sys/class/net/dummy0 ] || busybox insmod "$NET_DUMMY"
ip addr replace 10.99.0.1/24 dev dummy0
ip link set dummy0 up
ip route replace default via 10.99.0.2
"$bin/traffic" serve 7000 &
server=$!
trap 'kill $server; rm -rf $tmp' EXIT

args=
for t in $tests; do args="$args traffic=${t%-*}:${t#*-}:$ms"; done
# As in ../lab.sh.
qemu() {
	qemu-system-x86_64 -M microvm,x-option-roms=off,pit=off,pic=off,isa-serial=off,rtc=off -accel kvm -cpu host -m 256 \
		-nodefaults -no-user-config -nographic -no-reboot -kernel "$kernel" -initrd "$initrd" \
		-device virtio-serial-device -chardev stdio,id=c,signal=off -device virtconsole,chardev=c "$@" \
		-append "quiet console=hvc0 panic=-1 reboot=t pci=off tsc=reliable no_timer_check random.trust_cpu=on$args" </dev/null
}
run() {
	case $1 in
	ours) "$bin/machine" "$kernel" "$initrd" $args ;;
	slirp) qemu -netdev user,id=n -device virtio-net-device,netdev=n,host_mtu=65520 ;;
	passt)
		passt -f -q -4 -s "$tmp/passt" -1 -a 10.0.2.15 -n 24 -g 10.0.2.2 -m 65520 >"$tmp/passt.log" 2>&1 &
		for i in $(seq 50); do
			[ -S "$tmp/passt" ] && break
			sleep 0.2
		done
		qemu -netdev stream,id=n,server=off,addr.type=unix,addr.path="$tmp/passt" -device virtio-net-device,netdev=n,host_mtu=65520
		wait $!
		rm -f "$tmp/passt"
		;;
	esac
}
for round in $(seq "$rounds"); do
	for p in ours slirp passt; do
		run $p | tr -d '\r' | while read -r word test value; do
			case $word/$value in
			sample/[0-9]*) echo "$value" >>"$tmp/samples-$p-$test" ;;
			*) echo "net: $p: $word $test $value" >&2 ;;
			esac
		done || true
	done
done
. "$(dirname "$0")/rows.sh"
passt=$(version passt)
version() {
	case $1 in
	slirp) echo "QEMU with libslirp" ;;
	passt) echo "QEMU with $passt" ;;
	esac
}
for t in $tests; do
	mtu=
	[ "${t#*-}" = 1500 ] || mtu=", MTU ${t#*-}"
	for p in slirp passt; do row "$t" " of a Linux guest$mtu" $p ""; done
done
