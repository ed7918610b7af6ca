#!/bin/sh
# check.sh: the lab keeps its promises (README.md): status, output, input,
# quoting, signals, time. Starts the machine a few times.
set -u
cd "$(dirname "$0")/../.."
lab=tests/lab/lab-run
LAB_FORCE=1
export LAB_FORCE
failures=0

# The first start may say what it fetches; later ones say nothing of their own.
$lab true </dev/null || exit 1

# expect WHAT GOT WANT
expect() {
	if [ "$2" = "$3" ]; then
		echo "ok $1"
	else
		echo "FAILED $1: got \"$2\", want \"$3\""
		failures=$((failures + 1))
	fi
}

script='printf "%s|" "$@"; cat; printf "on error" >&2; test -c /dev/kvm && printf kvm; pwd; printf "%s" "$CHECK"; exit 7'
got=$(printf 'in\nput' | CHECK='a "b" $c' $lab sh -c "$script" sh 'a  b' "'" '"$x\`y`' '' 2>/tmp/lab-check.$$)
status=$?
expect status "$status" 7
expect output "$got" "a  b|'|\"\$x\\\`y\`||in
putkvm$PWD
a \"b\" \$c"
expect error "$(cat /tmp/lab-check.$$)" 'on error'
rm -f /tmp/lab-check.$$

got=$($lab sh -c 'head -c 20000000 /dev/zero; (sleep 1000 &) ; kill -9 $$' </dev/null | wc -c)
expect 'output in full, with a process left behind' "$got" 20000000

$lab sh -c 'kill -9 $$' </dev/null
expect 'killed command' $? 137

$lab no-such-command </dev/null 2>/dev/null
expect 'missing command' $? 127

LAB_TIMEOUT=8 $lab sleep 1000 </dev/null 2>/dev/null
expect 'time is up' $? 124

# The signal arrives while the command runs: it says when.
mkfifo /tmp/lab-check.$$
$lab sh -c 'trap "exit 33" TERM; echo ready; while :; do sleep 1; done' </dev/null >/tmp/lab-check.$$ &
pid=$!
read -r word </tmp/lab-check.$$
kill -TERM $pid
wait $pid
expect 'signal' "$word $?" 'ready 33'
rm -f /tmp/lab-check.$$

work=$(mktemp -d)
LAB_RW=$work $lab sh -c "echo kept >$work/file; echo lost >/etc/lab-check" </dev/null
expect 'writable directory' "$(cat "$work/file")" kept
expect 'the rest is not touched' "$(ls /etc/lab-check 2>/dev/null)" ''
rm -rf "$work"

[ $failures = 0 ] || exit 1
