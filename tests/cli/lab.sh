#!/usr/bin/env bash
# lab.sh: the command capsa with Linux guests on real KVM; `make cli-test` runs it, in the lab where the host has none.
# BUILD (build) has capsa, capsa-vzd and guest/vmlinux. The image is busybox.
set -euo pipefail
build=$(cd "${BUILD:-build}" && pwd)
capsa=$build/capsa
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CAPSA_KERNEL=${CAPSA_KERNEL:-$build/guest/vmlinux}
export XDG_RUNTIME_DIR=$work/run XDG_CACHE_HOME=$work/cache
mkdir -p "$XDG_RUNTIME_DIR" "$work"/root/{bin,etc,tmp,proc,sys,dev,run,root}
cp "$(command -v busybox)" "$work/root/bin/busybox"
for name in sh cat ls wc pwd uname sleep tty stty echo touch httpd wget; do ln -s busybox "$work/root/bin/$name"; done
echo 'root:x:0:0::/root:/bin/sh' >"$work/root/etc/passwd"

failed=0
# is WHAT WANT GOT
is() {
	if [ "$2" = "$3" ]; then
		echo "ok: $1"
	else
		printf 'FAILED: %s\n  want: %q\n  got:  %q\n' "$1" "$2" "$3"
		failed=1
	fi
}
# status COMMAND...: runs it and leaves its output in $out, its status in $status
status() {
	status=0
	out=$("$@" 2>"$work/err") || status=$?
}

status "$capsa" run --memory 128M -e A=1 -w /tmp "$work/root" sh -c 'echo $A; pwd; uname -s; echo err >&2; exit 7'
is 'status of a program' 7 "$status"
is 'its output' $'1\n/tmp\nLinux' "$out"
is 'its error output' err "$(cat "$work/err")"

status "$capsa" run -d --name box --memory 128M "$work/root" sh -c 'echo started; touch /mark; sleep 100000'
is 'name of a machine in the background' box "$out"
cat "$work/err"
status "$capsa" exec box sh -c 'until [ -e /mark ]; do sleep 0.1; done; ls /mark; echo err >&2; exit 3'
is 'status of exec' '3 /mark err' "$status $out $(cat "$work/err")"
status "$capsa" exec box no-such-program
is 'a program that is not there' 127 "$status"
is 'input' 200000 "$(head -c 200000 /dev/zero | "$capsa" exec -i box wc -c)"
is 'output' 5000000 "$("$capsa" exec box sh -c 'cat /dev/zero | busybox head -c 5000000' | wc -c)"
echo content >"$work/file"
"$capsa" cp "$work/file" box:/tmp/
"$capsa" cp box:/tmp/file "$work/back"
is 'copy in and out' content "$(cat "$work/back")"
status script -qec "$capsa exec -it box sh -c 'stty size; tty; exit 5'" /dev/null </dev/null
is 'status on a terminal' 5 "$status"
case $out in */dev/pts/*) ;; *) is 'a terminal' /dev/pts "$out" ;; esac
is 'logs' started "$("$capsa" logs box)"
is 'name in the list' box "$("$capsa" ps -q)"
status "$capsa" stop box
is 'stop' '0 box' "$status $out"
is 'nothing is left' '' "$("$capsa" ps -q)$(ls "$XDG_RUNTIME_DIR/capsa")$(pgrep -x capsa || true)$(pgrep -x capsa-vzd || true)"

# A directory of the host, and a port of it that the guest's server answers.
mkdir "$work/site"
echo 'from the host' >"$work/site/index.html"
port=$((20000 + RANDOM % 10000))
status "$capsa" run -d --name web --memory 128M -v "$work/site:/site" -p "127.0.0.1:$port:80" "$work/root" \
	busybox httpd -f -v -p 80 -h /site
is 'name of a server' web "$out"
cat "$work/err"
for _ in $(seq 50); do # until the server is there
	status busybox wget -qO- "http://127.0.0.1:$port/"
	[ $status != 0 ] || break
	sleep 0.2
done
is 'the port answers' 'from the host' "$out"
"$capsa" exec web sh -c 'echo from the guest >/site/written'
is 'what the guest writes to the directory' 'from the guest' "$(cat "$work/site/written")"
status "$capsa" exec web busybox nc -w 5 1.1.1.1 80
is 'no way to the network' 1 "$status"
"$capsa" kill web
is 'nothing is left of it' '' "$("$capsa" ps -q)"

# An OCI layout made by hand: its program, environment and directory are the image's.
layout=$work/layout
mkdir -p "$layout/blobs/sha256"
# blob FILE: puts it into the layout and says its digest
blob() {
	local digest
	digest=$(sha256sum <"$1" | cut -d' ' -f1)
	cp "$1" "$layout/blobs/sha256/$digest"
	echo "$digest"
}
tar -C "$work/root" -cf "$work/layer" .
layer=$(blob "$work/layer")
printf '{"architecture":"amd64","os":"linux","config":{"Entrypoint":["sh","-c"],"Cmd":["echo $WHO; pwd"],"Env":["WHO=image"],"WorkingDir":"/tmp"},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
	"$layer" >"$work/config"
config=$(blob "$work/config")
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%d},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:%s","size":%d}]}' \
	"$config" "$(stat -c %s "$work/config")" "$layer" "$(stat -c %s "$work/layer")" >"$work/manifest"
manifest=$(blob "$work/manifest")
printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%d}]}' \
	"$manifest" "$(stat -c %s "$work/manifest")" >"$layout/index.json"
echo '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
status "$capsa" run --memory 128M "$layout"
is 'the program of an image' $'0 image\n/tmp' "$status $out"
cat "$work/err"
is 'the image is as it was' '' "$(find "$work/root" -name mark)"
exit $failed
