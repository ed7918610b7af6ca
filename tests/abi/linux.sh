#!/bin/sh
# Boots Linux with the example of every language that run.sh has built: it prints what a command in the guest printed and
# ends with that command's exit status. Then the polyglot suite's scenarios with a Linux guest (tests/polyglot), and the
# examples of the guides (docs). Runs where KVM runs Linux: on such a host, or in the lab.
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

# The one in JavaScript finds the package when it is within its folder.
if [ -d "$build/node/package" ]; then
    cp examples/node/hello.mjs "$build/node/package/"
    printf '#!/bin/sh\nexec node "%s/hello.mjs" "$@"\n' "$(realpath "$build/node/package")" >"$build/abi/hello-node"
    chmod +x "$build/abi/hello-node"
fi

# The one in Python needs no installation, only the library.
cat >"$build/abi/hello-python" <<END
#!/bin/sh
CAPSA_LIBRARY="$(realpath "$LD_LIBRARY_PATH/libcapsa.so.0")" PYTHONPATH="$PWD/bindings/python/src" \\
    exec "${PYTHON:-/usr/bin/python3}" "$PWD/examples/python/hello.py" "\$@"
END
chmod +x "$build/abi/hello-python"

failed=
for program in hello hello-cpp hello-rust hello-python hello-node hello-go; do
    if [ ! -x "$build/abi/$program" ]; then
        # run.sh has said why, and whether that is a failure.
        echo "abi: skipped linux/$program: not built"
        continue
    fi
    rc=0
    out=$("$build/abi/$program" "$kernel" "$initrd" 'echo hello from $(uname -s); exit 7') || rc=$?
    if [ $rc -eq 7 ] && [ "$out" = "hello from Linux" ]; then
        echo "abi: ok      linux/$program"
    else
        echo "abi: FAILED  linux/$program: exit status $rc, output: $out"
        failed=yes
    fi
done
if [ -d "$build/polyglot" ]; then
    export CAPSA_TEST_KERNEL="$kernel" CAPSA_TEST_INITRD="$initrd"
    BUILD=$build tests/polyglot/polyglot.sh tests/polyglot/linux.toml || failed=yes
fi
if [ -d "$build/docs/examples" ]; then
    BUILD=$build docs/examples.py linux || failed=yes
fi
[ -z "$failed" ]
