#!/bin/sh
# Builds a C and a C++ program with find_package(capsa) against an installed tree, and once more after that tree was moved.
#
# usage: tests/abi/cmake.sh PREFIX WORK
set -eu
source=$(cd "$(dirname "$0")/cmake" && pwd)
prefix=$(realpath "$1")
work=$2
unset LD_LIBRARY_PATH # the program finds the library by itself

rm -rf "$work"
mkdir -p "$work"
cp -a "$prefix" "$work/moved"
for tree in "$prefix" "$work/moved"; do
    build=$work/build-$(basename "$tree")
    cmake -S "$source" -B "$build" -Wno-dev -DCMAKE_PREFIX_PATH="$tree" -DCMAKE_C_COMPILER="${CC:-cc}" \
        -DCMAKE_CXX_COMPILER="${CXX:-c++}"
    cmake --build "$build"
    for program in consumer consumer-cpp; do
        "$build/$program"
        ldd "$build/$program" | grep -F "$tree/lib/libcapsa.so.0" # this one, and no other of the machine
    done
done
# A tree that lacks its library says so, and is not found.
rm "$work/moved/lib/libcapsa.so".*
if cmake -S "$source" -B "$work/build-broken" -Wno-dev -DCMAKE_PREFIX_PATH="$work/moved" >"$work/log" 2>&1; then
    echo "a tree without a library was found"
    exit 1
fi
tr -s ' \n' ' ' <"$work/log" | grep -F "is missing: install libcapsa again"
