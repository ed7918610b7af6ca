#!/bin/sh
# Builds the interpreters against an installed tree, whose pkg-config file PKG_CONFIG_PATH finds, into BUILD/polyglot, with
# a script NAME.sh for each language that runs it. A language whose tools are missing is left out aloud, or fails when
# CAPSA_REQUIRE names it.
#
# usage: BUILD=... tests/polyglot/build.sh PREFIX
set -eu
prefix=$(realpath "$1")
build=$(realpath "${BUILD:-build}")
cd "$(dirname "$0")"
out=$build/polyglot
mkdir -p "$out"
PKG_CONFIG_PATH=$prefix/lib/pkgconfig
export PKG_CONFIG_PATH
flags=$(pkg-config --cflags --libs capsa)
strict="-O1 -g -Wall -Wextra -Werror -pedantic -pthread -Wl,-rpath,$prefix/lib"

# script NAME COMMAND...
script() {
    name=$1
    shift
    printf '#!/bin/sh\n%s\n' "exec $*" >"$out/$name.sh"
    chmod +x "$out/$name.sh"
}

rm -f "$out"/*.sh
# shellcheck disable=SC2086 # words
${CC:-cc} -std=c11 $strict c/*.c $flags -o "$out/c"
# shellcheck disable=SC2086
${CXX:-c++} -std=c++17 $strict cpp/main.cpp $flags -o "$out/cpp"
CGO_ENABLED=0 ${GO:-go} build -o "$out/go" ./go
script c "$out/c"
script cpp "$out/cpp"
script go "env CAPSA_VZD_PATH=$prefix/lib/capsa-vzd $out/go" # its program is not beside the library
python="env CAPSA_LIBRARY=$prefix/lib/libcapsa.so.0 PYTHONPATH=$(realpath ../../bindings/python/src):$PWD/python ${PYTHON:-/usr/bin/python3}"
script python "$python -X dev -W error $PWD/python/blocking.py"
script asyncio "$python -X dev -W error $PWD/python/aio.py"

if command -v cargo >/dev/null 2>&1; then
    CARGO_TARGET_DIR=$build/abi/cargo cargo build --release --quiet --offline --manifest-path rust/Cargo.toml
    cp "$build/abi/cargo/release/polyglot" "$out/rust"
    script rust "env LD_LIBRARY_PATH=$prefix/lib $out/rust"
else
    echo "polyglot: rust is left out: no cargo on this machine"
    case ",${CAPSA_REQUIRE:-}," in *,rust,*) exit 1 ;; esac
fi

# Within the package's folder "capsa" is the package itself.
cp node/node.mjs "$build/node/package/polyglot.mjs"
script node "node --expose-gc $build/node/package/polyglot.mjs"
