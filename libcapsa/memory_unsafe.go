package main

/*
#include "priv.h"
*/
import "C"

import (
	"unsafe"

	"github.com/libcapsa/libcapsa/capsa"
)

// bytesPointer is the address of the first byte of b, for a C function that does
// not keep it.
func bytesPointer(b []byte) *C.char {
	// SAFETY: b is kept alive by the caller, whose cgo call pins it; C gets the length beside it. An empty slice gives
	// a pointer that C does not follow.
	return (*C.char)(unsafe.Pointer(unsafe.SliceData(b)))
}

// callerBytes is memory of the caller of the library as a slice. It is valid
// until the public function returns, and the caller must not change it meanwhile.
// Preconditions: n <= PTRDIFF_MAX, checked in C.
func callerBytes(p unsafe.Pointer, n C.size_t) []byte {
	if n == 0 {
		return nil
	}
	// SAFETY: the header demands n readable (or writable) bytes at p, which C has checked for NULL; p is C memory, so
	// the garbage collector does not care. No slice outlives the public call, which waits for the operation to end.
	return unsafe.Slice((*byte)(p), n)
}

// callerString copies a text of the caller.
func callerString(p *C.char, n C.size_t) string {
	// SAFETY: as callerBytes; the conversion copies.
	return string(callerBytes(unsafe.Pointer(p), n))
}

// callerPatterns is the array of patterns that C has copied and checked.
func callerPatterns(p *C.capsa_pattern, n C.size_t) []C.capsa_pattern {
	// SAFETY: console.c passes its own array of n elements, which lives until the public function returns.
	return unsafe.Slice(p, n)
}

// callerStrings is an array of texts of the caller, which C has checked for NULL.
func callerStrings(p **C.char, n C.size_t) []*C.char {
	// SAFETY: the header demands n texts at p; no slice outlives the public call.
	return unsafe.Slice(p, n)
}

// idRanges copies a table of ids of the caller, which C has checked for NULL.
func idRanges(p *C.capsa_id_range, n C.size_t) (table []capsa.IDRange) {
	// SAFETY: the header demands n ranges at p; the slice does not outlive the public call.
	for _, r := range unsafe.Slice(p, n) {
		table = append(table, capsa.IDRange{Guest: uint32(r.guest), Host: uint32(r.host), Count: uint32(r.count)})
	}
	return table
}

// callerHostNames is an array of names of the caller, which C has checked for NULL.
func callerHostNames(p *C.capsa_host_name, n C.size_t) []C.capsa_host_name {
	// SAFETY: the header demands n names at p; no slice outlives the public call.
	return unsafe.Slice(p, n)
}

// callerRlimits is an array of resource limits of the caller, which C has checked for NULL.
func callerRlimits(p *C.capsa_rlimit, n C.size_t) []C.capsa_rlimit {
	// SAFETY: the header demands n limits at p; no slice outlives the public call.
	return unsafe.Slice(p, n)
}

// newText gives the caller a copy of b that capsa_mem_free frees.
func newText(out **C.char, b []byte) error {
	text := C.priv_text_new(bytesPointer(b), C.size_t(len(b)))
	if text == nil {
		return errorf(capsa.KindNoMemory, "", "no memory for a text of %d bytes", len(b))
	}
	*out = text
	return nil
}

// newOutput gives the caller an output object with a copy of b, unless it wants
// none.
func newOutput(out *C.uintptr_t, b []byte, missing uint64) error {
	if out == nil {
		return nil
	}
	h := C.priv_output_new(bytesPointer(b), C.size_t(len(b)), C.uint64_t(missing))
	if h == 0 {
		return errorf(capsa.KindNoMemory, "", "no memory for an output of %d bytes", len(b))
	}
	*out = h
	return nil
}
