package main

/*
#include "priv.h"
*/
import "C"

import (
	"context"
	"sync/atomic"

	"github.com/libcapsa/libcapsa/capsa"
)

// machine is a capsa_vm.
type machine struct {
	*capsa.VM
	life context.Context // ends with errFreed when the handle is freed
	end  context.CancelCauseFunc
	cut  atomic.Bool // the handle was freed before the machine's end
}

func newMachine(v *capsa.VM) *machine {
	m := &machine{VM: v}
	m.life, m.end = context.WithCancelCause(context.Background())
	return m
}

// onVM runs an export on the machine of a handle.
func onVM(h C.uintptr_t, c *C.priv_call, name string, fn func(m *machine) error) C.capsa_status {
	return on(kindVM, h, c, name, fn)
}

//export goVMStart
func goVMStart(h C.uintptr_t, ms C.int64_t, cancel C.uintptr_t, c *C.priv_call) C.capsa_status {
	return onVM(h, c, "vm.start", func(m *machine) error {
		// It never waits, so that the first attempt is the only one.
		return wait{name: "vm.start", timeout: ms, cancel: cancel, life: m.life, try: true, run: m.Start}.begin(c)
	})
}

//export goVMWait
func goVMWait(h C.uintptr_t, ms C.int64_t, cancel C.uintptr_t, out *C.capsa_exit_info, c *C.priv_call) C.capsa_status {
	return onVM(h, c, "vm.wait", func(m *machine) error {
		var exit capsa.Exit
		return wait{
			name: "vm.wait", timeout: ms, cancel: cancel, life: m.life, try: true,
			run: func(ctx context.Context) (err error) {
				if exit, err = m.Wait(ctx); m.cut.Load() {
					// The end is the free's doing, whichever is seen first.
					exit, err = capsa.Exit{}, errorf(capsa.KindClosed, "vm.wait", "%w", errFreed)
				}
				return err
			},
			commit: func(err error) error {
				storeExit(out, exit)
				return err
			},
		}.begin(c)
	})
}

// storeExit encodes an exit record; the zero record has cause 0.
func storeExit(out *C.capsa_exit_info, exit capsa.Exit) {
	out.cause = C.uint32_t(exit.Cause)
	out.code = C.int32_t(exit.Code)
	out.signal = C.int32_t(exit.Signal)
	out.uptime_ns = C.uint64_t(exit.Uptime)
}

//export goVMExitJSON
func goVMExitJSON(h C.uintptr_t, out **C.char, c *C.priv_call) C.capsa_status {
	return onVM(h, c, "vm.exit_json", func(m *machine) error {
		exit, ended := m.Exit()
		if !ended {
			return errorf(capsa.KindState, "vm.exit_json", "the machine has not ended")
		}
		return giveJSON(out, newExitJSON(exit))
	})
}

//export goVMKill
func goVMKill(h C.uintptr_t, c *C.priv_call) C.capsa_status {
	return onVM(h, c, "vm.kill", func(m *machine) error { return m.Kill() })
}

//export goVMPause
func goVMPause(h C.uintptr_t, c *C.priv_call) C.capsa_status {
	return onVM(h, c, "vm.pause", func(m *machine) error { return m.Pause() })
}

//export goVMResume
func goVMResume(h C.uintptr_t, c *C.priv_call) C.capsa_status {
	return onVM(h, c, "vm.resume", func(m *machine) error { return m.Resume() })
}

//export goVMState
func goVMState(h C.uintptr_t, out *C.uint32_t, c *C.priv_call) C.capsa_status {
	return onVM(h, c, "vm.state", func(m *machine) error {
		*out = C.uint32_t(m.State())
		return nil
	})
}

//export goVMBootLog
func goVMBootLog(h C.uintptr_t, out *C.uintptr_t, c *C.priv_call) C.capsa_status {
	return onVM(h, c, "vm.boot_log", func(m *machine) error { return newOutput(out, m.BootLog(), 0) })
}

//export goVMEventFD
func goVMEventFD(h C.uintptr_t, out *C.int, c *C.priv_call) C.capsa_status {
	return onVM(h, c, "vm.event_fd", func(m *machine) error { return giveFD(out, m.EventFD) })
}

//export goVMExitFD
func goVMExitFD(h C.uintptr_t, out *C.int, c *C.priv_call) C.capsa_status {
	return onVM(h, c, "vm.exit_fd", func(m *machine) error { return giveFD(out, m.ExitFD) })
}

//export goVMNextEvent
func goVMNextEvent(h C.uintptr_t, ms C.int64_t, cancel C.uintptr_t, out *C.capsa_event, text **C.char,
	c *C.priv_call) C.capsa_status {
	return onVM(h, c, "vm.next_event", func(m *machine) error {
		var event capsa.Event
		return wait{
			name: "vm.next_event", timeout: ms, cancel: cancel, life: m.life, try: true,
			run: func(ctx context.Context) (err error) {
				event, err = m.NextEvent(ctx)
				return err
			},
			commit: func(err error) error {
				if err == nil && text != nil {
					err = giveJSON(text, newEventJSON(event))
				}
				if err == nil {
					storeEvent(out, event)
				}
				return err
			},
		}.begin(c)
	})
}

// storeEvent encodes an event without its details.
func storeEvent(out *C.capsa_event, event capsa.Event) {
	out._type = C.uint32_t(event.Type)
	out.time_ns = C.uint64_t(event.Time.UnixNano())
	switch {
	case event.Type == capsa.EventState:
		out.value = C.int64_t(event.State)
	case event.Type == capsa.EventExited && event.Exit != nil:
		out.value = C.int64_t(event.Exit.Cause)
	case event.Type == capsa.EventLost:
		out.value = C.int64_t(event.Lost)
	case event.Type == capsa.EventPortBound && event.Forward != nil:
		out.value = C.int64_t(event.Forward.Host.Port())
	case event.Type == capsa.EventDiskError:
		out.value = C.int64_t(event.Disk)
	case event.Type == capsa.EventLink && event.Up:
		out.value = 1
	}
}

//export goVMConsole
func goVMConsole(h C.uintptr_t, out *C.uintptr_t, c *C.priv_call) C.capsa_status {
	return onVM(h, c, "vm.console", func(m *machine) error { return give(out, kindConsole, newTerminal(m.VM)) })
}

//export goVMFree
func goVMFree(h C.uintptr_t) {
	free("vm.free", func() {
		if m, ok := handles.take(kindVM, uintptr(h)).(*machine); ok {
			if _, over := m.Exit(); !over {
				m.cut.Store(true)
			}
			m.end(errFreed)
			_ = m.Close()
		}
	})
}
