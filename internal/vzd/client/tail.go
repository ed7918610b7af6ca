package client

import (
	"bytes"
	"strings"
	"sync"
)

// tailSize is how much of the daemon's log is kept, in bytes: a Go panic's first
// goroutines, or the reason why it did not start.
const tailSize = 64 << 10

// tail keeps the end of what is written to it, and a panic's beginning, which says
// more than the stacks after it.
type tail struct {
	mu    sync.Mutex
	kept  []byte // guarded by mu
	panic bool   // the panic's beginning is kept[0]; guarded by mu
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if !t.panic {
		for _, word := range []string{"panic: ", "fatal error: ", "unexpected fault address"} {
			if at := bytes.Index(t.kept, []byte(word)); at >= 0 {
				t.kept, t.panic = t.kept[at:], true
				break
			}
		}
	}
	switch {
	case len(t.kept) <= tailSize:
	case t.panic:
		t.kept = t.kept[:tailSize]
	default:
		t.kept = append([]byte(nil), t.kept[len(t.kept)-tailSize:]...)
	}
	return len(p), nil
}

// String is what is kept, as text.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.ToValidUTF8(strings.TrimSpace(string(t.kept)), "\uFFFD")
}

// summary is the line that says most: a panic's first, else the last.
func (t *tail) summary() string {
	text := t.String()
	t.mu.Lock()
	first := t.panic
	t.mu.Unlock()
	line := text[strings.LastIndexByte(text, '\n')+1:]
	if first {
		line, _, _ = strings.Cut(text, "\n")
	}
	const most = 500
	return line[:min(len(line), most)]
}
