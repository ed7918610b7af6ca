package main

/*
#include "priv.h"
*/
import "C"

import (
	"net/netip"
	"strings"

	"github.com/libcapsa/libcapsa/capsa"
)

// networkModes are the modes by their numbers.
var networkModes = []capsa.NetworkMode{
	C.CAPSA_NETWORK_NONE: capsa.NetworkNone, C.CAPSA_NETWORK_USER: capsa.NetworkUser, C.CAPSA_NETWORK_NAT: capsa.NetworkNAT,
}

// forwardProtocols are the protocols by their numbers.
var forwardProtocols = []capsa.ForwardProtocol{
	C.CAPSA_FORWARD_TCP: capsa.ForwardTCP, C.CAPSA_FORWARD_UDP: capsa.ForwardUDP,
}

//export goBuilderSetNetwork
func goBuilderSetNetwork(h C.uintptr_t, o *C.capsa_network_options, c *C.priv_call) C.capsa_status {
	return builder(h, c, "builder.set_network", func(b *capsa.Builder) error {
		cfg, err := networkOf(o)
		if err != nil {
			return err
		}
		return b.SetNetwork(cfg)
	})
}

// networkOf decodes the options of a network.
func networkOf(o *C.capsa_network_options) (cfg capsa.NetworkConfig, err error) {
	const name = "builder.set_network"
	const known = C.CAPSA_NETWORK_NO_IPV6 | C.CAPSA_NETWORK_HOST_ACCESS | C.CAPSA_NETWORK_LINK_DOWN
	switch {
	case o.flags&^known != 0:
		return cfg, errorf(capsa.KindInvalidArg, name, "flags %#x are not known", uint32(o.flags&^known))
	case int64(o.mode) >= int64(len(networkModes)):
		return cfg, errorf(capsa.KindInvalidArg, name, "mode %d is not known", uint32(o.mode))
	}
	cfg = capsa.NetworkConfig{
		Mode: networkModes[o.mode], MAC: C.GoString(o.mac), MTU: int(o.mtu), Hostname: C.GoString(o.hostname),
		NoIPv6:     o.flags&C.CAPSA_NETWORK_NO_IPV6 != 0,
		HostAccess: o.flags&C.CAPSA_NETWORK_HOST_ACCESS != 0,
		LinkDown:   o.flags&C.CAPSA_NETWORK_LINK_DOWN != 0,
	}
	for _, err := range []error{
		read(&cfg.IPv4, "ipv4", o.ipv4, netip.ParsePrefix), read(&cfg.IPv6, "ipv6", o.ipv6, netip.ParsePrefix),
		read(&cfg.Guest, "guest", o.guest, netip.ParseAddr), read(&cfg.Gateway, "gateway", o.gateway, netip.ParseAddr),
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

// read decodes a text, unless it is NULL.
func read[T any](to *T, what string, text *C.char, parse func(string) (T, error)) error {
	if text == nil {
		return nil
	}
	v, err := parse(C.GoString(text))
	if err != nil {
		return errorf(capsa.KindInvalidArg, "builder.set_network", "%s: %w", what, err)
	}
	*to = v
	return nil
}

// parseServer reads an address, or one with a port.
func parseServer(s string) (netip.AddrPort, error) {
	const port = 53
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return netip.AddrPortFrom(a, port), nil
	}
	return netip.ParseAddrPort(s)
}

// hostNames puts the addresses of each name together.
func hostNames(entries []C.capsa_host_name) (list []capsa.HostName, err error) {
	at := map[string]int{}
	for _, e := range entries {
		var addr netip.Addr
		if err := read(&addr, "hosts", e.address, netip.ParseAddr); err != nil {
			return nil, err
		}
		name := C.GoString(e.name)
		i, there := at[name]
		if !there {
			i = len(list)
			at[name] = i
			list = append(list, capsa.HostName{Name: name})
		}
		list[i].Addrs = append(list[i].Addrs, addr)
	}
	return list, nil
}

// policyText copies a policy of the caller; nil for NULL.
func policyText(name string, s *C.char, n C.size_t) ([]byte, error) {
	if s == nil {
		return nil, nil
	}
	if n > maxJSON {
		return nil, errorf(capsa.KindInvalidArg, name, "%d bytes are no JSON text", n)
	}
	return append([]byte{}, callerString(s, n)...), nil
}

//export goBuilderSetPolicyJSON
func goBuilderSetPolicyJSON(h C.uintptr_t, s *C.char, n C.size_t, c *C.priv_call) C.capsa_status {
	const name = "builder.set_policy_json"
	return builder(h, c, name, func(b *capsa.Builder) error {
		text, err := policyText(name, s, n)
		if err != nil {
			return err
		}
		return b.SetPolicyJSON(text)
	})
}

//export goBuilderAddForward
func goBuilderAddForward(h C.uintptr_t, o *C.capsa_forward_options, c *C.priv_call) C.capsa_status {
	const name = "builder.add_forward"
	return builder(h, c, name, func(b *capsa.Builder) error {
		f, err := forwardOf(name, o)
		if err != nil {
			return err
		}
		return b.AddForward(f)
	})
}

// forwardOf decodes the options of a forward.
func forwardOf(name string, o *C.capsa_forward_options) (f capsa.Forward, err error) {
	switch {
	case int64(o.protocol) >= int64(len(forwardProtocols)):
		return f, errorf(capsa.KindInvalidArg, name, "protocol %d is not known", uint32(o.protocol))
	case o.reserved != 0:
		return f, errorf(capsa.KindInvalidArg, name, "reserved is %#x, not 0", uint32(o.reserved))
	case o.path != nil && (o.host != nil || o.host_port != 0):
		return f, errorf(capsa.KindInvalidArg, name, "both a path and an address of the host are given")
	case o.path != nil && *o.path == 0:
		return f, errorf(capsa.KindInvalidArg, name, "the path is empty")
	}
	f = capsa.Forward{Protocol: forwardProtocols[o.protocol], Path: C.GoString(o.path), Guest: uint16(o.guest_port)}
	if o.path != nil {
		return f, nil
	}
	host := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if o.host != nil {
		if host, err = netip.ParseAddr(C.GoString(o.host)); err != nil {
			return f, errorf(capsa.KindInvalidArg, name, "host: %w", err)
		}
	}
	f.Host = netip.AddrPortFrom(host, uint16(o.host_port))
	return f, nil
}

//export goVMAddForward
func goVMAddForward(h C.uintptr_t, o *C.capsa_forward_options, out *C.capsa_forward_info, c *C.priv_call) C.capsa_status {
	const name = "vm.add_forward"
	return onVM(h, c, name, func(m *machine) error {
		f, err := forwardOf(name, o)
		if err != nil {
			return err
		}
		open, err := m.AddForward(f)
		if err != nil {
			return err
		}
		out.id, out.protocol = C.uint32_t(open.ID), o.protocol
		out.host_port, out.guest_port = C.uint16_t(open.Host.Port()), C.uint16_t(open.Guest)
		where := open.Path
		if where == "" {
			where = open.Host.Addr().String()
		}
		for i := range min(len(where), len(out.host)-1) {
			out.host[i] = C.char(where[i])
		}
		return nil
	})
}

//export goVMRemoveForward
func goVMRemoveForward(h C.uintptr_t, id C.uint32_t, c *C.priv_call) C.capsa_status {
	return onVM(h, c, "vm.remove_forward", func(m *machine) error { return m.RemoveForward(uint32(id)) })
}

//export goVMForwardsJSON
func goVMForwardsJSON(h C.uintptr_t, out **C.char, c *C.priv_call) C.capsa_status {
	return onVM(h, c, "vm.forwards_json", func(m *machine) error {
		list, err := m.Forwards()
		if err != nil {
			return err
		}
		return giveJSON(out, append([]capsa.Forward{}, list...)) // never null
	})
}

//export goVMSetPolicyJSON
func goVMSetPolicyJSON(h C.uintptr_t, s *C.char, n C.size_t, c *C.priv_call) C.capsa_status {
	const name = "vm.set_policy_json"
	return onVM(h, c, name, func(m *machine) error {
		text, err := policyText(name, s, n)
		if err != nil {
			return err
		}
		return m.SetPolicyJSON(text)
	})
}

//export goVMSetLink
func goVMSetLink(h C.uintptr_t, up C.int, c *C.priv_call) C.capsa_status {
	return onVM(h, c, "vm.set_link", func(m *machine) error {
		if up != 0 && up != 1 {
			return errorf(capsa.KindInvalidArg, "vm.set_link", "%d is neither 0 nor 1", int(up))
		}
		return m.SetLink(up == 1)
	})
}
