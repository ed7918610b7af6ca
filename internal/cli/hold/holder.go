package hold

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/console"
	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// Holder is a machine of this process that others can find.
type Holder struct {
	VM   *capsa.VM
	spec Spec

	place    *place
	listener *net.UnixListener
	output   *console.Console // of the command; nil: it is not kept
	copies   sync.WaitGroup   // that fill output
	started  time.Time
	ctx      context.Context // ends with the holder
	cancel   context.CancelFunc
	sessions sync.WaitGroup

	command *Process // nil until Run; for its caller's goroutine

	mu        sync.Mutex
	lingering []*net.UnixConn // closed last; guarded by mu
}

// outputSize is how much of the command's output is kept, in bytes.
const outputSize = 1 << 20

// Hold takes the name, builds and starts the machine, and answers from then on. Close it.
func (r Registry) Hold(ctx context.Context, spec Spec, b *capsa.Builder) (*Holder, error) {
	p, err := r.claim(ctx, spec.Name)
	if err != nil {
		return nil, err
	}
	h := &Holder{spec: spec, place: p, started: time.Now()}
	if spec.Command != nil && spec.Keep {
		h.output = console.New(console.Config{RingSize: outputSize})
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	if err := h.open(ctx, b); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	safe.Go("holder", nil, h.serve)
	return h, nil
}

func (h *Holder) open(ctx context.Context, b *capsa.Builder) error {
	m, err := b.Build()
	if err != nil {
		return err
	}
	h.VM = m
	if err := m.Start(ctx); err != nil {
		return err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: h.place.socket(), Net: "unix"})
	if err != nil {
		return vm.Wrap("hold a machine", err)
	}
	h.listener = l
	h.sessions.Add(1) // of serve
	return nil
}

// Close ends the machine, if it has not ended, and everything of it.
func (h *Holder) Close() error {
	var errs []error
	h.cancel()
	if h.VM != nil {
		errs = append(errs, h.VM.Close())
	}
	if h.listener != nil {
		errs = append(errs, h.listener.Close())
	}
	h.sessions.Wait()
	h.copies.Wait()
	if h.output != nil {
		errs = append(errs, h.output.Close())
	}
	errs = append(errs, h.place.release())
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.lingering {
		errs = append(errs, c.Close())
	}
	h.lingering = nil
	return errors.Join(errs...)
}

// Run runs the command of the specification, whose Keep is set, for Wait and Client.Logs.
func (h *Holder) Run(ctx context.Context) error {
	p, err := Start(ctx, h.VM, *h.spec.Command)
	if err != nil {
		return err
	}
	h.command = p
	for _, f := range []*os.File{p.Stdout, p.Stderr} {
		if f == nil {
			continue
		}
		h.copies.Add(1)
		safe.Go("command's output", nil, func() {
			defer h.copies.Done()
			defer f.Close()
			_, _ = io.Copy(h.output, f) // ends with the program or the machine
		})
	}
	return nil
}

// Wait waits until the command has ended, and then ends the machine; without a command, until the machine has ended.
func (h *Holder) Wait(ctx context.Context) error {
	if p := h.command; p != nil {
		_, err := p.Wait(ctx)
		_ = p.Kill(ctx) // what it left behind, which would hold its output open; the machine may have ended
		h.copies.Wait()
		h.output.End()
		_, stopErr := h.VM.Stop(ctx, StopGrace)
		return errors.Join(err, stopErr)
	}
	_, err := h.VM.Wait(ctx)
	return err
}

// StopGrace is how long a guest may take to shut down whose command has ended.
const StopGrace = 10 * time.Second

// serve takes connections until the holder ends.
func (h *Holder) serve() {
	defer h.sessions.Done()
	for {
		c, err := h.listener.AcceptUnix()
		if err != nil {
			return
		}
		h.sessions.Add(1)
		safe.Go("session", nil, func() {
			defer h.sessions.Done()
			s := session{h: h, conn: &conn{c: c}}
			s.run()
		})
	}
}

// info says what the machine is.
func (h *Holder) info() Info {
	cfg := h.VM.Config()
	i := Info{
		Name: h.spec.Name, PID: os.Getpid(), Image: h.spec.Image, State: h.VM.State().String(), Started: h.started,
		CPUs: cfg.CPUs, Memory: cfg.Memory, Sandbox: cfg.Guest.Enabled(),
	}
	if h.spec.Command != nil {
		i.Command = h.spec.Command.Args
	}
	i.Forwards, _ = h.VM.Forwards() // it may have no network
	return i
}
