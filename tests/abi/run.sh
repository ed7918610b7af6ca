#!/bin/sh
# Builds and runs the clients of the C ABI: header hygiene, C, C++ (also by CMake) and Rust, against an installed tree. The examples, which
# boot Linux, are built here and run by linux.sh.
#
#   BUILD                the build directory (default build)
#   CAPSA_REQUIRE        words (kvm, rust) whose lack is a failure and not a skip
#
# usage: tests/abi/run.sh [test...]   names of C tests; default: everything
set -eu
cd "$(dirname "$0")/../.."

build=${BUILD:-build}
case $build in /*) ;; *) build=$PWD/$build ;; esac
work=$build/abi
prefix=$work/prefix
CC=${CC:-cc}
CXX=${CXX:-c++}
failed=
limit="timeout -s ABRT 300" # seconds, after which a test hangs

say() { printf '%s\n' "abi: $*"; }
required() { case ",${CAPSA_REQUIRE:-}," in *",$1,"*) return 0 ;; *) return 1 ;; esac; }
have() { command -v "$1" >/dev/null 2>&1; }

# run NAME COMMAND...: one test. 77 is "not possible here", as in Automake.
run() {
    name=$1
    shift
    rc=0
    "$@" >"$work/log" 2>&1 || rc=$?
    case $rc in
    0) say "ok      $name" ;;
    77) say "skipped $name: $(tail -n 1 "$work/log")" ;;
    *)
        say "FAILED  $name (exit status $rc)"
        sed 's/^/    /' "$work/log"
        failed="$failed $name"
        ;;
    esac
}

mkdir -p "$work"
rm -rf "$prefix"
make -s install BUILD="$build" DESTDIR= PREFIX="$prefix"
export PKG_CONFIG_PATH="$prefix/lib/pkgconfig"
export LD_LIBRARY_PATH="$prefix/lib"
flags=$(pkg-config --cflags --libs capsa)
strict="-Wall -Wextra -Werror -pedantic"

# The second copy for tests/abi/c/copies.c: another file, so that the loader takes it for another library.
cp "$prefix/lib/libcapsa.so.0" "$work/copy.so"
export CAPSA_TEST_LIBRARY="$prefix/lib/libcapsa.so.0" CAPSA_TEST_LIBRARY_COPY="$work/copy.so"

export CAPSA_TEST_GUEST="$work/guest.elf"
CC=$CC tests/abi/guest/build.sh "$CAPSA_TEST_GUEST"

hygiene() {
    for std in c99 c11 c2x c++98 c++11 c++17 c++20; do
        case $std in c++*) lang=c++ ;; *) lang=c ;; esac
        for compiler in gcc clang; do
            have $compiler || continue
            echo '#include "capsa.h"' |
                $compiler -x $lang -std=$std $strict -I "$prefix/include" -fsyntax-only - || return 1
        done
    done
}

# c_client NAME [FLAGS]: one C test, strict C11.
c_client() {
    $CC -std=c11 $strict -g -O1 "tests/abi/c/$1.c" $flags -ldl -pthread -o "$work/$1${3:-}" $2 && $limit "$work/$1${3:-}"
}

c_tests=${*:-$(ls tests/abi/c/*.c | xargs -n 1 basename -s .c)}
[ $# -gt 0 ] || run "header in C and C++" hygiene
for t in $c_tests; do run "c/$t" c_client "$t" ""; done

# The same with each machine in a process of its own.
for t in $c_tests; do
    case $t in
    machine | disks | shares | vsock | descriptors | threads)
        run "c/$t, isolated" env CAPSA_TEST_ISOLATION=process $limit "$work/$t"
        ;;
    esac
done

# The same under AddressSanitizer, with its leak check and undefined behaviour. The library handles SIGSEGV as the Go
# runtime does, so the sanitizer must not.
export ASAN_OPTIONS=handle_segv=0:handle_sigbus=0:handle_sigfpe=0:use_sigaltstack=0:detect_leaks=1
for t in $c_tests; do
    case $t in
    copies | process) ;; # stacks and children of its own making are not for the sanitizer
    *) run "c/$t, sanitized" c_client "$t" "-fsanitize=address,undefined -fno-sanitize-recover=undefined" .asan ;;
    esac
done

examples() {
    for c in hello console; do
        $CC -std=c11 -D_POSIX_C_SOURCE=200809L $strict examples/$c.c $flags -o "$work/$c" || return 1
    done
    $CXX -std=c++17 $strict examples/hello.cpp $flags -o "$work/hello-cpp" &&
        CGO_ENABLED=0 ${GO:-go} build -o "$work/hello-go" ./examples/go # on package capsa, without the library
}

cpp_client() {
    $CXX -std=c++17 $strict -g tests/abi/cpp/client.cpp $flags -pthread -o "$work/cpp" && $limit "$work/cpp"
}

rust_client() {
    # The crate declares what the library exports, no more and no less.
    grep -ohE '\bfn capsa_[a-z_]+' bindings/rust/src/*.rs | sed 's/fn //' | LC_ALL=C sort >"$work/rust-symbols"
    sed 's/@.*//' libcapsa/capsa.symbols | diff - "$work/rust-symbols" || return 1
    $limit cargo run --quiet --offline --manifest-path tests/abi/rust/Cargo.toml
}

# The safe crate: its tests, its linter's word where there is one, and the example.
rust_crate() {
    $limit cargo test --quiet --offline --manifest-path bindings/rust/capsa/Cargo.toml &&
        { ! cargo clippy --version >/dev/null 2>&1 ||
            cargo clippy --quiet --offline --all-targets --manifest-path bindings/rust/capsa/Cargo.toml -- -D warnings; } &&
        cargo build --quiet --offline --manifest-path examples/rust/Cargo.toml &&
        cp "$work/cargo/debug/hello" "$work/hello-rust"
}

if [ $# -eq 0 ]; then
    run "examples" examples
    run "c++" cpp_client
    run "cmake" tests/abi/cmake.sh "$prefix" "$work/cmake"
    if have cargo; then
        export CARGO_TARGET_DIR="$work/cargo"
        run "rust/capsa-sys" rust_client
        run "rust/capsa" rust_crate
    elif required rust; then
        say "FAILED  rust: no cargo, and CAPSA_REQUIRE demands rust"
        failed="$failed rust"
    else
        say "skipped rust: no cargo on this machine"
    fi
fi

if [ "$failed" ]; then
    say "failed:$failed"
    exit 1
fi
say "all well"
