package vm

import (
	"context"
	"fmt"
	"path/filepath"
)

// Limits of a VsockConfig.
const (
	// MaxVsockPorts is the largest number of ports that are bound to paths.
	MaxVsockPorts = 1024

	// MaxVsockPort is the highest port number; the one above stands for any port
	// (VMADDR_PORT_ANY, include/uapi/linux/vm_sockets.h).
	MaxVsockPort = 1<<32 - 2

	// MaxSocketPathSize is the longest path of a unix socket, in bytes: sun_path
	// without the NUL that ends it (unix(7)).
	MaxSocketPathSize = 107
)

// VsockConfig is the machine's sockets between guest and host. The zero value has
// none.
type VsockConfig struct {
	On    bool // the guest has sockets even when no port is bound
	Ports []VsockPort
}

// Enabled says whether the guest has sockets.
func (c VsockConfig) Enabled() bool { return c.On || len(c.Ports) > 0 }

// VsockPort joins a port to a unix socket of the host, for the machine's life.
type VsockPort struct {
	Port uint32 // of the guest in VsockListen, of the host in VsockConnect
	Path string // up to MaxSocketPathSize bytes
	Mode VsockMode
	Type VsockType
}

// VsockMode says what the host does at the path of a bound port.
type VsockMode string

// The modes.
const (
	// VsockListen: the host listens at the path, where nothing may be yet, and
	// connects each client there to the guest's port. Only this user can connect
	// (mode 0600). The path goes with the machine.
	VsockListen VsockMode = "listen"
	// VsockConnect: the guest connects to the port of the host, and for each
	// connection the host connects to the path. While nobody listens there the
	// guest is refused.
	VsockConnect VsockMode = "connect"
)

// VsockType is the type of a socket, on both sides.
type VsockType string

// The types.
const (
	VsockStream    VsockType = ""          // SOCK_STREAM: bytes in order
	VsockSeqPacket VsockType = "seqpacket" // SOCK_SEQPACKET: messages in order
)

// check adds what is wrong with the type.
func (t VsockType) check(field string, p *Problems) {
	if t != VsockStream && t != VsockSeqPacket {
		p.add(field, `"seqpacket" is; without one it is a stream`, "%q is not known", string(t))
	}
}

// Sockets is a Machine whose guest can have sockets. The descriptors are unix
// sockets of that type, blocking and close-on-exec, and the caller's.
type Sockets interface {
	// VsockConnect connects to a port of the guest. It waits until the guest
	// answers, also for its driver to come up, or until ctx ends; legal until the
	// machine ends. Errors of their own: KindIO, the guest refuses (ECONNREFUSED)
	// or its driver went away (ECONNRESET); KindUnsupported, the machine has no
	// sockets; KindLimit.
	VsockConnect(ctx context.Context, t VsockType, port uint32) (fd int, err error)

	// VsockListen returns a listening socket that accept(2) takes the guest's
	// connections to a port of the host from; legal until the machine ends.
	// Errors of their own: KindInvalidArg; KindExists, the port is in use;
	// KindUnsupported, the machine has no sockets.
	VsockListen(t VsockType, port uint32, backlog int) (fd int, err error)

	// VsockUnlisten frees a port of VsockListen; connections that exist go on.
	// Errors of their own: KindNotFound.
	VsockUnlisten(port uint32) error
}

// CheckVsock is the error of a call for sockets that can never be, or nil.
func (c Config) CheckVsock(op string, t VsockType, port uint32) error {
	if !c.Vsock.Enabled() {
		return Errorf(KindUnsupported, op, "the machine has no sockets").WithHint("build it with them")
	}
	var p Problems
	t.check("type", &p)
	if port > MaxVsockPort {
		p.add("port", "", "%d names no port", port)
	}
	return p.Err(KindInvalidArg, op)
}

// VsockPort checks the i-th of VsockConfig.Ports by itself.
func (p *Problems) VsockPort(i int, v VsockPort) {
	field := func(name string) string { return fmt.Sprintf("vsock.ports[%d].%s", i, name) }
	if v.Port > MaxVsockPort {
		p.add(field("port"), "", "%d names no port", v.Port)
	}
	if v.Path == "" {
		p.add(field("path"), "set the path of a unix socket", "no path is given")
	} else {
		p.socketPath(field("path"), v.Path)
	}
	if v.Mode != VsockListen && v.Mode != VsockConnect {
		p.add(field("mode"), `"listen" and "connect" are`, "%q is not known", string(v.Mode))
	}
	v.Type.check(field("type"), p)
}

// socketPath checks the path of a unix socket.
func (p *Problems) socketPath(field, path string) {
	switch {
	case len(path) > MaxSocketPathSize:
		p.add(field, "", "the path is %d bytes long; unix sockets have at most %d", len(path), MaxSocketPathSize)
	case path[0] == '@':
		p.add(field, `write "./@..." for a file of that name`, "%q would be a name without a file", path)
	default:
		p.path(field, path)
	}
}

// Vsock checks Config.Vsock, each port by itself and all together.
func (p *Problems) Vsock(c VsockConfig) {
	if len(c.Ports) > MaxVsockPorts {
		p.add("vsock.ports", "", "%d are too many; at most %d are possible", len(c.Ports), MaxVsockPorts)
		return
	}
	type side struct {
		mode VsockMode
		port uint32
	}
	ports, paths := make(map[side]int), make(map[string]int)
	for i, v := range c.Ports {
		p.VsockPort(i, v)
		at := side{v.Mode, v.Port}
		if first, taken := ports[at]; taken {
			p.add(fmt.Sprintf("vsock.ports[%d].port", i), "", "%d is bound by entry %d too", v.Port, first)
		} else {
			ports[at] = i
		}
		if v.Mode != VsockListen || v.Path == "" {
			continue
		}
		path := filepath.Clean(v.Path)
		if first, taken := paths[path]; taken {
			p.add(fmt.Sprintf("vsock.ports[%d].path", i), "", "the host listens at %q for entry %d already", v.Path, first)
		} else {
			paths[path] = i
		}
	}
}

// VsockStats are the counters that only the socket device has. All but Connections
// only grow.
type VsockStats struct {
	Connections   uint64 `json:"connections"` // of now, in all states
	Opened        uint64 `json:"opened"`      // connections, asked for by either side
	Refused       uint64 `json:"refused"`     // of the guest, that the host did not take
	Reset         uint64 `json:"reset"`       // ended because the guest broke a rule
	Packets       uint64 `json:"packets"`     // of the guest
	Rejected      uint64 `json:"rejected"`    // of those, that broke a rule
	Dropped       uint64 `json:"dropped"`     // bytes of the guest for which nobody was left
	CreditUpdates uint64 `json:"credit_updates"`
}

// The JSON form of a VsockConfig.
//
//	{"enabled": true, "ports": [{"port": 1024, "mode": "listen", "path": "/run/web.sock"},
//	                            {"port": 9, "mode": "connect", "path": "/run/log.sock", "type": "seqpacket"}]}
type vsockJSON struct {
	Enabled *bool           `json:"enabled,omitempty"`
	Ports   []vsockPortJSON `json:"ports,omitempty"`
}

type vsockPortJSON struct {
	Port uint32    `json:"port"`
	Mode VsockMode `json:"mode"`
	Path string    `json:"path"`
	Type VsockType `json:"type,omitempty"`
}

// encodeVsock is nil for the default.
func encodeVsock(c VsockConfig, p *Problems) *vsockJSON {
	if !c.Enabled() {
		return nil
	}
	enabled := true
	out := &vsockJSON{Enabled: &enabled}
	for i, v := range c.Ports {
		p.utf8(fmt.Sprintf("vsock.ports[%d].path", i), v.Path)
		out.Ports = append(out.Ports, vsockPortJSON{Port: v.Port, Mode: v.Mode, Path: v.Path, Type: v.Type})
	}
	return out
}

// apply puts what is given into c.
func (j *vsockJSON) apply(c *VsockConfig) {
	if j == nil {
		return
	}
	give(&c.On, j.Enabled)
	if j.Ports != nil {
		c.Ports = nil
		for _, v := range j.Ports {
			c.Ports = append(c.Ports, VsockPort{Port: v.Port, Path: v.Path, Mode: v.Mode, Type: v.Type})
		}
	}
}
