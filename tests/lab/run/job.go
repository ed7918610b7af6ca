//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/libcapsa/libcapsa/tests/lab/wire"
)

// grace is how long a command has after SIGQUIT at the end of its time: a Go
// program prints its stacks then, which under emulation takes a while.
const grace = 20 * time.Second

// patience is how long a machine may say nothing. It says something every
// wire.AliveEvery; a host with much else to do has been seen to need 20 s.
const patience = 120 * time.Second

// outcome is what the conversation with the machine came to.
type outcome struct {
	exit *wire.Exit
	err  error
}

// run sends the job, passes everything to and fro, and returns the status.
func (m *machine) run(args []string) (int, error) {
	dir, err := os.Getwd()
	if err != nil {
		return statusLabFailed, err
	}
	job := wire.Job{Args: args, Env: os.Environ(), Dir: dir, Writable: m.writable}

	// Output is read to the number of bytes that the machine reports at the end.
	var pumps sync.WaitGroup
	out := &counter{w: os.Stdout}
	errs := &counter{w: os.Stderr}
	pumps.Go(func() { _, _ = io.Copy(out, m.ports[wire.Output].conn) })
	pumps.Go(func() { _, _ = io.Copy(errs, m.ports[wire.Error].conn) })
	go func() { // ends with the process: a read of a terminal cannot be called back
		_ = wire.SendInput(m.ports[wire.Input].conn, os.Stdin)
	}()

	done := make(chan outcome, 1)
	signs := make(chan struct{}, 1)
	go func() { done <- m.converse(job, out, errs, signs) }() // joined through done
	o, status, err := m.await(done, signs)
	if status != 0 {
		return status, err
	}
	if o.err != nil {
		return statusLabFailed, o.err
	}
	return int(o.exit.Status), errors.Join(out.failed(), errs.failed())
}

// converse speaks with the machine until the job has ended and its output is
// here. It sends to signs, which has room for one, whenever the machine says
// something.
func (m *machine) converse(job wire.Job, out, errs *counter, signs chan<- struct{}) outcome {
	ctl := m.ports[wire.Ctl].conn
	in := wire.NewDecoder(ctl)
	for {
		var got wire.FromGuest
		if err := in.Next(&got); err != nil {
			<-m.ended
			return outcome{err: fmt.Errorf("the machine ended before the command did (%w); its last words:\n%s", err, m.log())}
		}
		select {
		case signs <- struct{}{}:
		default:
		}
		switch {
		case got.Failure != "":
			return outcome{err: fmt.Errorf("the machine could not run the command: %s\n%s", got.Failure, m.log())}
		case got.Ready != nil:
			if !got.Ready.KVM {
				return outcome{err: fmt.Errorf("the machine has no /dev/kvm:\n%s", m.log())}
			}
			if os.Getenv("LAB_VERBOSE") != "" {
				fmt.Fprintf(os.Stderr, "lab-run: ready after %d ms of the machine's time, %d processors\n", got.Ready.UptimeMs, got.Ready.CPUs)
			}
			if err := wire.Send(ctl, wire.ToGuest{Job: &job}); err != nil {
				return outcome{err: err}
			}
		case got.Exit != nil:
			if !out.reached(got.Exit.Output, m.ended) || !errs.reached(got.Exit.Error, m.ended) {
				return outcome{err: errors.New("the machine ended before all output had arrived")}
			}
			return outcome{exit: got.Exit}
		}
	}
}

// await waits for the end, passing signals in and keeping the time. status is 0
// when o says how it went.
func (m *machine) await(done <-chan outcome, signs <-chan struct{}) (o outcome, status int, err error) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer signal.Stop(signals)
	deadline := time.NewTimer(m.timeout)
	defer deadline.Stop()
	silence := time.NewTimer(patience)
	defer silence.Stop()
	var late bool
	seen := map[os.Signal]int{}
	for {
		select {
		case o = <-done:
			if late {
				return o, statusTimeUp, fmt.Errorf("time is up (LAB_TIMEOUT=%v)", m.timeout)
			}
			return o, 0, nil
		case <-signs:
			silence.Reset(patience)
		case <-silence.C:
			return o, statusLabFailed, fmt.Errorf("the machine stands still: nothing for %v; its last words:\n%s", patience, m.log())
		case s := <-signals:
			number := s.(syscall.Signal)
			if seen[s]++; seen[s] > 1 {
				return o, 128 + int(number), fmt.Errorf("%v again: the machine is stopped", s)
			}
			m.signal(number)
		case <-deadline.C:
			if late {
				return o, statusTimeUp, fmt.Errorf("time is up (LAB_TIMEOUT=%v), and the command did not end on SIGQUIT; the machine's last words:\n%s", m.timeout, m.log())
			}
			late = true
			m.signal(syscall.SIGQUIT)
			deadline.Reset(grace)
		}
	}
}

// signal sends a signal to the job. The machine may be on its way out; the
// conversation notices that.
func (m *machine) signal(s syscall.Signal) {
	_ = wire.Send(m.ports[wire.Ctl].conn, wire.ToGuest{Signal: int32(s)})
}

// counter passes bytes on and lets others wait until so many have passed. When
// the writer behind it fails (a closed pipe), it goes on counting.
type counter struct {
	w    io.Writer
	mu   sync.Mutex
	n    int64         // guarded by mu
	err  error         // guarded by mu; the first failure of w
	want int64         // guarded by mu
	done chan struct{} // guarded by mu; closed when n reaches want
}

func (c *counter) Write(p []byte) (int, error) {
	_, err := c.w.Write(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && c.err == nil {
		c.err, c.w = err, io.Discard
	}
	c.n += int64(len(p))
	if c.done != nil && c.n >= c.want {
		close(c.done)
		c.done = nil
	}
	return len(p), nil
}

// reached waits until n bytes have passed; false when ended closes first.
func (c *counter) reached(n int64, ended <-chan struct{}) bool {
	c.mu.Lock()
	if c.n >= n {
		c.mu.Unlock()
		return true
	}
	done := make(chan struct{})
	c.want, c.done = n, done
	c.mu.Unlock()
	select {
	case <-done:
		return true
	case <-ended:
		return false
	}
}

func (c *counter) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
