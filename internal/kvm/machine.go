//go:build linux

package kvm

import (
	"fmt"
	"sync"
	"time"

	"github.com/libcapsa/libcapsa/internal/fuse"
	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/kvm/boot"
	"github.com/libcapsa/libcapsa/internal/kvm/kvmsys"
	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/kvm/legacy"
	"github.com/libcapsa/libcapsa/internal/net/cable"
	"github.com/libcapsa/libcapsa/internal/net/gateway"
	"github.com/libcapsa/libcapsa/internal/net/pcap"
	"github.com/libcapsa/libcapsa/internal/virtio/balloon"
	"github.com/libcapsa/libcapsa/internal/virtio/console"
	netdev "github.com/libcapsa/libcapsa/internal/virtio/net"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vsock"
)

const opNew = "new machine"

// machine is one virtual machine. Fields without a note are written while it is
// assembled and constant afterwards.
type machine struct {
	cfg  vm.Config
	host vm.Host
	born time.Time

	vm        *kvmsys.VM
	mem       *guestmem.Memory
	model     cpuModel
	vcpus     []*vcpu
	clockCtrl bool // KVM_CAP_KVMCLOCK_CTRL

	ports, mmio bus
	devices     []*device      // in the order in which the guest finds them
	disks       []*disk        // in the order of cfg.Disks
	shares      []*fuse.Server // in the order of cfg.Shares
	console     *console.Device
	balloon     *balloon.Device  // nil: there is none
	vsock       *vsock.Host      // nil: there are no sockets
	net         *netdev.Device   // nil: there is no network
	gateway     *gateway.Gateway // behind net; nil: something else is
	cable       *cable.Host      // likewise
	tap         *pcap.Tap        // between net and that

	cableMu   sync.Mutex
	unplugged bool // the cable's other end went before there was a device; guarded by cableMu

	captureMu   sync.Mutex
	captured    captured // guarded by captureMu
	captureOver bool     // the machine ends; guarded by captureMu
	consoleIn   meter
	power       *legacy.Power
	// Both writers that may carry the kernel's last words.
	serialScan, consoleScan *vm.PanicScanner
	report                  panicReport

	// undo releases everything, in the reverse order of construction. It runs
	// once, after all vCPUs left, and needs no guard.
	undo cleanup

	gate     gate
	timeline timeline
	timer    *time.Timer // of cfg.Timeout; nil without one; guarded by mu
	stuck    *time.Timer // calls abandonDisks; nil without any, and until the machine ends; guarded by mu

	targetMu sync.Mutex // serialises SetMemoryTarget; taken before mu

	opMu sync.Mutex // serialises Start, Pause and Resume; taken before mu

	mu       sync.Mutex
	state    vm.State // guarded by mu
	closed   bool     // guarded by mu
	started  time.Time
	ending   *ending // why it ends; the first reason stays; guarded by mu
	exit     vm.Exit // guarded by mu; valid once done is closed
	closeErr error   // of releasing; written before done is closed

	done chan struct{} // closed when exit is valid and nothing else is left
}

var _ vm.Machine = (*machine)(nil)

// load puts a guest into memory and says where it starts. Tests have bare
// guests of their own.
type load func(m *machine) (boot.Entry, error)

// newMachine assembles a machine. When it fails nothing is left.
func newMachine(sys *kvmsys.System, model cpuModel, cfg vm.Config, host vm.Host, load load) (_ *machine, err error) {
	m := &machine{
		cfg: cfg, host: host, born: time.Now(), model: model,
		state: vm.StateCreated,
		done:  make(chan struct{}),
	}
	defer func() {
		if err != nil {
			_ = m.undo.run() // the error that led here says more
		}
	}()
	m.gate.init()
	for _, step := range []func() error{
		m.openDisks,
		m.openShares,
		m.makeMemory,
		func() error { return m.makeVM(sys) },
		m.makeDevices,
		func() error { return m.makeVCPUs(load) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	m.timeline.created.mark(m.born)
	return m, nil
}

// stepError gives an error of a construction step its type, unless it has one.
func stepError(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := vm.Wrap(opNew, err).(*vm.Error); ok && e.Component == "" {
		if e.Kind == vm.KindLimit && e.Hint == "" {
			e.Hint = hintFDs
		}
		e.Component = component
		return e
	}
	return err
}

func (m *machine) makeMemory() error {
	name := "capsa"
	if m.cfg.Name != "" {
		name += ":" + m.cfg.Name
	}
	mem, err := guestmem.Alloc(name, layout.RAM(m.cfg.Memory)...)
	if err != nil {
		return stepError(err)
	}
	m.mem = mem
	m.undo.add(mem.Close)
	return nil
}

// makeVM makes KVM's machine with its interrupt controllers and memory.
func (m *machine) makeVM(sys *kvmsys.System) error {
	v, err := sys.CreateVM()
	if err != nil {
		return hostError(opNew, kvmsys.DevicePath, err)
	}
	m.vm = v
	m.undo.add(v.Close)

	m.clockCtrl = v.Extension(kvmsys.CapKVMClockCtrl) > 0
	m.model.tscDeadline = v.Extension(kvmsys.CapTSCDeadlineTimer) > 0
	// A PIT costs a kernel thread. Linux needs none when its local APIC timers
	// work without calibration (arch/x86/kernel/apic/apic.c, apic_needs_pit).
	pit := !m.model.tscDeadline && v.Extension(kvmsys.CapPIT2) > 0

	// Memory comes before the interrupt controllers: since Linux 6.18 those leave
	// SRCU callbacks behind, and a memory slot that is set after them waits 6 ms
	// for the grace period instead of 0.1.
	steps := []func() error{
		m.setMemory,
		func() error { return v.SetTSSAddr(layout.TSSAddr) },
		func() error {
			if v.Extension(kvmsys.CapSetIdentityMapAddr) == 0 {
				return nil
			}
			return v.SetIdentityMapAddr(layout.IdentityMapAddr)
		},
		v.CreateIRQChip,
		func() error {
			if !pit {
				return nil
			}
			return v.CreatePIT()
		},
		func() error { return v.SetGSIRouting(routes(pit)) },
		m.setHaltPoll,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return stepError(err)
		}
	}
	return nil
}

// haltPollNs is how long a vCPU that halts is polled for before its thread
// sleeps, in nanoseconds. KVM's default of 200 µs burns that much for every
// timer tick of an idle guest; wake-ups by a device that answers at once come
// within tens of microseconds.
const haltPollNs = 20_000

func (m *machine) setHaltPoll() error {
	if m.vm.Extension(kvmsys.CapHaltPoll) == 0 {
		return nil
	}
	return m.vm.EnableCap(kvmsys.CapHaltPoll, haltPollNs)
}

func (m *machine) setMemory() error {
	for slot, r := range m.mem.Regions() {
		if err := m.vm.SetMemory(uint32(slot), 0, r.Base, r.Bytes); err != nil {
			return fmt.Errorf("memory slot %d %v: %w", slot, r.Span, err)
		}
	}
	return nil
}

// makeVCPUs makes the processors, loads the guest and sets their registers.
func (m *machine) makeVCPUs(load load) error {
	for id := range m.cfg.CPUs {
		c, err := m.vm.CreateVCPU(id)
		if err != nil {
			return stepError(fmt.Errorf("CPU %d: %w", id, err))
		}
		m.vcpus = append(m.vcpus, &vcpu{m: m, kvm: c})
		m.undo.add(c.Close)
	}
	// The frequency is only known now that there is a vCPU; 0 leaves the leaves
	// that would say it out.
	if khz, err := m.vcpus[0].kvm.TSCKHz(); err == nil {
		m.model.tscKHz = khz
	}
	entry, err := load(m)
	if err != nil {
		return stepError(err)
	}
	for _, c := range m.vcpus {
		if err := m.initVCPU(c.kvm, entry); err != nil {
			return stepError(fmt.Errorf("CPU %d: %w", c.kvm.ID(), err))
		}
	}
	return nil
}

// log tells the host of something that a person may want to know.
func (m *machine) log(part, message string) {
	if m.host.Event != nil {
		m.host.Event(vm.Event{Type: vm.EventLog, Component: part, Message: message})
	}
}
