// Package terminal is the user's terminal while it is lent to a guest: raw, with its size passed on and a key that ends
// the loan.
package terminal

import (
	"context"
	"os"
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// Is says whether a file is a terminal.
func Is(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// Size is a terminal's, in characters; 0 by 0 if it is none.
func Size(f *os.File) (cols, rows uint16) {
	w, h, err := term.GetSize(int(f.Fd()))
	if err != nil || w < 0 || h < 0 || w > 65535 || h > 65535 {
		return 0, 0
	}
	return uint16(w), uint16(h)
}

// Raw gives every key to the reader, and nothing to this process, until restore is called.
func Raw(f *os.File) (restore func(), err error) {
	old, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return nil, vm.Errorf(vm.KindIO, "terminal", "%w", err)
	}
	return func() { _ = term.Restore(int(f.Fd()), old) }, nil
}

// Follow calls fn with the terminal's size, now and whenever it changes, until stop is called, which waits for fn.
func Follow(f *os.File, fn func(cols, rows uint16)) (stop func()) {
	changes := make(chan os.Signal, 1)
	signal.Notify(changes, unix.SIGWINCH)
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	safe.Go("terminal size", nil, func() {
		defer close(done)
		for {
			if cols, rows := Size(f); cols > 0 && rows > 0 {
				fn(cols, rows)
			}
			select {
			case <-changes:
			case <-ctx.Done():
				return
			}
		}
	})
	return func() {
		signal.Stop(changes)
		cancel()
		<-done
	}
}

// DefaultDetach is Ctrl-], as telnet has it.
const DefaultDetach = "ctrl-]"

// ParseKeys reads keys such as "ctrl-p,ctrl-q" or "ctrl-]"; "" is none.
func ParseKeys(text string) ([]byte, error) {
	var out []byte
	if text == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		key, ctrl := strings.CutPrefix(part, "ctrl-")
		if len(key) != 1 || (ctrl && !strings.ContainsAny(strings.ToUpper(key), "@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_")) {
			return nil, vm.Errorf(vm.KindInvalidArg, "detach keys", "%q is no key", part).
				WithHint("a character, or ctrl- and one of a-z @ [ \\ ] ^ _, several with commas between them")
		}
		c := key[0]
		if ctrl {
			c = strings.ToUpper(key)[0] & 0x1f // how a terminal makes control characters: ECMA-48 section 5.2
		}
		out = append(out, c)
	}
	return out, nil
}

// ErrDetached is what a Detacher returns once its keys were typed.
var ErrDetached error = vm.Errorf(vm.KindCancelled, "terminal", "detached")

// Detacher reads what is typed, up to the keys that end the loan. Keys that begin like them are passed on when the next
// one tells that they are not.
type Detacher struct {
	f    *os.File
	keys []byte
	seen int    // of keys
	held []byte // typed, and not yet read
	over bool   // the keys were typed
}

// NewDetacher reads from f.
func NewDetacher(f *os.File, keys []byte) *Detacher { return &Detacher{f: f, keys: keys} }

// Read is for one goroutine.
func (d *Detacher) Read(p []byte) (int, error) {
	for {
		if len(d.held) > 0 {
			n := copy(p, d.held)
			d.held = d.held[n:]
			return n, nil
		}
		if d.over {
			return 0, ErrDetached
		}
		buf := make([]byte, 4096)
		n, err := d.f.Read(buf)
		if n == 0 {
			return 0, err
		}
		for _, c := range buf[:n] {
			if d.over = d.match(c); d.over {
				break
			}
		}
	}
}

// match takes one more key, and says whether all have come.
func (d *Detacher) match(c byte) bool {
	if len(d.keys) > 0 && c == d.keys[d.seen] {
		d.seen++
		return d.seen == len(d.keys)
	}
	d.held = append(d.held, d.keys[:d.seen]...)
	d.seen = 0
	if len(d.keys) > 0 && c == d.keys[0] {
		d.seen = 1
		return len(d.keys) == 1
	}
	d.held = append(d.held, c)
	return false
}
