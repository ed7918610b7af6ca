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

// jails are the choices by their flags.
var jails = []capsa.Jail{
	0: capsa.JailFull, C.CAPSA_ISOLATION_JAIL_PARTIAL: capsa.JailPartial, C.CAPSA_ISOLATION_JAIL_OFF: capsa.JailOff,
}

//export goBuilderSetIsolation
func goBuilderSetIsolation(h C.uintptr_t, isolation, flags C.uint32_t, c *C.priv_call) C.capsa_status {
	const name = "builder.set_isolation"
	return builder(h, c, name, func(b *capsa.Builder) error {
		if int(flags) >= len(jails) || flags != 0 && isolation != C.CAPSA_ISOLATION_PROCESS {
			return errorf(capsa.KindInvalidArg, name, "flags %#x are not known for isolation %d", uint32(flags), uint32(isolation))
		}
		if int(isolation) >= len(isolations) {
			return errorf(capsa.KindInvalidArg, name, "isolation %d is not known", uint32(isolation))
		}
		if err := b.SetIsolation(isolations[isolation]); err != nil {
			return err
		}
		return b.SetJail(jails[flags])
	})
}
