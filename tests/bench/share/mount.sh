#!/bin/sh
# mount.sh BIN ROUNDS: the file server of shares on the host's /dev/fuse, against go-fuse's loopback file system and
# against no FUSE at all. Prints samples. BIN has the programs that run.sh builds.
set -eu
[ -n "${SHAREBENCH_INSIDE:-}" ] || SHAREBENCH_INSIDE=1 exec unshare --mount "$0" "$@" # the mounts go with it
bin=$1 rounds=$2
here=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir "$tmp/mounts"
mount -t tmpfs tmpfs "$tmp/mounts"
for side in ours go-fuse plain; do
	mkdir "$tmp/mounts/$side" "$tmp/mounts/$side/dir" "$tmp/mounts/$side/at"
	[ $side != plain ] || continue
	mkfifo "$tmp/$side"
	"$bin/share-server" $side "$tmp/mounts/$side/dir" "$tmp/mounts/$side/at" >"$tmp/$side" &
	read -r _ <"$tmp/$side"
done
for _ in $(seq "$rounds"); do
	for side in ours go-fuse plain; do
		"$bin/share-load" "$tmp/mounts/$side/at" 5 | sed "s/^/$side /"
	done
done >"$tmp/out"
umount "$tmp/mounts/ours/at" "$tmp/mounts/go-fuse/at"
wait
grep -v '^plain ' "$tmp/out" | awk -v prefix='mount' -v peer="go-fuse's loopback" -f "$here/samples.awk"
grep -v '^go-fuse ' "$tmp/out" | awk -v prefix='mount' -v peer='the directory itself' -f "$here/samples.awk"
rm -rf "$tmp"/out
umount "$tmp/mounts"
