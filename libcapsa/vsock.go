package main

/*
#include "priv.h"
*/
import "C"

import (
	"context"

	"github.com/libcapsa/libcapsa/capsa"
)

// vsockType decodes the flags of a socket.
func vsockType(name string, flags C.uint32_t) (capsa.VsockType, error) {
	if flags&^C.CAPSA_VSOCK_SEQPACKET != 0 {
		return "", errorf(capsa.KindInvalidArg, name, "flags %#x are not known", uint32(flags&^C.CAPSA_VSOCK_SEQPACKET))
	}
	if flags != 0 {
		return capsa.VsockSeqPacket, nil
	}
	return capsa.VsockStream, nil
}

//export goBuilderSetVsock
func goBuilderSetVsock(h C.uintptr_t, on C.int, c *C.priv_call) C.capsa_status {
	return builder(h, c, "builder.set_vsock", func(b *capsa.Builder) error {
		if on != 0 && on != 1 {
			return errorf(capsa.KindInvalidArg, "builder.set_vsock", "%d is neither 0 nor 1", int(on))
		}
		return b.SetVsock(on == 1)
	})
}

// bindVsock binds a port of a machine to be built to a path.
func bindVsock(h C.uintptr_t, c *C.priv_call, name string, port C.uint32_t, path *C.char, mode capsa.VsockMode,
	flags C.uint32_t) C.capsa_status {
	return builder(h, c, name, func(b *capsa.Builder) error {
		t, err := vsockType(name, flags)
		if err != nil {
			return err
		}
		return b.BindVsock(capsa.VsockPort{Port: uint32(port), Path: C.GoString(path), Mode: mode, Type: t})
	})
}

//export goBuilderVsockListen
func goBuilderVsockListen(h C.uintptr_t, port C.uint32_t, path *C.char, flags C.uint32_t, c *C.priv_call) C.capsa_status {
	return bindVsock(h, c, "builder.vsock_listen", port, path, capsa.VsockModeListen, flags)
}

//export goBuilderVsockConnect
func goBuilderVsockConnect(h C.uintptr_t, port C.uint32_t, path *C.char, flags C.uint32_t, c *C.priv_call) C.capsa_status {
	return bindVsock(h, c, "builder.vsock_connect", port, path, capsa.VsockModeConnect, flags)
}

//export goVMVsockConnect
func goVMVsockConnect(h C.uintptr_t, port, flags C.uint32_t, ms C.int64_t, cancel C.uintptr_t, out *C.int,
	c *C.priv_call) C.capsa_status {
	const name = "vm.vsock_connect"
	return onVM(h, c, name, func(m *machine) error {
		t, err := vsockType(name, flags)
		if err != nil {
			return err
		}
		fd := -1
		return wait{
			name: name, timeout: ms, cancel: cancel, life: m.life, strict: true,
			run: func(ctx context.Context) (err error) {
				fd, err = m.VsockConnect(ctx, t, uint32(port))
				if err != nil && m.cut.Load() {
					// The end is the free's doing, whichever is seen first.
					err = errorf(capsa.KindClosed, name, "%w", errFreed)
				}
				return err
			},
			commit: func(err error) error {
				if err != nil {
					return err
				}
				return giveFD(out, func() (int, error) { return fd, nil })
			},
		}.begin(c)
	})
}

//export goVMVsockListen
func goVMVsockListen(h C.uintptr_t, port, flags C.uint32_t, backlog C.int, out *C.int, c *C.priv_call) C.capsa_status {
	const name = "vm.vsock_listen"
	return onVM(h, c, name, func(m *machine) error {
		t, err := vsockType(name, flags)
		if err != nil {
			return err
		}
		return giveFD(out, func() (int, error) { return m.VsockListen(t, uint32(port), int(backlog)) })
	})
}

//export goVMVsockUnlisten
func goVMVsockUnlisten(h C.uintptr_t, port C.uint32_t, c *C.priv_call) C.capsa_status {
	return onVM(h, c, "vm.vsock_unlisten", func(m *machine) error { return m.VsockUnlisten(uint32(port)) })
}
