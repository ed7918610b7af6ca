package main

/*
#include "priv.h"
*/
import "C"

import "github.com/libcapsa/libcapsa/capsa"

// isolations are the choices by their numbers.
var isolations = []capsa.Isolation{
	C.CAPSA_ISOLATION_DEFAULT: capsa.IsolationDefault, C.CAPSA_ISOLATION_NONE: capsa.IsolationNone,
	C.CAPSA_ISOLATION_PROCESS: capsa.IsolationProcess,
}

//export goBuilderSetIsolation
func goBuilderSetIsolation(h C.uintptr_t, isolation, flags C.uint32_t, c *C.priv_call) C.capsa_status {
	const name = "builder.set_isolation"
	return builder(h, c, name, func(b *capsa.Builder) error {
		if flags != 0 {
			return errorf(capsa.KindInvalidArg, name, "flags %#x are not known", uint32(flags))
		}
		if int(isolation) >= len(isolations) {
			return errorf(capsa.KindInvalidArg, name, "isolation %d is not known", uint32(isolation))
		}
		return b.SetIsolation(isolations[isolation])
	})
}
