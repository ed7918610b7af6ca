package capsa

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// PoolConfig says how many machines a Pool keeps, and when one is good.
type PoolConfig struct {
	Min int // machines that are ready and nobody's, as far as Max allows
	Max int // machines at all: ready, being made, acquired, and ending

	// Prepare makes a machine ready that has been started, and nobody acquires it before;
	// nil: it waits for the agent, if there is one. ctx ends with the pool.
	Prepare func(ctx context.Context, v *VM) error
	// Check is asked right before a machine is handed out, and an error takes it out of
	// the pool; nil: the agent, if there is one, has to answer. ctx is Acquire's.
	Check func(ctx context.Context, v *VM) error
}

// PoolStats are a pool's counters.
type PoolStats struct {
	Idle     int `json:"idle"`     // machines that are ready
	Making   int `json:"making"`   // that are being made
	Acquired int `json:"acquired"` // that somebody has, or that are ending
	Waiting  int `json:"waiting"`  // calls of Acquire

	Made    uint64 `json:"made"`    // machines, from the beginning
	Failed  uint64 `json:"failed"`  // that could not be made
	Died    uint64 `json:"died"`    // that ended while they were idle
	Refused uint64 `json:"refused"` // by Check
	Served  uint64 `json:"served"`  // calls of Acquire that got one
	At      uint64 `json:"at_once"` // of them, those that found one ready

	LastError string `json:"last_error,omitempty"` // of a machine that could not be made, or was refused
}

// Pool keeps machines ready, so that to acquire one takes no longer than to ask it how it
// is. A machine is used once: released, it ends, and another takes its place, so that
// nothing of one use is left for the next. One that dies while it waits is replaced. All
// methods may be called from any goroutine.
type Pool struct {
	builder *Builder
	cfg     PoolConfig
	ctx     context.Context // ends with the pool
	cancel  context.CancelFunc
	wg      sync.WaitGroup // of makers and watchers; Add with mu held while closed is false

	mu      sync.Mutex
	idle    []*Member     // the oldest first; guarded by mu
	waiters []chan handed // in the order of their coming; guarded by mu
	stats   PoolStats     // Idle and Waiting are not kept; guarded by mu
	closed  bool          // guarded by mu
	names   uint64        // given so far; guarded by mu
}

// handed is what a waiter gets.
type handed struct {
	m   *Member
	err error
}

// Member is a machine of a pool that somebody has acquired. Release it.
type Member struct {
	*VM
	pool  *Pool
	taken chan struct{} // closed when it is idle no longer
	once  sync.Once
	err   error // of Release
}

// NewPool makes a pool of machines of b, as it is now, and begins to fill it. Close it.
// Errors: KindInvalidArg. That machines cannot be made is told by Acquire and Stats.
func NewPool(b *Builder, cfg PoolConfig) (*Pool, error) {
	if cfg.Min < 0 || cfg.Max < 1 || cfg.Min > cfg.Max {
		return nil, vm.Errorf(vm.KindInvalidArg, "new pool", "at least %d and at most %d machines", cfg.Min, cfg.Max).
			WithHint("Max is at least 1, and Min between 0 and Max")
	}
	if cfg.Prepare == nil {
		cfg.Prepare = waitForAgent
	}
	if cfg.Check == nil {
		cfg.Check = askAgent
	}
	p := &Pool{builder: b.Clone(), cfg: cfg}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fill(cfg.Min)
	return p, nil
}

func waitForAgent(ctx context.Context, v *VM) error {
	if !v.cfg.Guest.Enabled() {
		return nil
	}
	_, err := v.WaitReady(ctx)
	return err
}

func askAgent(ctx context.Context, v *VM) error {
	if !v.cfg.Guest.Enabled() {
		return nil
	}
	_, err := v.GuestInfo(ctx)
	return err
}

// Acquire takes a machine, and waits while there is none, in the order of the calls.
// Errors: KindTimeout, KindCancelled; KindClosed (the pool is); why a machine could not be
// made.
func (p *Pool) Acquire(ctx context.Context) (*Member, error) {
	const op = "acquire"
	for first := true; ; first = false {
		m, atOnce, err := p.take(ctx, !first)
		if err != nil {
			return nil, vm.Wrap(op, err)
		}
		err = p.cfg.Check(ctx, m.VM)
		if err == nil && m.State().Final() {
			err = vm.Errorf(vm.KindState, op, "the machine has ended")
		}
		if err == nil {
			p.mu.Lock()
			p.stats.Served++
			if atOnce && first {
				p.stats.At++
			}
			p.mu.Unlock()
			return m, nil
		}
		if ctxErr := vm.ContextError(ctx, op); ctxErr != nil {
			p.giveBack(m)
			return nil, ctxErr
		}
		p.mu.Lock()
		p.stats.Refused++
		p.stats.LastError = err.Error()
		p.mu.Unlock()
		_ = m.Release() // what there was to say of it has been said
	}
}

// take takes an idle machine or waits for one: behind all others, or, for one whose
// machine was no good, before them.
func (p *Pool) take(ctx context.Context, again bool) (m *Member, atOnce bool, err error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, false, errPoolClosed()
	}
	if len(p.idle) > 0 && (again || len(p.waiters) == 0) {
		m = p.lease()
		p.fill(p.cfg.Min)
		p.mu.Unlock()
		return m, true, nil
	}
	mine := make(chan handed, 1)
	if again {
		p.waiters = slices.Insert(p.waiters, 0, mine)
	} else {
		p.waiters = append(p.waiters, mine)
	}
	p.fill(p.cfg.Min)
	p.mu.Unlock()
	select {
	case h := <-mine:
		return h.m, false, h.err
	case <-ctx.Done():
	}
	p.mu.Lock()
	p.waiters = slices.DeleteFunc(p.waiters, func(c chan handed) bool { return c == mine })
	p.mu.Unlock()
	select {
	case h := <-mine: // it came between the two
		if h.m != nil {
			p.giveBack(h.m)
		}
	default:
	}
	return nil, false, vm.ContextError(ctx, "acquire")
}

func errPoolClosed() error { return vm.Errorf(vm.KindClosed, "acquire", "the pool is closed") }

// lease takes the oldest idle machine. There is one, and mu is held.
func (p *Pool) lease() *Member {
	m := p.idle[0]
	p.idle = slices.Delete(p.idle, 0, 1)
	p.stats.Acquired++
	close(m.taken)
	return m
}

// giveBack makes a machine idle again that nobody has used.
func (p *Pool) giveBack(m *Member) {
	p.mu.Lock()
	if p.closed || m.State().Final() {
		p.mu.Unlock()
		_ = m.Release() // nobody is there to be told
		return
	}
	p.stats.Acquired--
	p.admit(m.VM)
	p.mu.Unlock()
}

// admit makes a machine idle, and hands it to the one who has waited longest. mu is held,
// and the pool is not closed.
func (p *Pool) admit(v *VM) {
	m := &Member{VM: v, pool: p, taken: make(chan struct{})}
	p.idle = append(p.idle, m)
	p.wg.Add(1)
	safe.Go("pool: idle machine", nil, func() {
		defer p.wg.Done()
		select {
		case <-m.taken:
		case <-v.Done():
			p.died(m)
		}
	})
	if len(p.waiters) > 0 {
		next := p.waiters[0]
		p.waiters = slices.Delete(p.waiters, 0, 1)
		next <- handed{m: p.lease()}
	}
}

// died takes an idle machine out that has ended.
func (p *Pool) died(m *Member) {
	p.mu.Lock()
	i := slices.Index(p.idle, m)
	if i < 0 { // taken at the same time: its user will see
		p.mu.Unlock()
		return
	}
	p.idle = slices.Delete(p.idle, i, i+1)
	p.stats.Died++
	p.stats.Acquired++ // until it is gone
	p.mu.Unlock()
	_ = m.Release()
}

// fill begins to make as many machines as are missing: for those who wait, and spare ones
// to keep. mu is held.
func (p *Pool) fill(spare int) {
	if p.closed {
		return
	}
	for len(p.idle)+p.stats.Making < spare+len(p.waiters) && len(p.idle)+p.stats.Making+p.stats.Acquired < p.cfg.Max {
		p.stats.Making++
		p.names++
		name := p.names
		p.wg.Add(1)
		safe.Go("pool: new machine", p.failed, func() {
			defer p.wg.Done()
			p.makeOne(name)
		})
	}
}

// makeOne makes a machine for the pool.
func (p *Pool) makeOne(number uint64) {
	v, err := p.newMachine(number)
	if err != nil {
		p.failed(err)
		return
	}
	p.mu.Lock()
	p.stats.Making--
	p.stats.Made++
	if p.closed {
		p.mu.Unlock()
		_ = v.Close()
		return
	}
	p.admit(v)
	p.fill(p.cfg.Min)
	p.mu.Unlock()
}

func (p *Pool) newMachine(number uint64) (*VM, error) {
	b := p.builder.Clone()
	if name := b.Config().Name; name != "" {
		if err := b.SetName(fmt.Sprintf("%s-%d", name, number)); err != nil {
			return nil, err
		}
	}
	v, err := b.Build()
	if err != nil {
		return nil, err
	}
	if err = v.Start(p.ctx); err == nil {
		err = p.cfg.Prepare(p.ctx, v)
	}
	if err != nil {
		return nil, errors.Join(err, v.Close())
	}
	return v, nil
}

// failed tells the one who has waited longest that a machine could not be made. Spare ones
// are tried again when the next is acquired or released, and not before: what went wrong
// would most likely go wrong again.
func (p *Pool) failed(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Making--
	p.stats.Failed++
	p.stats.LastError = err.Error()
	if len(p.waiters) > 0 {
		next := p.waiters[0]
		p.waiters = slices.Delete(p.waiters, 0, 1)
		next <- handed{err: err}
	}
	p.fill(0)
}

// Release ends the machine, and lets another take its place. It may be called any number
// of times.
func (m *Member) Release() error {
	m.once.Do(func() {
		m.err = m.Close()
		p := m.pool
		p.mu.Lock()
		defer p.mu.Unlock()
		p.stats.Acquired--
		p.fill(p.cfg.Min)
	})
	return m.err
}

// Stats are the pool's counters now.
func (p *Pool) Stats() PoolStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Idle, s.Waiting = len(p.idle), len(p.waiters)
	return s
}

// Close ends the machines that nobody has, and every call of Acquire that waits, with
// KindClosed. Machines that somebody has go on until they are released. It may be called
// any number of times, and returns when nothing of the pool's own is left.
func (p *Pool) Close() error {
	p.mu.Lock()
	first := !p.closed
	p.closed = true
	idle, waiters := p.idle, p.waiters
	p.idle, p.waiters = nil, nil
	if first {
		p.stats.Acquired += len(idle) // until they are gone
	}
	for _, m := range idle {
		close(m.taken)
	}
	p.mu.Unlock()
	p.cancel()
	for _, w := range waiters {
		w <- handed{err: errPoolClosed()}
	}
	var errs []error
	for _, m := range idle {
		errs = append(errs, m.Release())
	}
	p.wg.Wait()
	return errors.Join(errs...)
}
