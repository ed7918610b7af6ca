#!/bin/sh
# counts.sh NAME COMMAND... : one run of a command under the kernel's tracepoints; prints the exits to user space and the
# system calls it took, as samples. Runs as root where the guests run. $1 is "ours" or "peer".
set -eu
who=$1
shift
t=/sys/kernel/tracing
[ -e $t/trace ] || mount -t tracefs tracefs $t
echo 0 >$t/tracing_on
echo 65536 >$t/buffer_size_kb
echo >$t/trace
echo 1 >$t/events/kvm/kvm_userspace_exit/enable
echo 1 >$t/events/raw_syscalls/sys_enter/enable
echo 1 >$t/options/event-fork
sh -c "echo \$\$ >$t/set_event_pid; echo 1 >$t/tracing_on; exec \"\$@\"" sh "$@"
echo 0 >$t/tracing_on
exits=$(grep -c 'kvm_userspace_exit.*reason' $t/trace || true)
calls=$(grep -c 'sys_enter' $t/trace || true)
lost=$(sed -n 's/^# entries-in-buffer.*: *\([0-9]*\)\/\([0-9]*\).*/\1 \2/p' $t/trace)
echo >$t/set_event_pid
set -- $lost
[ "$1" = "$2" ] || echo "counts: the trace buffer lost events: $lost" >&2
echo "{\"count\":\"exits to user space\",\"$who\":$exits}"
echo "{\"count\":\"system calls\",\"$who\":$calls}"
