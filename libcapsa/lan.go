package main

/*
#include "priv.h"
*/
import "C"

import (
	"net/netip"

	"github.com/libcapsa/libcapsa/capsa"
)

//export goNetworkNew
func goNetworkNew(o *C.capsa_shared_options, out *C.uintptr_t, c *C.priv_call) C.capsa_status {
	return guard(c, "network.new", func() error {
		cfg, err := sharedOf(o)
		if err != nil {
			return err
		}
		n, err := capsa.NewNetwork(cfg)
		if err != nil {
			return err
		}
		return give(out, kindNetwork, n)
	})
}

// sharedOf decodes the options of a network of several machines.
func sharedOf(o *C.capsa_shared_options) (cfg capsa.SharedConfig, err error) {
	const name = "network.new"
	const known = C.CAPSA_SHARED_NO_IPV6 | C.CAPSA_SHARED_HOST_ACCESS | C.CAPSA_SHARED_NO_NAT | C.CAPSA_SHARED_ISOLATED |
		C.CAPSA_SHARED_BROADCAST
	switch {
	case o.flags&^known != 0:
		return cfg, errorf(capsa.KindInvalidArg, name, "flags %#x are not known", uint32(o.flags&^known))
	case o.reserved != 0:
		return cfg, errorf(capsa.KindInvalidArg, name, "reserved is %#x, not 0", uint32(o.reserved))
	}
	cfg = capsa.SharedConfig{
		MTU: int(o.mtu), Domain: C.GoString(o.domain), NoIPv6: o.flags&C.CAPSA_SHARED_NO_IPV6 != 0,
		HostAccess: o.flags&C.CAPSA_SHARED_HOST_ACCESS != 0, NoNAT: o.flags&C.CAPSA_SHARED_NO_NAT != 0,
		Isolated: o.flags&C.CAPSA_SHARED_ISOLATED != 0, Broadcast: o.flags&C.CAPSA_SHARED_BROADCAST != 0,
	}
	for _, err := range []error{
		read(&cfg.IPv4, "ipv4", o.ipv4, netip.ParsePrefix), read(&cfg.IPv6, "ipv6", o.ipv6, netip.ParsePrefix),
		read(&cfg.Gateway, "gateway", o.gateway, netip.ParseAddr),
	} {
		if err != nil {
			return cfg, err
		}
	}
	for _, text := range callerStrings(o.dns, o.n_dns) {
		var server netip.AddrPort
		if err := read(&server, "dns", text, parseServer); err != nil {
			return cfg, err
		}
		cfg.DNS = append(cfg.DNS, server)
	}
	for _, text := range callerStrings(o.search, o.n_search) {
		cfg.Search = append(cfg.Search, C.GoString(text))
	}
	cfg.Hosts, err = hostNames(callerHostNames(o.hosts, o.n_hosts))
	return cfg, err
}

//export goNetworkFree
func goNetworkFree(h C.uintptr_t) {
	free("network.free", func() {
		if n, ok := handles.take(kindNetwork, uintptr(h)).(*capsa.Network); ok {
			n.Close()
		}
	})
}

// framings are the framings by their numbers.
var framings = []capsa.Framing{
	C.CAPSA_FRAMING_STREAM: capsa.FramingStream, C.CAPSA_FRAMING_DATAGRAM: capsa.FramingDatagram, C.CAPSA_FRAMING_TAP: capsa.FramingTAP,
}

// attachOf decodes how a machine is attached.
func attachOf(name string, o *C.capsa_attach_options) (cfg capsa.NetworkConfig, err error) {
	switch {
	case o.flags&^C.CAPSA_NETWORK_LINK_DOWN != 0:
		return cfg, errorf(capsa.KindInvalidArg, name, "flags %#x are not known", uint32(o.flags&^C.CAPSA_NETWORK_LINK_DOWN))
	case int64(o.framing) >= int64(len(framings)):
		return cfg, errorf(capsa.KindInvalidArg, name, "framing %d is not known", uint32(o.framing))
	}
	cfg = capsa.NetworkConfig{
		MAC: C.GoString(o.mac), MTU: int(o.mtu), Hostname: C.GoString(o.hostname), LinkDown: o.flags&C.CAPSA_NETWORK_LINK_DOWN != 0,
		Cable: capsa.Cable{Framing: framings[o.framing]},
	}
	return cfg, read(&cfg.Guest, "guest", o.guest, netip.ParseAddr)
}

//export goBuilderAttachNetwork
func goBuilderAttachNetwork(h, network C.uintptr_t, o *C.capsa_attach_options, c *C.priv_call) C.capsa_status {
	const name = "builder.attach_network"
	return builder(h, c, name, func(b *capsa.Builder) error {
		n, err := lookup[*capsa.Network](kindNetwork, uintptr(network))
		if err != nil {
			return err
		}
		cfg, err := attachOf(name, o)
		if err != nil {
			return err
		}
		return b.Attach(n, cfg)
	})
}

//export goBuilderAttachFD
func goBuilderAttachFD(h C.uintptr_t, fd C.int, o *C.capsa_attach_options, c *C.priv_call) C.capsa_status {
	const name = "builder.attach_fd"
	return builder(h, c, name, func(b *capsa.Builder) error {
		cfg, err := attachOf(name, o)
		if err != nil {
			return err
		}
		return b.AttachFD(int(fd), cfg)
	})
}

//export goBuilderAttachTAP
func goBuilderAttachTAP(h C.uintptr_t, tap *C.char, o *C.capsa_attach_options, c *C.priv_call) C.capsa_status {
	const name = "builder.attach_tap"
	return builder(h, c, name, func(b *capsa.Builder) error {
		cfg, err := attachOf(name, o)
		if err != nil {
			return err
		}
		return b.AttachTAP(C.GoString(tap), cfg)
	})
}

//export goVMAttachFD
func goVMAttachFD(h C.uintptr_t, fd C.int, c *C.priv_call) C.capsa_status {
	return onVM(h, c, "vm.attach_fd", func(m *machine) error { return m.SetCable(int(fd)) })
}

// limitsOf decodes limits.
func limitsOf(name string, o *C.capsa_network_limits) (capsa.NetworkLimits, error) {
	if o.flags != 0 {
		return capsa.NetworkLimits{}, errorf(capsa.KindInvalidArg, name, "flags are %#x, not 0", uint32(o.flags))
	}
	return capsa.NetworkLimits{
		FromGuest: capsa.RateLimit{
			BytesPerSec: uint64(o.from_guest_bytes), BytesBurst: uint64(o.from_guest_bytes_burst),
			PacketsPerSec: uint64(o.from_guest_packets), PacketsBurst: uint64(o.from_guest_packets_burst),
		},
		ToGuest: capsa.RateLimit{
			BytesPerSec: uint64(o.to_guest_bytes), BytesBurst: uint64(o.to_guest_bytes_burst),
			PacketsPerSec: uint64(o.to_guest_packets), PacketsBurst: uint64(o.to_guest_packets_burst),
		},
		ConnectionsPerSec: uint64(o.connections), ConnectionsBurst: uint64(o.connections_burst),
	}, nil
}

//export goBuilderSetNetworkLimits
func goBuilderSetNetworkLimits(h C.uintptr_t, o *C.capsa_network_limits, c *C.priv_call) C.capsa_status {
	const name = "builder.set_network_limits"
	return builder(h, c, name, func(b *capsa.Builder) error {
		l, err := limitsOf(name, o)
		if err != nil {
			return err
		}
		return b.SetNetworkLimits(l)
	})
}

//export goVMSetNetworkLimits
func goVMSetNetworkLimits(h C.uintptr_t, o *C.capsa_network_limits, c *C.priv_call) C.capsa_status {
	const name = "vm.set_network_limits"
	return onVM(h, c, name, func(m *machine) error {
		l, err := limitsOf(name, o)
		if err != nil {
			return err
		}
		return m.SetNetworkLimits(l)
	})
}

// captureOf decodes a capture, which is none unless it is given.
func captureOf(name string, o *C.capsa_capture_options, given C.int) (capture capsa.Capture, err error) {
	switch {
	case given == 0:
		return capture, nil
	case o.reserved != 0:
		return capture, errorf(capsa.KindInvalidArg, name, "reserved is %#x, not 0", uint32(o.reserved))
	case o.fd == 0 || o.fd < -1:
		return capture, errorf(capsa.KindInvalidArg, name, "%d is no descriptor to write to", int(o.fd))
	case (o.path == nil) == (o.fd == -1):
		return capture, errorf(capsa.KindInvalidArg, name, "either a path or a descriptor is needed")
	}
	return capsa.Capture{
		Path: C.GoString(o.path), File: max(int(o.fd), 0), SnapLen: int(o.snap_len), MaxSize: uint64(o.max_size),
	}, nil
}

//export goBuilderSetCapture
func goBuilderSetCapture(h C.uintptr_t, o *C.capsa_capture_options, given C.int, c *C.priv_call) C.capsa_status {
	const name = "builder.set_capture"
	return builder(h, c, name, func(b *capsa.Builder) error {
		capture, err := captureOf(name, o, given)
		if err != nil {
			return err
		}
		return b.SetCapture(capture)
	})
}

//export goVMSetCapture
func goVMSetCapture(h C.uintptr_t, o *C.capsa_capture_options, given C.int, c *C.priv_call) C.capsa_status {
	const name = "vm.set_capture"
	return onVM(h, c, name, func(m *machine) error {
		capture, err := captureOf(name, o, given)
		if err != nil {
			return err
		}
		return m.SetCapture(capture)
	})
}
