package main

/*
#include "priv.h"
*/
import "C"

import (
	"encoding/json"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/safe"
)

//export goHas
func goHas(feature *C.char, n C.size_t) (known C.int) {
	_ = safe.Run("has", func() {
		if capsa.Has(callerString(feature, n)) {
			known = 1
		}
	})
	return known
}

//export goDoctor
func goDoctor(out **C.char, c *C.priv_call) C.capsa_status {
	return guard(c, "doctor", func() error { return giveJSON(out, capsa.Doctor()) })
}

// giveJSON stores a value as JSON in the caller's variable.
func giveJSON(out **C.char, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return newText(out, b)
}
