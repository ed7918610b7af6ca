package vmtest

import (
	"sync/atomic"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// Program is what a guest of the fake backend does, from Start on. It runs on a
// goroutine of its own, made of calls to g; when the machine is killed such a call
// does not return. A program that waits for something else must select on
// g.Ended() too. Returning powers the guest off.
type Program func(g *Guest)

// Fake is a vm.Backend whose guests are Go functions. The zero value has no
// guests; NewFake has some. Set the fields before the first use.
type Fake struct {
	// Programs are the guests, by Config.Boot.Kernel. A kernel that is not among
	// them does not exist: New fails with KindNotFound.
	Programs map[string]Program

	// Caps is what Capabilities answers.
	Caps vm.Capabilities

	// Faults to inject; each is returned by the call of that name.
	CapabilitiesErr, NewErr, StartErr, PauseErr, ResumeErr, PowerButtonErr, ResizeErr, MemoryTargetErr, ForwardErr, CloseErr error

	live atomic.Int64
}

var _ vm.Backend = (*Fake)(nil)

// Kernels of NewFake.
const (
	KernelSpin     = "/fake/spin"     // never ends by itself and ignores the power button
	KernelPowerOff = "/fake/poweroff" // powers off at once
	KernelReboot   = "/fake/reboot"   // reboots at once
	KernelEcho     = "/fake/echo"     // prints what is typed
	KernelPrint    = "/fake/print"    // prints PrintText, then spins
	KernelPolite   = "/fake/polite"   // powers off when the power button is pressed
	KernelPanic    = "/fake/panic"    // opens its console, then panics with PanicText
	KernelTriple   = "/fake/triple"   // opens its console, then triple-faults
	KernelNoRoot   = "/fake/noroot"   // panics before its console is open
)

// Texts of the guests of NewFake.
const (
	PrintText  = "hello from the guest\n"
	ReadyText  = "ready\n" // printed by KernelPolite when it listens to its power button
	PanicText  = "Kernel panic - not syncing: sysrq triggered crash"
	NoRootText = "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)"
)

// NewFake makes a fake backend with the guests of the Kernel constants, 64 vCPUs
// and 1 TiB at most, and what needs no
// drivers in the guest.
func NewFake() *Fake {
	return &Fake{
		Programs: map[string]Program{
			KernelSpin:     Spin,
			KernelPowerOff: func(*Guest) {},
			KernelReboot:   func(g *Guest) { g.End(vm.Exit{Cause: vm.CauseReboot}) },
			KernelEcho:     Echo,
			KernelPrint:    func(g *Guest) { g.Print(PrintText); Spin(g) },
			KernelPolite:   polite,
			KernelPanic: func(g *Guest) {
				g.OpenConsole()
				g.Panic(PanicText)
			},
			KernelTriple: func(g *Guest) {
				g.OpenConsole()
				g.End(vm.Exit{Cause: vm.CauseTripleFault, Detail: "rip=0"})
			},
			KernelNoRoot: func(g *Guest) {
				g.Serial("[    0.1] Linux version 6.12\n")
				g.Panic(NoRootText)
			},
		},
		Caps: vm.Capabilities{
			MaxCPUs:   64,
			MaxMemory: 1 << 40,
			Features:  fakeFeatures(),
			Detail:    map[string]string{"guests": "Go functions"},
		},
	}
}

// fakeFeatures are those that need no guest with drivers.
func fakeFeatures() map[vm.Feature]bool {
	features := map[vm.Feature]bool{}
	for _, f := range vm.Features() {
		features[f] = true
	}
	for _, f := range []vm.Feature{
		vm.FeatureShare, vm.FeatureVsock, vm.FeatureNetworkNAT, vm.FeatureBootEFI, vm.FeatureRosetta, vm.FeatureSave,
	} {
		features[f] = false
	}
	return features
}

// Spin is a guest that does nothing, for ever.
func Spin(g *Guest) { <-g.Ended() }

// Echo is a guest that prints what is typed, for ever.
func Echo(g *Guest) {
	buf := make([]byte, 4096)
	for {
		n := g.Read(buf)
		g.Print(string(buf[:n]))
	}
}

func polite(g *Guest) {
	g.Print(ReadyText)
	g.AwaitPowerButton()
}

// Config is a valid configuration of the fake guest with the given kernel.
func Config(kernel string) vm.Config {
	cfg := vm.DefaultConfig()
	cfg.Boot.Kernel = kernel
	return cfg
}

// FakeGuests are the guests of NewFake for Conformance.
func FakeGuests() Guests {
	config := func(kernel string) *vm.Config { cfg := Config(kernel); return &cfg }
	return Guests{
		Spin:        config(KernelSpin),
		PowerOff:    config(KernelPowerOff),
		Reboot:      config(KernelReboot),
		Panic:       config(KernelPanic),
		TripleFault: config(KernelTriple),
		Echo:        config(KernelEcho),
		Print:       config(KernelPrint),
		PrintText:   PrintText,
		Polite:      config(KernelPolite),
		PoliteText:  ReadyText,
	}
}

// Name is "fake".
func (f *Fake) Name() string { return "fake" }

// Capabilities answers f.Caps or the injected error.
func (f *Fake) Capabilities() (vm.Capabilities, error) { return f.Caps, f.CapabilitiesErr }

// New makes a machine.
func (f *Fake) New(cfg vm.Config, host vm.Host) (vm.Machine, error) {
	if f.NewErr != nil {
		return nil, f.NewErr
	}
	if err := cfg.ValidateFor(f.Name(), f.Caps); err != nil {
		return nil, err
	}
	if err := f.Caps.Lacks(cfg, "new machine", f.Name()); err != nil {
		return nil, err
	}
	program, ok := f.Programs[cfg.Boot.Kernel]
	if !ok {
		return nil, vm.Errorf(vm.KindNotFound, "open kernel", "no such fake guest").WithPath(cfg.Boot.Kernel).WithComponent("fake")
	}
	f.live.Add(1)
	return newMachine(f, cfg, host, program), nil
}

// Live is the number of machines that were made and not closed.
func (f *Fake) Live() int { return int(f.live.Load()) }
