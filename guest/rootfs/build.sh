#!/bin/sh
# Builds a Debian 12 root file system with systemd and prints the directory that
# holds it in three formats:
#
#   debian.raw          ext4 on the whole disk, sparse
#   debian.qcow2        the same
#   debian-zstd.qcow2   the same, its clusters compressed with zstd
#
# It boots without an initrd (root=/dev/vda, ext4 in the kernel), or with one whose
# init switches to it, to a login on hvc0: user root, password capsa. trim.sh says
# how it differs from an ordinary installation.
#
# Packages come from the mirrors that apt on this machine is configured for, no
# loop device is needed, and the directory's name is a hash of all that goes in, so
# a build happens once for each input. It lies in
# ${XDG_CACHE_HOME:-~/.cache}/capsa/rootfs and appears whole or not at all.
#
#   build.sh              build when needed, print the directory
#   build.sh --where      print the directory, build nothing
#   build.sh --into DIR   build when needed, put links to the images into DIR
#
# Needs (scripts/setup.sh installs them): mmdebstrap e2fsprogs qemu-utils; root, or
# sudo.
set -eu

# Raise when the commands below change what they make.
recipe=1

# What is there besides packages that are essential in Debian. dbus: logind, which
# handles the power button, asks systemd through it.
packages='systemd-sysv udev dbus e2fsprogs fio'
# The file system's size; what is not used takes no room.
size=1G

here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/capsa/rootfs

# candidate PACKAGE: the version that apt would install.
candidate() { apt-cache policy "$1" | sed -n 's/^  Candidate: //p'; }

[ "$(candidate systemd-sysv)" ] || {
	echo "build.sh: apt has no package lists; run apt-get update (Debian 12)" >&2
	exit 1
}
hash=$({
	echo "recipe $recipe $size"
	for p in libc6 $packages; do echo "$p $(candidate "$p")"; done
	cat "$here/trim.sh"
	(cd "$here/files" && find . -type f -o -type l | LC_ALL=C sort | while read -r f; do
		echo "$f $(readlink "$f" || sha256sum <"$f")"
	done)
} | sha256sum | cut -c 1-16)
dir=$cache/debian-$hash
images='debian.raw debian.qcow2 debian-zstd.qcow2'

# finish: says where the result is, and ends.
finish() {
	if [ -n "$into" ]; then
		mkdir -p "$into"
		for i in $images; do ln -sfn "$dir/$i" "$into/$i"; done
	else
		echo "$dir"
	fi
	exit 0
}
into=
case ${1:-} in
--where)
	finish
	;;
--into)
	into=${2:?usage: build.sh --into DIR}
	;;
esac

mkdir -p "$cache"
# One build at a time; a second caller waits and finds the result.
exec 9>"$cache/lock"
flock 9
[ -e "$dir" ] && finish

command -v mmdebstrap >/dev/null || {
	echo "build.sh: mmdebstrap is not installed; run scripts/setup.sh" >&2
	exit 1
}
echo "building the Debian root file system (once; about a minute)" >&2
as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
tmp=$(mktemp -d "$cache/.build-XXXXXX")
trap '$as_root rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP
# mmdebstrap's apt drops to an unprivileged user.
chmod 755 "$tmp"
mkdir "$tmp/out"

# The mirrors of this machine.
apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) main' \
	'Created-By: Packages' 'Origin: Debian' 'Component: main' 'Architecture: amd64' |
	grep -E ' bookworm(-security|-updates)? main$' | sort -u >"$tmp/sources.list"

# No time and no random numbers in the image.
export SOURCE_DATE_EPOCH=1700000000 E2FSPROGS_FAKE_TIME=1700000000
uuid=3b1f6f6e-6361-4073-a161-64656269616e
{
	$as_root mmdebstrap --variant=essential --mode=root --format=directory \
		--include="$(echo $packages | tr ' ' ,)" \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
		--dpkgopt='path-exclude=/usr/share/zoneinfo/*' \
		--customize-hook="cp -r --preserve=mode,links '$here/files/.' \"\$1/\"" \
		--customize-hook="'$here/trim.sh' \"\$1\"" \
		bookworm "$tmp/root" "$tmp/sources.list"
	truncate -s "$size" "$tmp/out/debian.raw"
	$as_root env E2FSPROGS_FAKE_TIME=$E2FSPROGS_FAKE_TIME mke2fs -q -F -t ext4 -d "$tmp/root" -L debian -U "$uuid" -m 0 -N 32768 -J size=16 \
		-E "hash_seed=$uuid,lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0" "$tmp/out/debian.raw"
	qemu-img convert -f raw -O qcow2 "$tmp/out/debian.raw" "$tmp/out/debian.qcow2"
	qemu-img convert -f raw -O qcow2 -c -o compression_type=zstd "$tmp/out/debian.raw" "$tmp/out/debian-zstd.qcow2"
} </dev/null >"$tmp/log" 2>&1 9>&- || {
	echo "build.sh: the build failed; its last lines:" >&2
	tail -n 40 "$tmp/log" >&2
	exit 1
}
# Nothing shall change them by accident.
chmod 444 "$tmp/out"/*
mv -T "$tmp/out" "$dir"
finish
