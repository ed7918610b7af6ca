//go:build darwin && (cgo || vzstub)

package framework

import (
	"errors"
	"sync"

	vzf "github.com/Code-Hex/vz/v3"

	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vz"
	"github.com/libcapsa/libcapsa/internal/vz/plan"
)

// guest implements vz.Guest.
type guest struct {
	vm         *vzf.VirtualMachine
	cfg        *vzf.VirtualMachineConfiguration
	identifier []byte
	log        func(format string, a ...any)
	states     chan vz.State
	quit       chan struct{} // closed: no more states
	closing    sync.Once
	wg         sync.WaitGroup

	balloon func() vzf.MemoryBalloonDevice // once, for good
	socket  func() *vzf.VirtioSocketDevice // likewise
	taking  sync.Mutex                     // connections are taken one at a time
}

var _ vz.Guest = (*guest)(nil)

func newGuest(machine *vzf.VirtualMachine, b *builder, log func(string, ...any)) *guest {
	g := &guest{
		vm: machine, cfg: b.cfg, identifier: b.identifier, log: log,
		states: make(chan vz.State), quit: make(chan struct{}),
	}
	pin(g, machine, b)
	g.balloon = sync.OnceValue(g.findBalloon)
	g.socket = sync.OnceValue(g.findSocket)
	g.goes("vz state", g.tellStates)
	if len(b.nics) > 0 {
		g.goes("vz network lost", g.tellLosses)
	}
	return g
}

func (g *guest) goes(name string, fn func()) {
	g.wg.Add(1)
	safe.Go(name, func(err error) { g.log("%v", err) }, func() {
		defer g.wg.Done()
		fn()
	})
}

// States implements vz.Guest.
func (g *guest) States() <-chan vz.State { return g.states }

// lasting are the states that last; the others are on the way to one of them.
var lasting = map[vzf.VirtualMachineState]vz.State{
	vzf.VirtualMachineStateStopped: vz.Stopped,
	vzf.VirtualMachineStateRunning: vz.Running,
	vzf.VirtualMachineStatePaused:  vz.Paused,
	vzf.VirtualMachineStateError:   vz.Failed,
}

// tellStates passes on what the framework observes.
func (g *guest) tellStates() {
	defer close(g.states)
	changes := g.vm.StateChangedNotify()
	for {
		select {
		case s := <-changes:
			if state, lasts := lasting[s]; lasts {
				select {
				case g.states <- state:
				case <-g.quit:
					return
				}
			}
		case <-g.quit:
			return
		}
	}
}

// tellLosses tells of attachments that the framework has given up.
func (g *guest) tellLosses() {
	lost, err := g.vm.NetworkDeviceAttachmentWasDisconnected()
	if err != nil {
		return
	}
	for {
		select {
		case e := <-lost:
			if e != nil {
				g.log("the network was disconnected: %v", convert(e.Err))
			}
		case <-g.quit:
			return
		}
	}
}

// Start implements vz.Guest.
func (g *guest) Start() error { return convert(g.vm.Start()) }

// Pause implements vz.Guest.
func (g *guest) Pause() error { return convert(g.vm.Pause()) }

// Resume implements vz.Guest.
func (g *guest) Resume() error { return convert(g.vm.Resume()) }

// RequestStop implements vz.Guest.
func (g *guest) RequestStop() error {
	if !g.vm.CanRequestStop() {
		return vm.Errorf(vm.KindState, "", "the guest cannot be asked to stop now").WithComponent(plan.Name)
	}
	ok, err := g.vm.RequestStop()
	if err == nil && !ok {
		err = errors.New("the framework did not take the request")
	}
	return convert(err)
}

// Stop implements vz.Guest.
func (g *guest) Stop() error {
	if !g.vm.CanStop() {
		return vz.ErrNotRunning
	}
	return convert(g.vm.Stop())
}

// Save implements vz.Guest.
func (g *guest) Save(path string) error {
	if err := savable(g.cfg); err != nil {
		return convert(err)
	}
	return convert(saveTo(g.vm, path))
}

// Restore implements vz.Guest.
func (g *guest) Restore(path string) error { return convert(restoreFrom(g.vm, path)) }

// Identifier implements vz.Guest.
func (g *guest) Identifier() ([]byte, error) { return g.identifier, nil }

// findBalloon finds the balloon. In the bindings each wrapper's finalizer releases a
// device that it never retained: there is one wrapper, and it is never finalized.
func (g *guest) findBalloon() vzf.MemoryBalloonDevice {
	devices := g.vm.MemoryBalloonDevices()
	pin(devices)
	if len(devices) == 0 {
		return nil
	}
	return devices[0]
}

// SetMemory implements vz.Guest.
func (g *guest) SetMemory(bytes uint64) error {
	d, ok := g.balloon().(*vzf.VirtioTraditionalMemoryBalloonDevice)
	if !ok {
		return errors.New("the framework shows no balloon")
	}
	d.SetTargetVirtualMachineMemorySize(bytes)
	return nil
}

// Close implements vz.Guest. What the framework has stays until the process ends.
func (g *guest) Close() error {
	g.closing.Do(func() { close(g.quit) })
	g.wg.Wait()
	return nil
}
