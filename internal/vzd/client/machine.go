package client

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vzd/wire"
)

// killTime is how long a daemon may take to kill its machine, before it is killed
// itself: longer than a backend waits for storage that does not answer.
const killTime = 15 * time.Second

// machine is a machine in a process of its own. Fields without a note are written
// before New returns and constant afterwards.
type machine struct {
	*daemon
	cfg      vm.Config
	host     vm.Host
	patience time.Duration // killTime, but in tests
	in       [wire.Streams]*inflow
	out      *outflow // nil: nothing is ever typed
	wg       sync.WaitGroup
	sockets  []socketFile // that the daemon made
	temp     string       // the daemon's directory for temporary files; "": it needs none

	done    chan struct{} // closed when exit is valid
	closing sync.Once
	close   error // of closing

	mu      sync.Mutex
	exit    vm.Exit   // valid once done is closed
	over    bool      // exit is valid; guarded by mu
	closed  bool      // Close was called; guarded by mu
	tidy    bool      // the daemon has closed the machine; guarded by mu
	forced  *vm.Cause // for which the daemon was killed; guarded by mu
	stats   vm.Stats  // the last known; guarded by mu
	started time.Time // guarded by mu
}

var (
	_ vm.Machine   = (*machine)(nil)
	_ vm.Sockets   = (*machine)(nil)
	_ vm.Networked = (*machine)(nil)
	_ vm.Saver     = (*machine)(nil)
)

// newMachine makes everything but the daemon, and the ends of the streams for it.
func newMachine(cfg vm.Config, host vm.Host, patience time.Duration) (*machine, wire.Files, error) {
	m := &machine{cfg: cfg.WithDefaults(), host: host, patience: patience, done: make(chan struct{})}
	var ends wire.Files
	var err error
	if cfg.Vsock.Enabled() || runtime.GOOS == "darwin" { // for names of listening sockets, and of what is kept until the start
		if m.temp, err = os.MkdirTemp("", wire.TempPrefix); err != nil {
			return nil, nil, vm.Wrap("new machine", err)
		}
	}
	if m.in, ends, err = newStreams(host); err != nil {
		m.removeTemp()
		return nil, nil, vm.Wrap("new machine", err)
	}
	if host.Input != nil {
		m.out = newOutflow(host.Input, m.in[wire.StreamConsole].file)
	}
	return m, ends, nil
}

// launch starts the daemon and what serves it here.
func (m *machine) launch(b *Backend, path string) error {
	d, err := open(path, b.cfg.Args, m.temp, m.endStreams)
	if err != nil {
		return err
	}
	m.daemon = d
	d.onOutput, d.onNotice, d.onLog, d.buried = m.seen, m.notice, m.words, m.bury
	for _, f := range m.in {
		m.run("vzd output", f.run)
	}
	return b.greet(d)
}

// run starts a goroutine that Close joins.
func (m *machine) run(name string, fn func()) {
	m.wg.Add(1)
	safe.Go(name, nil, func() {
		defer m.wg.Done()
		fn()
	})
}

// create makes the machine in the daemon. It takes over the ends of the streams.
func (m *machine) create(form wire.Config, ends wire.Files) error {
	var created wire.Created
	if _, err := m.call(context.Background(), wire.MethodCreate, form, ends, &created); err != nil {
		return err
	}
	m.stats = created.Stats
	if created.Jail != "" {
		m.words(wire.EncodeLog("jail", created.Jail))
	}
	m.sockets = madeSockets(m.cfg)
	if m.out != nil {
		m.run("vzd input", m.out.run)
	}
	return nil
}

// discard releases everything of a machine that was not made.
func (m *machine) discard() {
	if m.daemon != nil {
		m.abort()
	}
	m.release()
}

// release ends the streams and joins what serves them. Preconditions: there is no
// daemon any more.
func (m *machine) release() {
	if m.out != nil {
		close(m.out.stop)
	}
	m.endStreams()
	m.wg.Wait()
	for _, f := range m.in {
		_ = f.file.Close()
	}
	m.removeTemp()
}

// removeTemp removes the daemon's temporary files, of which a daemon that ended in
// order has left none.
func (m *machine) removeTemp() {
	if m.temp != "" {
		_ = os.RemoveAll(m.temp)
	}
}

// endStreams ends the streams after what has arrived.
func (m *machine) endStreams() {
	for _, f := range m.in {
		shutdown(f.file)
	}
}

// seen waits until the host has what the guest has printed so far.
func (m *machine) seen(out wire.Output) {
	for i, f := range m.in {
		f.wait(out[i])
	}
}

// notice handles an event of the daemon.
func (m *machine) notice(n wire.Notice) {
	if n.Exited != nil {
		m.settle(n.Exited.Decode())
	}
	if n.Event == nil || m.host.Event == nil {
		return
	}
	if e := n.Event.Decode(); e.Disk >= 0 && (e.Disk == 0 || e.Disk < len(m.cfg.Disks)) {
		m.host.Event(e)
	}
}

// words passes on what the daemon says of itself.
func (m *machine) words(l wire.Log) {
	if m.host.Event != nil {
		m.host.Event(vm.Event{Type: vm.EventLog, Component: component + " " + l.Component, Message: l.Words()})
	}
}

// ask makes a call that gives nothing but an error.
func (m *machine) ask(method string, params any) error {
	_, err := m.send(context.Background(), method, params, nil)
	return err
}

// send makes a call, unless the machine is closed or the daemon gone.
func (m *machine) send(ctx context.Context, method string, params, result any) (wire.Files, error) {
	if err := m.refuse(method); err != nil {
		return nil, err
	}
	files, err := m.call(ctx, method, params, nil, result)
	if vm.KindOf(err) == vm.KindVMMDied && m.isClosed() { // Close was faster
		err = m.refuse(method)
	}
	return files, err
}

// refuse is the error of a call to a machine that is closed or whose daemon is gone.
func (m *machine) refuse(op string) error {
	if m.isClosed() {
		return vm.Errorf(vm.KindClosed, op, "the machine is closed").WithComponent(component)
	}
	select {
	case <-m.link.over:
		return vm.Errorf(vm.KindState, op, "the machine has ended").WithComponent(component)
	default:
		return nil
	}
}

func (m *machine) isClosed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closed
}

// Start implements vm.Machine.
func (m *machine) Start() error {
	begin := time.Now()
	err := m.ask(wire.MethodStart, nil)
	if err == nil {
		m.mu.Lock()
		m.started = begin
		m.mu.Unlock()
	}
	return err
}

// Pause implements vm.Machine.
func (m *machine) Pause() error { return m.ask(wire.MethodPause, nil) }

// Resume implements vm.Machine.
func (m *machine) Resume() error { return m.ask(wire.MethodResume, nil) }

// PowerButton implements vm.Machine.
func (m *machine) PowerButton() error { return m.ask(wire.MethodPowerButton, nil) }

// ResizeConsole implements vm.Machine.
func (m *machine) ResizeConsole(cols, rows uint16) error {
	return m.ask(wire.MethodResize, wire.Resize{Cols: cols, Rows: rows})
}

// SetMemoryTarget implements vm.Machine.
func (m *machine) SetMemoryTarget(bytes uint64) error {
	return m.ask(wire.MethodMemoryTarget, wire.MemoryTarget{Bytes: bytes})
}

// Save implements vm.Saver. The caller's working directory may not be the daemon's any
// more.
func (m *machine) Save(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return vm.Wrap(wire.MethodSave, err)
	}
	return m.ask(wire.MethodSave, wire.EncodeSave(path))
}

// Stats implements vm.Machine. Without a daemon they are the last that are known.
func (m *machine) Stats() vm.Stats {
	var fresh vm.Stats
	_, err := m.send(context.Background(), wire.MethodStats, nil, &fresh)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		m.stats = fresh
		return fresh
	}
	if m.over {
		m.stats.Resident = 0
	}
	return m.stats
}

// Done implements vm.Machine.
func (m *machine) Done() <-chan struct{} { return m.done }

// Exit implements vm.Machine.
func (m *machine) Exit() vm.Exit {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.exit
}
