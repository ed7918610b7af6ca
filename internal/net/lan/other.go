//go:build !linux

package lan

import (
	"encoding/json"
	"net/netip"
	"os"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// errUnsupported: the switch is not made for this system.
var errUnsupported = vm.Errorf(vm.KindUnsupported, "network", "networks of several machines are there on Linux only").WithComponent(component)

// Network, Port and Remote do not exist here.
type (
	Network struct{}
	Port    struct{}
	Remote  struct{}
)

// New fails.
func New(Config) (*Network, error) { return nil, errUnsupported }

// Close does nothing.
func (*Network) Close() {}

// Join fails.
func (*Network) Join(PortConfig) (*Port, error) { return nil, errUnsupported }

// Prepare refuses a TAP.
func Prepare(op string, c *vm.NetworkConfig) (*os.File, error) {
	if c.Mode == vm.NetworkTAP || c.Cable.Framing == vm.FramingTAP {
		return nil, vm.Errorf(vm.KindUnsupported, op, "TAP interfaces are there on Linux only").WithComponent(component)
	}
	return nil, nil
}

// MAC is never called, and so are the others.
func (*Port) MAC() string { return "" }

// MTU is never called.
func (*Port) MTU() int { return 0 }

// Addr is the machine's IPv4 address.
func (*Port) Addr() netip.Addr { return netip.Addr{} }

// AddForward fails.
func (*Port) AddForward(vm.Forward) (vm.Forward, error) { return vm.Forward{}, errUnsupported }

// RemoveForward fails.
func (*Port) RemoveForward(uint32) error { return errUnsupported }

// Forwards are none.
func (*Port) Forwards() []vm.Forward { return nil }

// SetPolicy fails.
func (*Port) SetPolicy(json.RawMessage) error { return errUnsupported }

// SetLimits does nothing.
func (*Port) SetLimits(vm.NetworkLimits) {}

// Stats are zero.
func (*Port) Stats() vm.NetStats { return vm.NetStats{} }

// Plug fails.
func (*Port) Plug() (*os.File, *Remote, error) { return nil, nil, errUnsupported }

// Close does nothing.
func (*Port) Close() error { return nil }

// Close does nothing.
func (*Remote) Close() {}
