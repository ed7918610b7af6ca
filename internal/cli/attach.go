package cli

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/cli/hold"
	"github.com/libcapsa/libcapsa/internal/cli/terminal"
	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// attach joins a program's streams with this process's until the program has ended, and returns its status. Everything
// that it wrote is then written. With all, what it left behind is ended with it; else its output ends when all that
// have it do.
func (a *App) attach(ctx context.Context, p *hold.Process, c hold.Command, all bool) (capsa.ExitStatus, error) {
	defer func() { _ = p.Close() }()
	ctx = context.WithoutCancel(ctx) // signals go to the program
	conns, err := streams(p)
	if err != nil {
		return capsa.ExitStatus{}, err
	}
	defer closeAll(conns)
	stop := forwardSignals(ctx, p, c.TTY)
	defer stop()
	in, out, errs := conns[0], conns[1], conns[2]
	if c.TTY {
		in = out
		restore, err := terminal.Raw(a.Stdin)
		if err != nil {
			return capsa.ExitStatus{}, err
		}
		defer restore()
		defer terminal.Follow(a.Stdout, func(cols, rows uint16) { _ = p.Resize(ctx, cols, rows) })()
	}
	if in != nil && (c.Stdin || c.TTY) {
		// Nobody joins it: a terminal or a pipe may never say anything again, and the process is about to end.
		safe.Go("standard input", nil, func() {
			_, _ = io.Copy(in, a.Stdin)
			if half, ok := in.(interface{ CloseWrite() error }); ok && !c.TTY {
				_ = half.CloseWrite()
			}
		})
	}
	var copies sync.WaitGroup
	output := func(to *os.File, from net.Conn) {
		if from == nil {
			return
		}
		copies.Add(1)
		safe.Go("output", nil, func() {
			defer copies.Done()
			if _, err := io.Copy(to, from); err != nil {
				_ = from.Close() // nobody reads any more: the program gets SIGPIPE
			}
		})
	}
	output(a.Stdout, out)
	output(a.Stderr, errs)
	status, err := p.Wait(ctx)
	if all && err == nil {
		_ = p.Kill(ctx) // it may be that nothing is left
	}
	copies.Wait()
	return status, err
}

// streams makes connections of a program's streams, which are closed; nil where there is none.
func streams(p *hold.Process) ([3]net.Conn, error) {
	var out [3]net.Conn
	var errs []error
	for i, f := range []*os.File{p.Stdin, p.Stdout, p.Stderr} {
		if f == nil {
			continue
		}
		c, err := net.FileConn(f)
		f.Close()
		errs = append(errs, err)
		if err == nil {
			out[i] = c
		}
	}
	if err := errors.Join(errs...); err != nil {
		closeAll(out)
		return out, vm.Wrap("attach", err)
	}
	return out, nil
}

func closeAll(conns [3]net.Conn) {
	for _, c := range conns {
		if c != nil {
			_ = c.Close()
		}
	}
}

// passed are the signals that are passed on to a guest's program. Their numbers are those of Linux in the guest.
var passed = []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2}

// guestSignals are those numbers (Linux, include/uapi/asm-generic/signal.h).
var guestSignals = map[os.Signal]int{
	unix.SIGHUP: 1, unix.SIGINT: 2, unix.SIGQUIT: 3, unix.SIGUSR1: 10, unix.SIGUSR2: 12, unix.SIGTERM: 15,
}

// forwardSignals passes signals on until stop is called. A program on a terminal that goes away gets a hang-up.
func forwardSignals(ctx context.Context, p *hold.Process, tty bool) (stop func()) {
	caught := make(chan os.Signal, 8)
	signal.Notify(caught, passed...)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	safe.Go("signals", nil, func() {
		defer close(done)
		for {
			select {
			case s := <-caught:
				if tty && s == unix.SIGTERM {
					s = unix.SIGHUP // shells on a terminal do not heed the other
				}
				_ = p.Signal(ctx, guestSignals[s])
			case <-ctx.Done():
				return
			}
		}
	})
	return func() {
		signal.Stop(caught)
		cancel()
		<-done
	}
}

// statusOf is the command's exit status for a program's, or for the reason why there is none.
func statusOf(status capsa.ExitStatus, err error) int {
	switch {
	case err == nil:
		return status.Code
	case errors.Is(err, vm.KindNotFound):
		return statusNotFound
	case errors.Is(err, vm.KindPermission):
		return statusNoExec
	}
	return statusFailed
}
