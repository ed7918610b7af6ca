#!/bin/sh
# Compiles the addon and packs the package: BUILD/node/package is its folder, BUILD/node/capsa-VERSION.tgz what npm takes.
# Neither node-gyp nor npm is needed, nor anything from the network.
#
#   BUILD          build directory, which has libcapsa.so.0 and capsa-vzd (default the tree's build)
#   NODE_INCLUDE   where node_api.h is; default: beside node, or where libnode-dev has it
#
# usage: build.sh                    the package
#        build.sh --addon FILE OUT   an addon of one file, for tests
set -eu
CC=${CC:-cc}
strict="-std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -fPIC -shared -pthread -fvisibility=hidden -s"

# node_include prints the folder of Node-API's headers.
node_include() {
    beside=$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")/include/node
    for dir in "${NODE_INCLUDE:-}" "$beside" /usr/include/node /usr/include/nodejs/src; do
        if [ -n "$dir" ] && [ -f "$dir/node_api.h" ]; then
            echo "$dir"
            return
        fi
    done
    echo "build.sh: no node_api.h: install libnode-dev, or set NODE_INCLUDE" >&2
    return 1
}

include=$(node_include)
if [ "${1:-}" = --addon ]; then
    exec $CC $strict -DNAPI_VERSION=8 -isystem "$include" "$2" -o "$3"
fi

build=$(realpath -m "${BUILD:-$(dirname "$0")/../../build}")
cd "$(dirname "$0")"
package=$build/node/package
version=$(node -p 'require("./package.json").version')

rm -rf "$package"
mkdir -p "$package/lib/native"
cp package.json README.md ../../LICENSE "$package/"
cp lib/*.* "$package/lib/"
cp -L "$build/libcapsa.so.0" "$package/lib/native/libcapsa.so.0"
install -m 755 "$build/capsa-vzd" "$package/lib/native/capsa-vzd" # beside the library, which looks there

# The library is found beside the addon. Node itself has the symbols of Node-API.
$CC $strict -I../../include -isystem "$include" src/*.c "$package/lib/native/libcapsa.so.0" \
    -o "$package/lib/native/capsa.node" '-Wl,-rpath,$ORIGIN' -Wl,-z,now -Wl,-z,relro

# What npm pack makes, the same bytes each time.
tar -czf "$build/node/capsa-$version.tgz" -C "$build/node" --sort=name --owner=0 --group=0 --numeric-owner \
    --mtime=@0 --mode=u=rwX,go=rX package
