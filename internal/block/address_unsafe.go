//go:build linux

package block

import "unsafe"

// address is where b begins, for a look at its alignment.
func address(b []byte) uintptr {
	// SAFETY: the pointer is not dereferenced or kept.
	return uintptr(unsafe.Pointer(unsafe.SliceData(b)))
}
