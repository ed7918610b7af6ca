#!/bin/sh
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
# first. LAB_TIMEOUT is in seconds (5400).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cd "$root"
build=$(cd "${BUILD:-build}" && pwd)
mkdir -p "$build/e2e"
# One run's program may be another's text file; it is replaced whole.
gcc -std=c11 -O1 -g -Wall -Wextra -Werror -pedantic -Iinclude -o "$build/e2e/.e2e.$$" "$here"/*.c \
	-L"$build" -lcapsa -Wl,-rpath,"$build" -pthread
mv "$build/e2e/.e2e.$$" "$build/e2e/e2e"

E2E_GUEST=$build/guest
E2E_EMULATED=
where=$(tests/lab/lab-run --where)
[ "$where" = lab ] && E2E_EMULATED=1
export E2E_GUEST E2E_EMULATED
echo "e2e: running on: $where"

# The largest guest has 6144 MiB; memory is taken from the host as it is touched.
LAB_MEM=${LAB_MEM:-8192} LAB_TIMEOUT=${LAB_TIMEOUT:-5400}
export LAB_MEM LAB_TIMEOUT
[ "${1:-}" = --list ] && exec "$build/e2e/e2e" --list

# The emulated machine itself may fall over (status 125); what has not ended then runs in another one.
E2E_RECORD=
if [ "$where" = lab ]; then
	LAB_RW=$(mktemp -d "$build/e2e/record-XXXXXX")
	trap 'rm -rf "$LAB_RW"' EXIT
	E2E_RECORD=$LAB_RW/record
	export LAB_RW
fi
export E2E_RECORD
for start in 1 2 3; do
	status=0
	tests/lab/lab-run "$build/e2e/e2e" "$@" || status=$?
	[ $status = 125 ] || break
	echo "e2e: the lab's machine number $start ended before the tests did"
done
exit $status
