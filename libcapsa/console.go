package main

/*
#include "priv.h"
*/
import "C"

import (
	"context"
	"errors"
	"io"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/capsa"
)

// terminal is a capsa_console: a reader with a position of its own on a
// machine's console.
type terminal struct {
	con    *capsa.Console
	reader *capsa.Reader
	life   context.Context // ends with errFreed when the handle is freed
	end    context.CancelCauseFunc
}

func newTerminal(v *capsa.VM) *terminal {
	t := &terminal{con: v.Console()}
	t.reader = t.con.NewReader()
	t.life, t.end = context.WithCancelCause(context.Background())
	return t
}

// onConsole runs an export on the console of a handle.
func onConsole(h C.uintptr_t, c *C.priv_call, name string, fn func(t *terminal) error) C.capsa_status {
	return on(kindConsole, h, c, name, fn)
}

// wait fills in what all waits on a console share.
func (t *terminal) wait(c *C.priv_call, name string, ms C.int64_t, cancel C.uintptr_t, w wait) error {
	w.name, w.timeout, w.cancel, w.life = name, ms, cancel, t.life
	return w.begin(c)
}

//export goConsoleFD
func goConsoleFD(h C.uintptr_t, out *C.int, c *C.priv_call) C.capsa_status {
	return onConsole(h, c, "console.fd", func(t *terminal) error { return giveFD(out, t.con.FD) })
}

// giveFD stores a new descriptor in the caller's variable, non-blocking as all
// descriptors of the ABI are.
func giveFD(out *C.int, open func() (int, error)) error {
	fd, err := open()
	if err != nil {
		return err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return err
	}
	*out = C.int(fd)
	return nil
}

// maxRead bounds what one capsa_console_read gives, in bytes.
const maxRead = 1 << 30

//export goConsoleRead
func goConsoleRead(h C.uintptr_t, ms C.int64_t, cancel C.uintptr_t, buf unsafe.Pointer, size C.size_t, out *C.size_t,
	c *C.priv_call) C.capsa_status {
	return onConsole(h, c, "console.read", func(t *terminal) error {
		n := 0
		return t.wait(c, "console.read", ms, cancel, wait{
			try: true,
			run: func(ctx context.Context) (err error) {
				n, err = t.reader.Read(ctx, callerBytes(buf, min(size, maxRead)))
				if errors.Is(err, io.EOF) {
					return nil
				}
				return err
			},
			commit: func(err error) error {
				if err == nil {
					*out = C.size_t(n)
				}
				return err
			},
		})
	})
}

//export goConsoleWrite
func goConsoleWrite(h C.uintptr_t, ms C.int64_t, cancel C.uintptr_t, data unsafe.Pointer, size C.size_t,
	out *C.size_t, c *C.priv_call) C.capsa_status {
	return onConsole(h, c, "console.write", func(t *terminal) error {
		n := 0
		return t.wait(c, "console.write", ms, cancel, wait{
			strict: true,
			run: func(ctx context.Context) (err error) {
				n, err = t.con.Write(ctx, callerBytes(data, size))
				return err
			},
			commit: func(err error) error {
				if n > 0 {
					err = nil // as write(2): what was taken counts
				}
				if err == nil {
					*out = C.size_t(n)
				}
				return err
			},
		})
	})
}

//export goConsoleExpect
func goConsoleExpect(h C.uintptr_t, ms C.int64_t, cancel C.uintptr_t, list *C.capsa_pattern, n C.size_t,
	out *C.capsa_match, output *C.uintptr_t, c *C.priv_call) C.capsa_status {
	return onConsole(h, c, "console.expect", func(t *terminal) error {
		patterns, err := newPatterns(list, n)
		if err != nil {
			return err
		}
		var match capsa.Match
		return t.wait(c, "console.expect", ms, cancel, wait{
			run: func(ctx context.Context) (err error) {
				match, err = t.reader.Expect(ctx, patterns)
				return err
			},
			commit: func(err error) error {
				if err != nil {
					return err
				}
				out.pattern = C.uint32_t(match.Pattern)
				out.start, out.len = C.size_t(len(match.Before)), C.size_t(len(match.Text))
				return newOutput(output, append(match.Before, match.Text...), match.Lost)
			},
		})
	})
}

// newPatterns copies the caller's patterns and compiles them.
func newPatterns(list *C.capsa_pattern, n C.size_t) ([]capsa.Pattern, error) {
	const op = "console.expect"
	var patterns []capsa.Pattern
	for i, p := range callerPatterns(list, n) {
		text := string(callerBytes(p.data, p.len))
		switch p.kind {
		case C.CAPSA_PATTERN_LITERAL:
			patterns = append(patterns, capsa.Literal(text))
		case C.CAPSA_PATTERN_REGEX:
			re, err := capsa.Regexp(text)
			if err != nil {
				return nil, errorf(capsa.KindInvalidArg, op, "pattern %d: %w", i, err)
			}
			patterns = append(patterns, re)
		default:
			return nil, errorf(capsa.KindInvalidArg, op, "pattern %d has the unknown kind %d", i, p.kind)
		}
	}
	return patterns, nil
}

//export goConsoleRun
func goConsoleRun(h C.uintptr_t, ms C.int64_t, cancel C.uintptr_t, command *C.char, n C.size_t, status *C.int32_t,
	output *C.uintptr_t, c *C.priv_call) C.capsa_status {
	return onConsole(h, c, "console.run", func(t *terminal) error {
		text := callerString(command, n)
		var result capsa.RunResult
		return t.wait(c, "console.run", ms, cancel, wait{
			run: func(ctx context.Context) (err error) {
				result, err = t.con.Run(ctx, text)
				return err
			},
			commit: func(err error) error {
				if err == nil {
					err = newOutput(output, result.Output, result.Truncated+result.Lost)
				}
				if err == nil {
					*status = C.int32_t(result.Status)
				}
				return err
			},
		})
	})
}

//export goConsoleInterrupt
func goConsoleInterrupt(h C.uintptr_t, ms C.int64_t, cancel C.uintptr_t, c *C.priv_call) C.capsa_status {
	return onConsole(h, c, "console.interrupt", func(t *terminal) error {
		return t.wait(c, "console.interrupt", ms, cancel, wait{strict: true, run: t.con.SendInterrupt})
	})
}

//export goConsoleEOF
func goConsoleEOF(h C.uintptr_t, ms C.int64_t, cancel C.uintptr_t, c *C.priv_call) C.capsa_status {
	return onConsole(h, c, "console.eof", func(t *terminal) error {
		return t.wait(c, "console.eof", ms, cancel, wait{strict: true, run: t.con.SendEOF})
	})
}

//export goConsoleResize
func goConsoleResize(h C.uintptr_t, columns, rows C.uint16_t, c *C.priv_call) C.capsa_status {
	return onConsole(h, c, "console.resize", func(t *terminal) error {
		return t.con.Resize(uint16(columns), uint16(rows))
	})
}

//export goConsoleLost
func goConsoleLost(h C.uintptr_t, out *C.uint64_t, c *C.priv_call) C.capsa_status {
	return onConsole(h, c, "console.lost", func(t *terminal) error {
		*out = C.uint64_t(t.reader.Lost())
		return nil
	})
}

//export goConsoleFree
func goConsoleFree(h C.uintptr_t) {
	free("console.free", func() {
		if t, ok := handles.take(kindConsole, uintptr(h)).(*terminal); ok {
			t.end(errFreed)
			_ = t.reader.Close()
		}
	})
}
