package nat

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/link"
	"github.com/libcapsa/libcapsa/internal/safe"
)

// ErrClosed: the engine is closed.
var ErrClosed = errors.New("nat: closed")

// Engine is the network of one machine. Its methods may be called from everywhere,
// but for those of link.Host, which a device calls.
type Engine struct {
	cfg       Config
	counts    counts
	observer  observer
	out       outlet
	build     builder
	stack     *stack.Stack
	port      *port
	intercept atomic.Bool
	fragID    atomic.Uint32

	// Of the goroutine of Send.
	packet frame.Packet
	whole  reassembler
	pieces [][]byte
	burst  burst

	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	tcp       tcpTable
	datagrams datagrams
	forwards  forwards

	mu     sync.Mutex
	closed bool
	tasks  sync.WaitGroup // goroutines of ours; Add while closed is false, under mu
}

var _ link.Host = (*Engine)(nil)

// New makes the network of a machine. Close releases it. Errors: what is wrong with
// the configuration.
func New(cfg Config) (*Engine, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return nil, fmt.Errorf("nat: limit of descriptors: %w", err)
	}
	most := int(min(files.Cur, 1<<30))
	cfg.Limits.Flows = min(cfg.Limits.Flows, max(most/2, 1))
	cfg.Limits.Datagrams = min(cfg.Limits.Datagrams, max(most/4, 1))

	e := &Engine{cfg: cfg, build: builder{from: cfg.GatewayMAC, to: cfg.GuestMAC, mtu: cfg.MTU}}
	e.out.counts = &e.counts
	e.intercept.Store(cfg.InterceptDNS)
	if e.stack, e.port, err = newStack(e); err != nil {
		return nil, err
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.datagrams.init(e)
	e.forwards.open = map[*Forward]struct{}{}
	e.tcp.init(e)
	e.observer.start(cfg.Observe)
	return e, nil
}

// start runs a goroutine that Close joins, unless the engine is closed.
func (e *Engine) start(name string, fn func()) bool {
	if !e.begin() {
		return false
	}
	safe.Go(name, nil, func() {
		defer e.tasks.Done()
		fn()
	})
	return true
}

// begin counts a goroutine that calls tasks.Done at its end.
func (e *Engine) begin() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	e.tasks.Add(1)
	return true
}

// admits is Config.Admit.
func (e *Engine) admits() bool { return e.cfg.Admit == nil || e.cfg.Admit() }

// Attach implements link.Host.
func (e *Engine) Attach(guest link.Guest, offloads link.Offloads) { e.out.attach(guest, offloads) }

// Detach implements link.Host. All flows end: whoever drove the device has lost
// its connections, or is another one when it comes back.
func (e *Engine) Detach() {
	e.tcp.endAll()
	e.datagrams.endAll()
	e.out.detach()
	e.whole = reassembler{}
}

// Room implements link.Host.
func (e *Engine) Room() { e.out.room() }

// SetInterceptDNS changes Config.InterceptDNS.
func (e *Engine) SetInterceptDNS(on bool) { e.intercept.Store(on) }

// Inject sends one whole Ethernet frame to the guest: a router advertisement, say.
// Its checksums are complete. It is dropped if there is no guest.
func (e *Engine) Inject(data []byte) { e.out.raw(link.Frame{Data: [][]byte{data}}) }

// Deliver sends frames of another machine to the guest; what its driver does not take is
// done in software. They are borrowed, and dropped if there is no guest.
func (e *Engine) Deliver(frames []link.Frame) { e.out.raw(frames...) }

// Close ends everything, and returns when nothing is left: no goroutine, no socket.
// Idempotent. Preconditions: the device is closed, and does not call any more.
func (e *Engine) Close() error {
	e.mu.Lock()
	first := !e.closed
	e.closed = true
	e.mu.Unlock()
	if !first {
		e.tasks.Wait()
		return nil
	}
	e.cancel()
	e.forwards.closeAll()
	e.datagrams.close()
	e.tcp.endAll()
	e.out.detach()
	e.stack.Close() // ends what services hold
	e.tasks.Wait()
	e.stack.Wait()
	e.observer.stop()
	return nil
}

// gateway is this side's address in a family.
func (e *Engine) gateway(like netip.Addr) netip.Addr {
	if like.Is4() {
		return e.cfg.Gateway4
	}
	return e.cfg.Gateway6
}

func (e *Engine) isGateway(a netip.Addr) bool {
	return a == e.cfg.Gateway4 || a == e.cfg.Gateway6 && a.IsValid()
}
