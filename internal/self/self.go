// Package self knows where this code was loaded from, as far as only C can tell: the
// shared library says so when it is loaded.
package self

import "sync/atomic"

var library atomic.Pointer[string]

// SetLibrary is called by the shared library with its own path.
func SetLibrary(path string) { library.Store(&path) }

// Library is the path of the shared library, or "" when there is none.
func Library() string {
	if p := library.Load(); p != nil {
		return *p
	}
	return ""
}
