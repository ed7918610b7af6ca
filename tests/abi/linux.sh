#!/bin/sh
# Boots Linux with the example of every language that run.sh has built: it prints what a command in the guest printed and
# ends with that command's exit status. Runs where KVM runs Linux: on such a host, or in the lab.
#
#   BUILD                build directory (default build)
#   CAPSA_TEST_KERNEL    a kernel, default BUILD/guest/bzImage, and
#   CAPSA_TEST_INITRD    its initrd with a shell on the console, default BUILD/guest/initrd.cpio
set -eu
cd "$(dirname "$0")/../.."
build=${BUILD:-build}
kernel=${CAPSA_TEST_KERNEL:-$build/guest/bzImage}
initrd=${CAPSA_TEST_INITRD:-$build/guest/initrd.cpio}
export LD_LIBRARY_PATH="$build/abi/prefix/lib"

failed=

# check NAME COMMAND...: one example.
check() {
    name=$1
    shift
    rc=0
    out=$("$@" "$kernel" "$initrd" 'echo hello from $(uname -s); exit 7') || rc=$?
    if [ $rc -eq 7 ] && [ "$out" = "hello from Linux" ]; then
        echo "abi: ok      linux/$name"
    else
        echo "abi: FAILED  linux/$name: exit status $rc, output: $out"
        failed=yes
    fi
}

for program in hello hello-cpp hello-rust; do
    if [ -x "$build/abi/$program" ]; then
        check $program "$build/abi/$program"
    else
        # run.sh has said why, and whether that is a failure.
        echo "abi: skipped linux/$program: not built"
    fi
done
check hello-python env CAPSA_LIBRARY="$LD_LIBRARY_PATH/libcapsa.so.0" PYTHONPATH=bindings/python/src \
    "${PYTHON:-/usr/bin/python3}" examples/python/hello.py
[ -z "$failed" ]
