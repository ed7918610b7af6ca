#!/bin/sh
# Builds the guest kernel that guest.config describes from Debian's
# linux-source-6.1 package, and prints the directory that holds the result:
#
#   bzImage   lz4-compressed image        vmlinux   stripped ELF
#   config    the full configuration
#
# The directory's name is a hash of all that goes in (configuration, source
# version, compiler version, this recipe's number), so a build happens once for
# each input, and the same input gives the same bytes. It lies in
# ${XDG_CACHE_HOME:-~/.cache}/capsa/kernel and appears whole or not at all.
#
#   build.sh              build when needed, print the directory
#   build.sh --where      print the directory, build nothing
#
# Needs (scripts/setup.sh installs them): linux-source-6.1 gcc make flex bison bc
# libelf-dev libssl-dev lz4 xz-utils
set -eu

# Raise when the commands below change what they make.
recipe=1

here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/capsa/kernel
source=/usr/src/linux-source-6.1.tar.xz

version=$(dpkg-query -W -f '${Version}' linux-source-6.1 2>/dev/null) || {
	echo "build.sh: the package linux-source-6.1 is not installed; run scripts/setup.sh" >&2
	exit 1
}
hash=$({
	echo "recipe $recipe"
	echo "source $version"
	gcc --version | head -n 1
	cat "$here/guest.config"
} | sha256sum | cut -c 1-16)
dir=$cache/guest-$hash

if [ "${1:-}" = --where ]; then
	echo "$dir"
	exit 0
fi

# It appears whole, so nobody waits for a build of something else to find it.
if [ -e "$dir/bzImage" ]; then
	echo "$dir"
	exit 0
fi

mkdir -p "$cache"
# One build at a time; a second caller waits and finds the result.
exec 9>"$cache/lock"
flock 9
if [ -e "$dir/bzImage" ]; then
	echo "$dir"
	exit 0
fi

echo "building the guest kernel (once; about 14 minutes of processor time)" >&2
tmp=$(mktemp -d "$cache/.build-XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP
tar -C "$tmp" -xf "$source"
src=$tmp/linux-source-6.1
obj=$tmp/obj
mkdir "$obj" "$tmp/out"

# No time, user, host or counter in the image.
export KBUILD_BUILD_TIMESTAMP='1970-01-01 00:00:00 UTC' KBUILD_BUILD_USER=capsa KBUILD_BUILD_HOST=capsa KBUILD_BUILD_VERSION=1

{
	make -s -C "$src" O="$obj" KCONFIG_ALLCONFIG="$here/guest.config" allnoconfig
	make -s -C "$src" O="$obj" -j"$(nproc)" bzImage vmlinux
} </dev/null >"$tmp/log" 2>&1 9>&- || {
	echo "build.sh: the build failed; its last lines:" >&2
	tail -n 40 "$tmp/log" >&2
	exit 1
}

cp "$obj/arch/x86/boot/bzImage" "$tmp/out/bzImage"
strip -s -o "$tmp/out/vmlinux" "$obj/vmlinux"
cp "$obj/.config" "$tmp/out/config"
"$here/missing-options.sh" "$here/guest.config" "$obj/.config" >&2

rm -rf "$dir"
mv -T "$tmp/out" "$dir"
echo "$dir"
