#!/bin/sh
# images.sh DIR: makes in DIR all that the tests and the demo boot.
#
#   bzImage vmlinux     our kernel (kernel/build.sh)
#   initrd.cpio         its initial file system: init, busybox
#   large.cpio          the same, 80 MiB in size
#   stock-vmlinuz       Debian's cloud kernel, unmodified (kernel/stock.sh)
#   stock.cpio          its initial file system: the same and virtio modules
#   spin triple         guests of a few bytes (bare/)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/.." && pwd)
out=${1:?usage: images.sh DIR}
mkdir -p "$out"
out=$(cd "$out" && pwd)

# Modules that make a stock kernel see the machine's devices, its power button and its
# panic device, and let logind see the button.
modules='virtio_mmio virtio_console virtio_rng virtio_blk virtio_balloon virtio_net vmw_vsock_virtio_transport virtiofs button evdev pvpanic_mmio'

kernel=$("$here/kernel/build.sh")
stock=$("$here/kernel/stock.sh" cloud-amd64)
busybox=$(command -v busybox) || {
	echo "images.sh: busybox-static is not installed; run scripts/setup.sh" >&2
	exit 1
}
# The guest has no libraries.
if ldd "$busybox" >/dev/null 2>&1; then
	echo "images.sh: $busybox is not static; install busybox-static" >&2
	exit 1
fi

# place SOURCE NAME: copies when the contents differ, so that make sees no change.
place() { cmp -s "$1" "$out/$2" || { cp "$1" "$out/.$2" && mv "$out/.$2" "$out/$2"; }; }
place "$kernel/bzImage" bzImage
place "$kernel/vmlinux" vmlinux
place "$stock/vmlinuz" stock-vmlinuz

work=$(mktemp -d "$out/.images-XXXXXX")
trap 'rm -rf "$work"' EXIT

gcc -std=gnu11 -O2 -Wall -Wextra -Werror -static -s -o "$work/init" "$here"/init/*.c
for guest in spin triple; do
	gcc -c -o "$work/$guest.o" "$here/bare/$guest.S"
	ld -n -static --no-warn-rwx-segments -T "$here/bare/bare.ld" -o "$work/$guest" "$work/$guest.o"
	place "$work/$guest" "$guest"
done

(cd "$root" && CGO_ENABLED=0 go build -o "$work/" ./guest/cmd/mkinitrd)
set -- -file "init=$work/init" -file "bin/busybox=$busybox" -file "etc/udhcpc.sh=$here/udhcpc.sh" -dir root -dir etc
for applet in $("$busybox" --list); do
	# Its init is not ours.
	case $applet in init | linuxrc | busybox) continue ;; esac
	set -- "$@" -link "bin/$applet=busybox"
done
for tool in ram crash crashkernel triplefault flood lock vsock udp; do
	set -- "$@" -link "bin/$tool=/init"
done
"$work/mkinitrd" -o "$work/initrd.cpio" "$@"
"$work/mkinitrd" -o "$work/large.cpio" "$@" -pad $((80 << 20))
"$work/mkinitrd" -o "$work/stock.cpio" "$@" -modules "$stock/modules" $(printf -- '-module %s ' $modules)
for image in initrd.cpio large.cpio stock.cpio; do
	place "$work/$image" "$image"
done
