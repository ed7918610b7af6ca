#!/usr/bin/env bash
# run.sh [PATTERN...]: end-to-end tests of libcapsa.so through its C header. All
# tests run in one process tree, on the host's KVM when it has hardware support,
# else in the lab (tests/lab), and the last line counts them.
#
#   run.sh                  all tests
#   run.sh boot exit.pan*   a group; tests by name, with wildcards
#   run.sh --list           names
#
# E2E_ISOLATION=process runs each machine in a process of its own.
# BUILD (build) is where libcapsa.so and guest images are; `make e2e` makes them
# first. LAB_TIMEOUT is in seconds (5400), E2E_LABS the number of labs (2).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cd "$root"
build=$(cd "${BUILD:-build}" && pwd)
mkdir -p "$build/e2e"
# What guests get from a share.
mkdir -p "$build/e2e/guest"
CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o "$build/e2e/guest/" ./guest/cmd/vsockpeer
"$here/linux.sh" "$build/e2e"
# One run's program may be another's text file; it is replaced whole.
gcc -std=c11 -O1 -g -Wall -Wextra -Werror -pedantic -Iinclude -o "$build/e2e/.e2e.$$" "$here"/*.c "$build/e2e/vsock_kernel.o" \
	-L"$build" -lcapsa -Wl,-rpath,"$build" -pthread
mv "$build/e2e/.e2e.$$" "$build/e2e/e2e"

E2E_GUEST=$build/guest
E2E_EMULATED=
where=$(tests/lab/lab-run --where)
[ "$where" = lab ] && E2E_EMULATED=1
export E2E_GUEST E2E_EMULATED
echo "e2e: running on: $where"

if [ "${1:-}" = --list ]; then
	shift
	exec "$build/e2e/e2e" --list "$@"
fi
[ "$where" = lab ] || exec "$build/e2e/e2e" "$@"

# In the lab two machines of one processor each share the tests: two processors of one machine are slower than two machines
# of one, and less faithful (tests/lab/README.md). The largest guest has 6144 MiB; memory is taken as it is touched.
labs=${E2E_LABS:-2}
[ "$("$build/e2e/e2e" --list "$@" | wc -l)" -ge 8 ] || labs=1
LAB_MEM=${LAB_MEM:-8192} LAB_TIMEOUT=${LAB_TIMEOUT:-5400}
E2E_RECORD=$(mktemp -d "$build/e2e/record-XXXXXX")
LAB_RW=$E2E_RECORD
export LAB_MEM LAB_TIMEOUT LAB_RW E2E_RECORD

# shard N PATTERN...: one machine. It may itself fall over (status 125); what has not ended then runs in another one.
shard() {
	E2E_SHARD=lab$1
	export E2E_SHARD
	shift
	for start in 1 2 3; do
		status=0
		tests/lab/lab-run "$build/e2e/e2e" "$@" || status=$?
		[ $status = 125 ] || break
		echo "e2e: the machine of $E2E_SHARD ended before its tests did ($start)"
	done
	return $status
}

# The first one's output is seen as it comes, that of the others when they have ended.
others=
trap 'for pid in $others; do kill -- -"$pid" 2>/dev/null; done; rm -rf "$E2E_RECORD"' EXIT
trap 'exit 130' INT TERM HUP
n=1
set -m # each of them is a process group, which can be ended whole
while [ $n -lt "$labs" ]; do
	n=$((n + 1))
	shard $n "$@" >"$E2E_RECORD/$n.out" 2>&1 </dev/null &
	others="$others $!"
done
set +m
result=0
shard 1 "$@" || result=$?
n=1
for pid in $others; do
	n=$((n + 1))
	status=0
	wait "$pid" || status=$?
	cat "$E2E_RECORD/$n.out"
	[ $status = 0 ] || result=$status
done
others=
cat "$E2E_RECORD"/*.results | awk '$1 == "ok" { ok++ } $1 == "FAILED" { bad = bad " " $2; n++ }
	END { printf "e2e: %d passed, %d failed%s\n", ok, n, bad; exit n > 0 }' || [ $result != 0 ] || result=1
exit $result
