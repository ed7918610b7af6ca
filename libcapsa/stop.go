package main

/*
#include "priv.h"
*/
import "C"

import (
	"context"
	"math"
	"time"

	"github.com/libcapsa/libcapsa/capsa"
)

// graceOf is a grace time: milliseconds, negative for ever.
func graceOf(ms C.int64_t) time.Duration {
	if ms < 0 {
		return -1
	}
	return time.Duration(min(int64(ms), math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
}

//export goVMStop
func goVMStop(h C.uintptr_t, ms C.int64_t, cancel C.uintptr_t, out *C.uint32_t, c *C.priv_call) C.capsa_status {
	return onVM(h, c, "vm.stop", func(m *machine) error {
		var stage capsa.Stage
		return wait{
			// The grace period is no limit of the wait: killing comes after it.
			name: "vm.stop", timeout: -1, cancel: cancel, life: m.life,
			run: func(ctx context.Context) (err error) {
				stage, err = m.Stop(ctx, graceOf(ms))
				return err
			},
			commit: func(err error) error {
				if err == nil {
					*out = C.uint32_t(stage)
				}
				return err
			},
		}.begin(c)
	})
}

//export goVMStopInStages
func goVMStopInStages(h C.uintptr_t, o *C.capsa_stop_options, cancel C.uintptr_t, out *C.capsa_stop_outcome,
	c *C.priv_call) C.capsa_status {
	return onVM(h, c, "vm.stop_in_stages", func(m *machine) error {
		if o.flags != 0 {
			return errorf(capsa.KindInvalidArg, "vm.stop_in_stages", "flags %#x are not known", uint32(o.flags))
		}
		grace := capsa.Grace{Agent: graceOf(o.agent_ms), PowerButton: graceOf(o.power_button_ms), Kill: graceOf(o.kill_ms)}
		var outcome capsa.Outcome
		return wait{
			name: "vm.stop_in_stages", timeout: -1, cancel: cancel, life: m.life,
			run: func(ctx context.Context) (err error) {
				outcome, err = m.StopInStages(ctx, grace)
				return err
			},
			commit: func(err error) error {
				out.stage = C.uint32_t(outcome.Stage)
				out.agent_ns = C.uint64_t(outcome.Agent)
				out.power_button_ns = C.uint64_t(outcome.PowerButton)
				out.kill_ns = C.uint64_t(outcome.Kill)
				return err
			},
		}.begin(c)
	})
}
