package vz

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/vm"
)

const (
	// panicWait is how long nothing may follow the end of a panic until the machine is
	// ended. Ours: a kernel that has panicked prints nothing ever after.
	panicWait = time.Second

	// panicEnd begins the last line of a panic (kernel/panic.c), and tailSize bounds
	// it, in bytes: printk's lines are at most 1024 and a prefix.
	panicEnd = "---[ end Kernel panic"
	tailSize = 2048
)

// console carries the guest's console between pipes of the framework and the host.
type console struct {
	from    *os.File // what the guest prints
	to      *os.File // what is typed
	input   *vm.Pipe // nil: nothing is ever typed
	scan    *vm.PanicScanner
	onPanic func() // called when the kernel has panicked, at most once
	wait    time.Duration
	born    time.Time
	report  func(error) // of a bug

	typed chan struct{} // one token: there may be something
	quit  chan struct{} // closed: no more
	wg    sync.WaitGroup

	requests, bytesIn, bytesOut atomic.Uint64
	open                        atomic.Int64 // when the guest first printed, after born; 0: not yet

	mu    sync.Mutex
	tail  []byte      // of the output; guarded by mu
	timer *time.Timer // of the end of a panic; guarded by mu
	over  bool        // guarded by mu
}

// makeConsole makes both pipes.
func (m *machine) makeConsole(ends *Ends) error {
	c := &console{
		input: m.host.Input, wait: m.panicWait, born: m.born, report: m.crashed,
		typed: make(chan struct{}, 1), quit: make(chan struct{}),
	}
	next := m.host.Console
	if next == nil {
		next = io.Discard
	}
	c.scan = vm.NewPanicScanner(next, nil, nil)
	c.onPanic = func() {
		text := c.scan.Panic()
		m.end(ending{cause: vm.PanicCause(text), panic: text})
	}
	var err error
	if ends.Input, c.to, err = os.Pipe(); err != nil {
		return err
	}
	if c.from, ends.Output, err = os.Pipe(); err != nil {
		_ = c.to.Close()
		return err
	}
	m.console = c
	m.undo = append(m.undo, c.close)
	return nil
}

// start starts both directions.
func (c *console) start() {
	c.goes("vz console output", c.takeOutput)
	if c.input != nil {
		c.goes("vz console input", c.giveInput)
	}
}

func (c *console) goes(name string, fn func()) {
	c.wg.Add(1)
	safe.Go(name, c.report, func() {
		defer c.wg.Done()
		fn()
	})
}

// takeOutput moves what the guest prints, until drain.
func (c *console) takeOutput() {
	buf := make([]byte, 32<<10)
	for {
		n, err := c.from.Read(buf)
		c.printed(buf[:n])
		if err != nil {
			return
		}
	}
}

// printed handles output.
func (c *console) printed(b []byte) {
	if len(b) == 0 {
		return
	}
	c.open.CompareAndSwap(0, int64(max(1, time.Since(c.born))))
	c.requests.Add(1)
	c.bytesIn.Add(uint64(len(b)))
	_, _ = c.scan.Write(b) // the host's own affair
	c.follow(b)
}

// follow looks for the end of a panic.
func (c *console) follow(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	c.tail = append(c.tail, b[max(0, len(b)-tailSize):]...)
	c.tail = append(c.tail[:0], c.tail[max(0, len(c.tail)-tailSize):]...)
	if !c.over && c.panicked() {
		c.timer = time.AfterFunc(c.wait, c.onPanic)
	}
}

// panicked says whether the last line is the end of a panic, of which a message was
// seen. Preconditions: mu is held.
func (c *console) panicked() bool {
	text := bytes.TrimRight(c.tail, "\r\n")
	last := text[bytes.LastIndexByte(text, '\n')+1:]
	return bytes.Contains(last, []byte(panicEnd)) && c.scan.Panic() != ""
}

// giveInput moves what is typed to the guest. It waits while the guest does not read.
func (c *console) giveInput() {
	c.input.SetNotify(func() {
		select {
		case c.typed <- struct{}{}:
		default:
		}
	})
	defer c.input.SetNotify(nil)
	buf := make([]byte, 4<<10)
	for {
		select {
		case <-c.typed:
		case <-c.quit:
			return
		}
		for n := c.input.TryRead(buf); n > 0; n = c.input.TryRead(buf) {
			if _, err := c.to.Write(buf[:n]); err != nil {
				return
			}
			c.requests.Add(1)
			c.bytesOut.Add(uint64(n))
		}
	}
}

// drain ends both directions after what the guest has printed. The framework's ends stay
// open, so that there is no end of file to wait for. Preconditions: the guest has
// stopped.
func (c *console) drain() {
	c.mu.Lock()
	c.over = true
	if c.timer != nil {
		c.timer.Stop()
	}
	c.mu.Unlock()
	close(c.quit)
	now := time.Now()
	_ = c.from.SetReadDeadline(now) // pipes have deadlines
	_ = c.to.SetWriteDeadline(now)
	c.wg.Wait()
	raw, err := c.from.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, 32<<10)
	_ = raw.Control(func(fd uintptr) {
		for {
			n, err := unix.Read(int(fd), buf) // which does not wait
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil || n <= 0 {
				return
			}
			c.printed(buf[:n])
		}
	})
}

func (c *console) close() {
	_ = c.from.Close()
	_ = c.to.Close()
}

func (c *console) panicText() string { return c.scan.Panic() }

func (c *console) opened() time.Duration { return time.Duration(c.open.Load()) }

// virtioConsole is the type of a console device (virtio 1.2 section 5.3).
const virtioConsole = 3

func (c *console) stats() vm.DeviceStats {
	return vm.DeviceStats{
		Name: "console", VirtioID: virtioConsole, Requests: c.requests.Load(), BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(),
	}
}
