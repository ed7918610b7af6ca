package vzd

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vzd/wire"
)

// maxQueued is how many events wait for a client that does not receive; those
// beyond it are counted.
const maxQueued = 1024

// hosted is the machine with what connects it to the client.
type hosted struct {
	s       *session
	machine vm.Machine
	streams [wire.Streams]*stream
	input   *vm.Pipe
	lost    atomic.Uint64 // events
	told    chan struct{} // closed when the machine's end is on its way to the client
	wg      sync.WaitGroup

	closing  sync.Once
	closeErr error // of closing
}

// create makes the machine.
func (c *call) create() (*wire.Created, error) {
	var p wire.Config
	if err := wire.DecodeBody(c.Params, &p); err != nil {
		c.files.Close()
		return nil, err
	}
	if len(c.files) < wire.Streams {
		_, err := c.files.Take(wire.Streams)
		return nil, err
	}
	files, own := c.files[:wire.Streams], c.files[wire.Streams:]
	defer own.Close() // the machine makes copies
	cfg, err := p.Decode()
	if err == nil {
		err = wire.Adopt(&cfg, own)
	}
	if err == nil {
		err = c.s.claim()
	}
	if err != nil {
		files.Close()
		return nil, err
	}
	h, err := newStreams(c.s, files)
	if err != nil {
		return nil, err
	}
	created, err := h.build(cfg)
	if err != nil {
		h.closeStreams()
		return nil, err
	}
	return created, c.s.adopt(h)
}

// claim sees to it that a machine is made once.
func (s *session) claim() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.made || s.over {
		return vm.Errorf(vm.KindState, wire.MethodCreate, "a daemon makes one machine").WithComponent(component)
	}
	s.made = true
	return nil
}

// adopt makes the machine the session's. When that has ended meanwhile it closes
// the machine.
func (s *session) adopt(h *hosted) error {
	s.mu.Lock()
	over := s.over
	if !over {
		s.hosted = h
	}
	s.mu.Unlock()
	if over {
		h.abandon()
		return errors.Join(h.close(), vm.Errorf(vm.KindClosed, wire.MethodCreate, "the client is gone").WithComponent(component))
	}
	return nil
}

// newStreams takes over the descriptors, also when it fails.
func newStreams(s *session, files wire.Files) (*hosted, error) {
	h := &hosted{s: s, input: vm.NewPipe(0), told: make(chan struct{})}
	for i, fd := range files {
		one, err := newStream(fd)
		if err != nil {
			h.closeStreams()
			files[i+1:].Close()
			return nil, vm.Wrap(wire.MethodCreate, err)
		}
		h.streams[i] = one
	}
	return h, nil
}

// build makes the machine and starts what serves it.
func (h *hosted) build(cfg vm.Config) (*wire.Created, error) {
	seal := func() (string, error) { return "", nil }
	if confine := h.s.opts.Confine; confine != nil {
		var err error
		if seal, err = confine(cfg); err != nil {
			return nil, err
		}
	}
	machine, err := h.s.backend.New(cfg, vm.Host{
		Console: h.streams[wire.StreamConsole], Serial: h.streams[wire.StreamSerial], Input: h.input, Event: h.event,
	})
	if err != nil {
		return nil, err
	}
	jail, err := seal()
	if err != nil {
		_ = machine.Close() // the reason says more
		return nil, err
	}
	h.machine = machine
	created := &wire.Created{Stats: machine.Stats(), Jail: jail}
	h.run("vzd machine end", h.tellEnd)
	h.run("vzd input", h.takeInput)
	return created, nil
}

// run starts a goroutine that close joins.
func (h *hosted) run(name string, fn func()) {
	h.wg.Add(1)
	safe.Go(name, func(err error) { h.s.log("%s: %v", name, err) }, func() {
		defer h.wg.Done()
		fn()
	})
}

// tellEnd tells the client of the machine's end.
func (h *hosted) tellEnd() {
	defer close(h.told)
	<-h.machine.Done()
	h.send(wire.Notice{Exited: wire.EncodeExit(h.machine.Exit())}, 0)
}

// settle waits, if the machine has ended, until that is on its way to the client.
func (h *hosted) settle() {
	select {
	case <-h.machine.Done():
		<-h.told
	default:
	}
}

// event is the machine's vm.Host.Event.
func (h *hosted) event(e vm.Event) {
	if n := h.lost.Swap(0); n > 0 && !h.send(wire.Notice{Event: wire.EncodeEvent(vm.Event{Type: vm.EventLost, Lost: n})}, maxQueued) {
		h.lost.Add(n)
	}
	if !h.send(wire.Notice{Event: wire.EncodeEvent(e)}, maxQueued) {
		h.lost.Add(1)
	}
}

// send sends a notice unless limit frames are waiting.
func (h *hosted) send(n wire.Notice, limit int) bool {
	n.Output = h.output()
	body, err := wire.EncodeBody(n)
	return err == nil && h.s.out.TrySend(wire.Frame{Kind: wire.KindEvent, Body: body}, limit)
}

// output is how much has been sent on the streams.
func (h *hosted) output() (out wire.Output) {
	for i, s := range h.streams {
		out[i] = s.sent.Load()
	}
	return out
}

// takeInput moves what the client types to the machine.
func (h *hosted) takeInput() {
	console := h.streams[wire.StreamConsole]
	buf := make([]byte, 32<<10)
	for {
		n, err := console.file.Read(buf)
		if n > 0 {
			if _, err := h.input.Write(h.s.life, buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return // the client types no more
		}
	}
}

// abandon gives up the streams, so that no device waits for a client that is gone.
func (h *hosted) abandon() {
	for _, s := range h.streams {
		s.shutdown()
	}
}

// close closes the machine and joins all that serves it.
func (h *hosted) close() error {
	h.closing.Do(func() {
		h.closeErr = h.machine.Close()
		h.input.Close()
		h.abandon() // all output is in the sockets
		h.wg.Wait()
		h.closeStreams()
	})
	return h.closeErr
}

func (h *hosted) closeStreams() {
	for _, s := range h.streams {
		if s != nil {
			_ = s.file.Close()
		}
	}
}
