package main

/*
#include <dlfcn.h>

// Says which file this code was loaded from (dladdr(3)); NULL: it is not known.
static const char *own_path(void) {
    Dl_info info;
    return dladdr((const void *)own_path, &info) ? info.dli_fname : NULL;
}
*/
import "C"

import (
	"path/filepath"

	"github.com/libcapsa/libcapsa/internal/self"
)

// The daemon is looked for beside this library. On Linux /proc says where that is.
func init() {
	if path := C.own_path(); path != nil {
		if abs, err := filepath.Abs(C.GoString(path)); err == nil {
			self.SetLibrary(abs)
		}
	}
}
