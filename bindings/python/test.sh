#!/bin/sh
# Tests the Python package as it is installed: types, style, pytest under -X dev with warnings as errors.
#
#   BUILD           the build directory (default build), with the wheel that `make python` has put there
#   PYTHON          an interpreter with mypy, pytest and flake8 (default /usr/bin/python3)
#   CAPSA_REQUIRE   words (kvm) whose lack is a failure and not a skip
#
# usage: test.sh [ARGUMENT OF PYTEST...]
set -eu
cd "$(dirname "$0")/../.."
build=$(cd "${BUILD:-build}" && pwd)
here=$PWD/bindings/python
work=$build/python
python=$work/venv/bin/python

"${PYTHON:-/usr/bin/python3}" -m venv --clear --system-site-packages "$work/venv"
PIP_NO_INDEX=1 "$python" -m pip install -q --disable-pip-version-check "$work"/dist/capsa-*.whl

export CAPSA_TEST_GUEST="$work/guest.elf" MYPYPATH="$here/tests:$here/backend"
unset CAPSA_LIBRARY PYTHONPATH
tests/abi/guest/build.sh "$CAPSA_TEST_GUEST"
cd "$here"
"$python" -m flake8 --max-line-length 120 --exclude _bindings.py src tests backend tools \
    ../../examples/python ../../tests/bench ../../tests/polyglot
for each in "-p capsa" tests backend tools ../../examples/python ../../tests/bench/python.py \
    ../../tests/polyglot/run.py "../../tests/polyglot/python/blocking.py ../../tests/polyglot/python/aio.py"; do
    # shellcheck disable=SC2086 # two words
    "$python" -m mypy --strict --no-error-summary --cache-dir "$work/mypy" $each
done
exec "$python" -X dev -W error -m pytest -q -p no:cacheprovider "$@"
