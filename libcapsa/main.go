// Package main is libcapsa.so: the C ABI of include/capsa.h over package capsa.
//
// It decides nothing. A public function is C (builder.c, vm.c, console.c,
// library.c): it checks for fork and NULL and calls one function exported
// here, which looks the handle up, makes one call, and encodes the result, all
// inside guard. A function that may wait starts an operation and lets C wait
// for it with poll(2) (op.go), so that no thread of the host is stuck inside Go
// and signals reach the host.
//
// Every export may be called from any thread of the host.
package main

/*
#cgo CFLAGS: -I${SRCDIR}/../include -DCAPSA_BUILD -std=gnu11 -O2 -fvisibility=hidden -Wall -Wextra -Wno-unused-parameter
#cgo linux LDFLAGS: -Wl,--wrap=pthread_getattr_np
#include "priv.h"
*/
import "C"

// main is never called: the package is built with -buildmode=c-shared.
func main() {}
