package capsa

import (
	"os"
	"slices"

	"github.com/libcapsa/libcapsa/internal/agent/initrd"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// machineConfig is what a backend is told of a configuration: what the agent does is not
// its business, but the agent needs sockets, and a place in the initial file system. That
// is a file which done removes, once the machine is made.
func machineConfig(cfg vm.Config) (out vm.Config, done func(), err error) {
	cfg, done = cfg.Clone(), func() {}
	g := cfg.Guest
	if !g.Enabled() {
		return cfg, done, nil
	}
	cfg.Vsock.On = true
	cfg.Guest = vm.GuestConfig{}
	if g.Agent == vm.AgentInstalled {
		return cfg, done, nil
	}
	path, err := initrd.Temp(initrd.Config{Base: cfg.Boot.Initrd, Modules: g.Modules})
	if err != nil {
		return cfg, done, err
	}
	cfg.Boot.Initrd = path
	if g.Agent == vm.AgentAdded && cfg.Boot.Cmdline == nil {
		cfg.Boot.Args = slices.Concat(cfg.Boot.Args, []string{"rdinit=/" + initrd.AddedPath})
	}
	return cfg, func() { _ = os.Remove(path) }, nil
}
