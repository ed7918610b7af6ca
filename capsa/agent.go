package capsa

import (
	"context"
	"net"
	"os"
	"slices"
	"time"

	"github.com/libcapsa/libcapsa/internal/agent/host"
	"github.com/libcapsa/libcapsa/internal/agent/wire"
	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// agentBacklog is how many connections of the agent may wait to be taken. A guest that
// starts hundreds of programs makes three for each.
const agentBacklog = 1024

// GuestInfo is what a guest says of itself.
type GuestInfo struct {
	AgentVersion string
	Kernel       string // release: "6.12.0"
	Hostname     string
	OS           string // PRETTY_NAME of its os-release, or ""
	CPUs         int
	Memory       uint64 // bytes
	Uptime       time.Duration
	Init         bool // the agent is process 1
	Limits       bool // Command.Memory, Pids and ExitStatus.OOM work there
	Addresses    []string

	AgentStart time.Duration // since the kernel began, when the agent did
	Ready      time.Duration // and when the guest was set up
}

// GuestStats are counters of a guest's kernel, by its own account.
type GuestStats struct {
	MemoryTotal, MemoryFree, MemoryAvailable, Cached uint64 // bytes
	CPUUser, CPUSystem, CPUIdle                      time.Duration
	Processes                                        int
	Execs                                            int // programs of Exec that run
	Uptime                                           time.Duration
	RootSize, RootFree                               uint64 // bytes
	OOMKills                                         uint64
}

// openAgent makes the host's side of the guest's agent, if there is to be one.
func (v *VM) openAgent() error {
	if !v.cfg.Guest.Enabled() {
		return nil
	}
	const op = "build"
	sockets, ok := v.machine.(vm.Sockets)
	if !ok {
		return vm.Errorf(vm.KindUnsupported, op, "this backend has no sockets, through which an agent calls").WithComponent("agent")
	}
	fd, err := sockets.VsockListen(vm.VsockStream, vm.AgentPort, agentBacklog)
	if err != nil {
		return vm.Wrap(op, err)
	}
	f := os.NewFile(uintptr(fd), "agent listener")
	l, err := net.FileListener(f)
	_ = f.Close()
	if err != nil {
		return vm.Wrap(op, err)
	}
	v.guest = host.New(l, host.Config{
		Setup: setup(v.cfg),
		Ready: v.guestReady,
		Log:   func(text string) { v.events.push(vm.Event{Type: vm.EventLog, Component: "agent", Message: text}) },
	})
	return nil
}

// closeAgent ends the host's side.
func (v *VM) closeAgent() {
	if v.guest != nil {
		_ = v.guest.Close() // has nothing to fail
	}
}

// setup is what the agent is told.
func setup(cfg vm.Config) *wire.ConfigureRequest {
	g := cfg.Guest
	r := &wire.ConfigureRequest{Hostname: g.Hostname, Root: &wire.Root{
		Kind: string(g.Root.Kind), Source: g.Root.Source, Type: g.Root.Type, ReadOnly: g.Root.ReadOnly,
		Overlay: overlayName(g.Root.Overlay), OverlaySource: g.Root.OverlaySource, OverlaySize: g.Root.OverlayMiB * vm.MiB,
	}}
	if r.Hostname == "" {
		r.Hostname = hostname(cfg.Name)
	}
	for _, m := range g.Mounts {
		r.Mounts = append(r.Mounts, &wire.Mount{
			Kind: string(m.Kind), Source: m.Source, Target: []byte(m.Target), Type: m.Type,
			ReadOnly: m.ReadOnly, Size: m.SizeMiB * vm.MiB,
		})
	}
	n := &wire.NetworkSetup{
		Addresses: g.Network.Addresses, Routers: g.Network.Routers,
		NameServers: g.Network.NameServers, Search: g.Network.Search,
	}
	switch {
	case g.Network.Mode == vm.NetworkStatic:
		n.Mode = "static"
	case g.Network.Mode == vm.NetworkDHCP && cfg.Network.Mode != vm.NetworkNone:
		n.Mode = "dhcp"
	}
	r.Network = n
	return r
}

func overlayName(o vm.Overlay) string {
	if o == vm.OverlayMemory {
		return "memory"
	}
	return string(o)
}

// hostname is the machine's name, if a host can be called that.
func hostname(name string) string {
	var p vm.Problems
	p.Guest(vm.GuestConfig{Agent: vm.AgentInitrd, Hostname: name})
	if name == "" || len(p) > 0 {
		return "capsa"
	}
	return name
}

// guestReady: the guest is set up.
func (v *VM) guestReady(*wire.InfoReply) {
	v.mu.Lock()
	if v.agent == nil {
		v.agent = v.shutDownGuest
	}
	v.mu.Unlock()
	v.events.push(vm.Event{Type: vm.EventReady})
	if main := v.cfg.Guest.Main; main != nil {
		v.background("main program", func() { v.runMain(*main) })
	}
}

// shutDownGuest asks the agent to end the guest.
func (v *VM) shutDownGuest(ctx context.Context) error {
	_, err := host.Call(ctx, v.guest, "shut down", wire.AgentService.Shutdown, &wire.Empty{})
	if vm.KindOf(err) == vm.KindClosed { // it was quicker than its answer
		return nil
	}
	return err
}

// runMain runs the main program, whose end is the machine's.
func (v *VM) runMain(main ProgramConfig) {
	err := safe.Run("main program", func() {
		started, err := host.Call(v.life, v.guest, "start main program", wire.AgentService.Start, &wire.StartRequest{
			Args: byteStrings(main.Args), Env: byteStrings(main.Env), Dir: []byte(main.Dir), User: main.User,
			Tty: main.TTY, Console: true,
		})
		status := ExitStatus{Code: 127} // as a shell has it
		if err == nil {
			status, err = v.awaitExit(v.life, "main program", started.Id)
		}
		if vm.KindOf(err) == vm.KindClosed || vm.KindOf(err) == vm.KindCancelled {
			return // the machine has ended
		}
		v.mu.Lock()
		v.main, v.mainFault = &status, err
		v.mu.Unlock()
		if err = v.shutDownGuest(v.life); err != nil {
			v.log("shut down after the main program: " + err.Error())
			_ = v.kill(vm.CauseMainExited) // its error is in the record
		}
	})
	if err != nil {
		v.log(err.Error())
	}
}

// hostOf is the host's side of the agent, for a call.
func (v *VM) hostOf(op string) (*host.Host, error) {
	if v.guest == nil {
		return nil, vm.Errorf(vm.KindUnsupported, op, "the guest has no agent").
			WithComponent("agent").WithHint("build the machine as a sandbox, or give it an agent")
	}
	if exit, over := v.Exit(); over {
		return nil, ended(op, exit)
	}
	return v.guest, nil
}

// ended is the error of a call to the guest of a machine that has ended.
func ended(op string, exit Exit) error {
	if exit.Err != nil {
		return exit.Err
	}
	return vm.Errorf(vm.KindState, op, "the machine has ended: %s", exit).WithComponent("agent")
}

// guestError makes the error of a call to the guest.
func (v *VM) guestError(op string, err error) error {
	if vm.KindOf(err) == vm.KindClosed {
		if exit, over := v.Exit(); over {
			return ended(op, exit)
		}
	}
	return vm.Wrap(op, err)
}

// WaitReady waits until the guest is set up: its agent has called and has mounted,
// named and connected all that it was told to. Errors: KindUnsupported (no agent);
// KindGuest and others (it could not, and why); KindBoot and KindState (the machine has
// ended); KindTimeout, KindCancelled. Calls to the guest wait for it by themselves.
func (v *VM) WaitReady(ctx context.Context) (GuestInfo, error) {
	const op = "wait for the guest"
	h, err := v.hostOf(op)
	if err != nil {
		return GuestInfo{}, err
	}
	info, err := h.Ready(ctx)
	if err != nil {
		return GuestInfo{}, v.guestError(op, err)
	}
	return guestInfo(info), nil
}

// GuestInfo asks the guest about itself. Errors: those of WaitReady.
func (v *VM) GuestInfo(ctx context.Context) (GuestInfo, error) {
	info, err := call(ctx, v, "guest information", wire.AgentService.Info, &wire.Empty{})
	if err != nil {
		return GuestInfo{}, err
	}
	return guestInfo(info), nil
}

func guestInfo(i *wire.InfoReply) GuestInfo {
	out := GuestInfo{
		AgentVersion: host.Clean(i.AgentVersion), Kernel: host.Clean(i.Kernel), Hostname: host.Clean(i.Hostname),
		OS: host.Clean(i.Os), CPUs: int(i.Cpus), Memory: i.Memory, Uptime: time.Duration(i.UptimeNs),
		Init: i.Init, Limits: i.Cgroups, AgentStart: time.Duration(i.StartNs), Ready: time.Duration(i.ReadyNs),
	}
	for _, a := range i.Addresses {
		out.Addresses = append(out.Addresses, host.Clean(a))
	}
	return out
}

// GuestStats asks the guest for its counters. Errors: those of WaitReady.
func (v *VM) GuestStats(ctx context.Context) (GuestStats, error) {
	s, err := call(ctx, v, "guest statistics", wire.AgentService.Stats, &wire.Empty{})
	if err != nil {
		return GuestStats{}, err
	}
	return GuestStats{
		MemoryTotal: s.MemoryTotal, MemoryFree: s.MemoryFree, MemoryAvailable: s.MemoryAvailable, Cached: s.Cached,
		CPUUser: time.Duration(s.CpuUserNs), CPUSystem: time.Duration(s.CpuSystemNs), CPUIdle: time.Duration(s.CpuIdleNs),
		Processes: int(s.Processes), Execs: int(s.Execs), Uptime: time.Duration(s.UptimeNs),
		RootSize: s.RootSize, RootFree: s.RootFree, OOMKills: s.OomKills,
	}, nil
}

// SetTime sets the guest's clock: after it was paused, or the host has slept. The zero
// time: to the host's. Errors: those of WaitReady.
func (v *VM) SetTime(ctx context.Context, t time.Time) error {
	if t.IsZero() {
		t = time.Now()
	}
	_, err := call(ctx, v, "set time", wire.AgentService.SetTime, &wire.SetTimeRequest{TimeNs: t.UnixNano()})
	return err
}

// call makes a call to the guest.
func call[Q, R any](
	ctx context.Context, v *VM, op string, m func(wire.AgentService, context.Context, *Q) (*R, error), q *Q,
) (*R, error) {
	h, err := v.hostOf(op)
	if err != nil {
		return nil, err
	}
	r, err := host.Call(ctx, h, op, m, q)
	if err != nil {
		return nil, v.guestError(op, err)
	}
	return r, nil
}

func byteStrings(list []string) [][]byte {
	out := make([][]byte, 0, len(list))
	for _, s := range list {
		out = append(out, []byte(s))
	}
	return slices.Clip(out)
}
