package vmtest

import (
	"io"
	"runtime"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// Guest is the fake machine as its program sees it. Its methods are for the
// program's goroutine. Each of them waits while the machine is paused, and does
// not return once the machine has ended.
type Guest struct{ m *machine }

// Config is what the machine was made of.
func (g *Guest) Config() vm.Config { return g.m.cfg }

// Ended is closed when the machine has been ended from outside: return.
func (g *Guest) Ended() <-chan struct{} { return g.m.stop }

// do runs one action that the host can see, not while paused, never after the
// end.
func (g *Guest) do(action func()) {
	m := g.m
	for {
		m.cpu.Lock()
		m.mu.Lock()
		state, resumed := m.state, m.resumed
		m.mu.Unlock()
		switch {
		case state.Final():
			m.cpu.Unlock()
			runtime.Goexit()
		case state == vm.StatePaused:
			m.cpu.Unlock()
			select {
			case <-resumed:
			case <-m.stop:
			}
		default:
			func() {
				defer m.cpu.Unlock()
				action()
			}()
			return
		}
	}
}

// OpenConsole brings the console driver up; Print and Read do it by themselves.
func (g *Guest) OpenConsole() { g.do(g.open) }

func (g *Guest) open() {
	g.m.mu.Lock()
	defer g.m.mu.Unlock()
	if g.m.timeline.ConsoleOpen == 0 {
		g.m.timeline.ConsoleOpen = g.m.since()
	}
}

// Print writes to the console.
func (g *Guest) Print(text string) {
	g.do(func() {
		g.open()
		g.count(func(s *vm.DeviceStats) { s.BytesIn += uint64(len(text)); s.Requests++ })
		write(g.m.host.Console, text)
	})
}

// Serial writes to COM1.
func (g *Guest) Serial(text string) { g.do(func() { write(g.m.host.Serial, text) }) }

func write(w io.Writer, text string) {
	if w != nil {
		_, _ = io.WriteString(w, text) // a guest has no use for the error
	}
}

// count changes the console's counters.
func (g *Guest) count(change func(*vm.DeviceStats)) {
	g.m.mu.Lock()
	defer g.m.mu.Unlock()
	change(&g.m.stats)
	if g.m.timeline.FirstExit == 0 {
		g.m.timeline.FirstExit = g.m.since()
	}
}

// Read waits for input and returns the number of bytes, at least 1.
func (g *Guest) Read(p []byte) int {
	for {
		n := 0
		g.do(func() {
			g.open()
			if g.m.host.Input != nil {
				n = g.m.host.Input.TryRead(p)
			}
			g.count(func(s *vm.DeviceStats) { s.BytesOut += uint64(n); s.Requests++ })
		})
		if n > 0 {
			return n
		}
		select {
		case <-g.m.input:
		case <-g.m.stop:
		}
	}
}

// AwaitPowerButton waits until the power button is pressed.
func (g *Guest) AwaitPowerButton() {
	select {
	case <-g.m.button:
	case <-g.m.stop:
	}
	g.do(func() {})
}

// ConsoleSize is what the host last said, in characters.
func (g *Guest) ConsoleSize() (cols, rows uint16) {
	g.do(func() {
		g.m.mu.Lock()
		defer g.m.mu.Unlock()
		cols, rows = g.m.size[0], g.m.size[1]
	})
	return cols, rows
}

// Event tells the host of an event.
func (g *Guest) Event(e vm.Event) {
	g.do(func() {
		if g.m.host.Event != nil {
			g.m.host.Event(e)
		}
	})
}

// Panic writes the text to COM1, as a kernel does, and ends as a machine whose
// guest reboots on panic.
func (g *Guest) Panic(text string) {
	g.Serial("[    1.0] " + text + "\n")
	g.End(vm.Exit{Cause: vm.PanicCause(text), PanicText: text})
}

// PowerOff ends the machine.
func (g *Guest) PowerOff() { g.End(vm.Exit{Cause: vm.CauseGuestShutdown}) }

// Crash ends the machine through a failure of its own, as when KVM_RUN fails.
func (g *Guest) Crash(err error) { g.End(vm.Exit{Cause: vm.CauseVMMCrash, Err: err}) }

// End ends the machine with a record; Uptime is filled in.
func (g *Guest) End(exit vm.Exit) {
	g.do(func() { g.m.end(exit) })
	runtime.Goexit()
}
