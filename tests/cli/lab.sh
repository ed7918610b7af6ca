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
for name in sh cat ls wc pwd uname sleep tty stty echo touch; do ln -s busybox "$work/root/bin/$name"; done
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
status "$capsa" exec box sh -c 'ls /mark; echo err >&2; exit 3'
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
is 'the image is as it was' '' "$(find "$work/root" -name mark)"
exit $failed
