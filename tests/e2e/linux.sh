#!/bin/sh
# linux.sh DIR: what the tests take from Linux's source (Debian's linux-source-6.1), for DIR:
#
#   linux.tar          a part of the tree, to be unpacked
#   guest/vsock_test   Linux's own test of AF_VSOCK (tools/testing/vsock) for the guest
#   vsock_kernel.o     the same for the host: its main is kernel_vsock_test, and its calls about sockets go to the functions
#                      of vsock_kernel.h
set -eu
dir=${1:?usage: linux.sh DIR}
version=$(dpkg-query -W -f '${Version}' linux-source-6.1)
src=${XDG_CACHE_HOME:-$HOME/.cache}/capsa/linux-part-$version
new=
work=$(mktemp -d)
trap 'rm -rf "$work" "$new"' EXIT
if [ ! -d "$src" ]; then
	mkdir -p "$(dirname "$src")"
	new=$(mktemp -d "$src.XXXXXX")
	tar -C "$new" -xJf /usr/src/linux-source-6.1.tar.xz --wildcards --strip-components=1 linux-source-6.1/fs/fuse \
		linux-source-6.1/net/vmw_vsock linux-source-6.1/drivers/virtio linux-source-6.1/tools/testing/vsock
	mv -T "$new" "$src" 2>/dev/null || [ -d "$src" ] # somebody else was faster
fi
mkdir -p "$dir/guest"
tar -C "$src" -cf "$work/linux.tar" fs net drivers
mv "$work/linux.tar" "$dir/linux.tar"

# The flags of its Makefile. Of the kernel's headers it needs one macro.
test=$src/tools/testing/vsock
flags='-g -O2 -w -Wno-pointer-sign -fno-strict-overflow -fno-strict-aliasing -fno-common -U_FORTIFY_SOURCE -D_GNU_SOURCE'
for part in vsock_test timeout control util; do
	gcc $flags '-DARRAY_SIZE(a)=(sizeof(a) / sizeof(a)[0])' -I "$test" -c -o "$work/$part.o" "$test/$part.c"
done
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
