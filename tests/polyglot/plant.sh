#!/bin/sh
# Shows that the suite can fail: interpreters that differ in what they say must be the failing cells of the table, and no
# others. Needs what build.sh has built, and KVM.
set -eu
build=$(realpath "${BUILD:-build}")
export CAPSA_TEST_GUEST="${CAPSA_TEST_GUEST:-$build/node/guest.elf}"
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
honest=$build/polyglot/c.sh

# plant NAME COMMAND: an interpreter, made of the one in C.
plant() {
    printf '#!/bin/sh\n%s\n' "$2" >"$work/$1.sh"
    chmod +x "$work/$1.sh"
}
plant value "'$honest' | sed -u 's/^ok killed/ok stopped/'"                # another cause
plant class "'$honest' | sed -u 's/^error CAPSA_E_TIMEOUT/error CAPSA_E_CLOSED/'"
plant succeeds "'$honest' | sed -u 's/^error CAPSA_E_STATE.*/ok /'"        # a mistake goes through
plant ignorant "'$honest' | sed -u 's/^ok paused/unknown state/'"
plant dies "sed -u 12q | '$honest'; kill -ABRT \$\$"

set -- --language "c=$honest"
for name in value class succeeds ignorant dies; do set -- "$@" --language "$name=$work/$name.sh"; done
status=0
"${PYTHON:-/usr/bin/python3}" "$here/run.py" "$here/bare.toml" --only '^(boot|exit record: killed|wait: timeout|pause and resume)$' "$@" \
    >"$work/out" || status=$?

sed -n '/^boot  /,/^pause and resume  /s/  */ /gp' "$work/out" >"$work/table"
cat >"$work/wanted" <<END
boot ok ok ok ok ok ok
exit record: killed ok FAILED ok ok ok FAILED
wait: timeout ok ok FAILED ok ok FAILED
pause and resume ok ok ok FAILED FAILED FAILED
END
if [ $status != 1 ] || ! diff -u "$work/wanted" "$work/table" || ! grep -q "^status -6" "$work/out"; then
    echo "polyglot: planted differences are not what fails (status $status):"
    cat "$work/out"
    exit 1
fi
echo "polyglot: planted differences fail, and nothing else does"
