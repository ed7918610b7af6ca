#!/bin/sh
# Compiles the addon and puts the package together, ready to be packed, as BUILD/node/package. Neither node-gyp nor npm is
# needed, nor anything from the network.
#
#   BUILD          build directory, which has libcapsa.so.0 (default ../../build)
#   NODE_INCLUDE   where node_api.h is; default: beside node, in /usr/include/node, or in node-api-headers
set -eu
cd "$(dirname "$0")"
build=${BUILD:-../../build}
package=$build/node/package
CC=${CC:-cc}

# node_include prints the folder of Node-API's headers.
node_include() {
    beside=$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")/include/node
    for dir in "${NODE_INCLUDE:-}" "$beside" /usr/include/node node_modules/node-api-headers/include; do
        if [ -n "$dir" ] && [ -f "$dir/node_api.h" ]; then
            echo "$dir"
            return
        fi
    done
    echo "build.sh: no node_api.h: install libnode-dev, or set NODE_INCLUDE" >&2
    return 1
}

include=$(node_include)
rm -rf "$package"
mkdir -p "$package/lib/native"
cp package.json README.md "$package/"
cp ../../LICENSE "$package/"
cp lib/*.cjs lib/*.js lib/*.ts lib/*.cts "$package/lib/"
cp -L "$build/libcapsa.so.0" "$package/lib/native/libcapsa.so.0"

# The soname is found beside the addon. Node itself gives the symbols of Node-API.
# shellcheck disable=SC2016
$CC -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -fPIC -shared -pthread -fvisibility=hidden -s -I../../include -isystem "$include" \
    src/*.c "$package/lib/native/libcapsa.so.0" -o "$package/lib/native/capsa.node" \
    '-Wl,-rpath,$ORIGIN' -Wl,-z,now -Wl,-z,relro
