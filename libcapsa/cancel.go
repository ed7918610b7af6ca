package main

/*
#include "priv.h"
*/
import "C"

import "context"

// cancelToken is a capsa_cancel.
type cancelToken struct {
	ctx     context.Context // ends when the token is triggered
	trigger context.CancelFunc
}

//export goCancelNew
func goCancelNew(out *C.uintptr_t, c *C.priv_call) C.capsa_status {
	return guard(c, "cancel.new", func() error {
		t := &cancelToken{}
		t.ctx, t.trigger = context.WithCancel(context.Background())
		return give(out, kindCancel, t)
	})
}

//export goCancelTrigger
func goCancelTrigger(h C.uintptr_t, c *C.priv_call) C.capsa_status {
	return on(kindCancel, h, c, "cancel.trigger", func(t *cancelToken) error {
		t.trigger()
		return nil
	})
}

//export goCancelFree
func goCancelFree(h C.uintptr_t) {
	free("cancel.free", func() { handles.take(kindCancel, uintptr(h)) })
}

// give stores a new handle for an object in the caller's variable.
func give(out *C.uintptr_t, k kind, object any) error {
	h, err := handles.put(k, object)
	if err != nil {
		return err
	}
	*out = C.uintptr_t(h)
	return nil
}
