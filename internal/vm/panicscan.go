package vm

import (
	"bytes"
	"io"
	"strings"
	"sync"
)

// What the kernel prints. Sources: kernel/panic.c, "Kernel panic - not syncing:
// %s"; mm/oom_kill.c, the prefix of "Killed process" and the texts of the panics
// that vm.panic_on_oom and a lack of killable processes lead to.
const (
	panicMarker    = "Kernel panic - not syncing"
	endPanicMarker = "---[ end Kernel panic" // repeats the text; never the first to name it
	oomKillMarker  = "ut of memory: Killed process"
	oomPanicText   = "Out of memory"
	deadlockedText = "System is deadlocked on memory"
)

// maxScanLine bounds the part of one line that is held across writes, and the
// texts that are kept, in bytes. printk's lines are at most 1024
// (kernel/printk/internal.h, PRINTK_MESSAGE_MAX is 2048 with its prefix).
const maxScanLine = 2048

// PanicScanner is an io.Writer that passes everything on and recognises, across
// writes, the kernel's panic message and the message that a process was killed
// for want of memory. It holds at most one line. Make one with NewPanicScanner;
// Write is for one goroutine at a time, the other methods for any.
type PanicScanner struct {
	next    io.Writer
	onPanic func(text string)
	onOOM   func(text string)

	mu    sync.Mutex
	line  []byte // the unfinished line, bounded; guarded by mu
	panic string // first panic message; guarded by mu
}

// NewPanicScanner makes a scanner in front of next, which may be nil. onPanic is
// called, at most once, with the whole message ("Kernel panic - not syncing:
// Attempted to kill init! exitcode=0x00000100") when its line is complete; onOOM
// each time the kernel kills a process for want of memory. Both may be nil and
// are called from Write, after the bytes were passed on, with no lock held.
func NewPanicScanner(next io.Writer, onPanic, onOOM func(text string)) *PanicScanner {
	return &PanicScanner{next: next, onPanic: onPanic, onOOM: onOOM}
}

// Write passes p on, then scans it. The result is that of the next writer;
// everything is scanned whatever it says.
func (s *PanicScanner) Write(p []byte) (n int, err error) {
	n = len(p)
	if s.next != nil {
		n, err = s.next.Write(p)
	}
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			s.hold(p)
			break
		}
		s.finish(p[:end])
		p = p[end+1:]
	}
	return n, err
}

// hold keeps the start of an unfinished line. A line that outgrows the bound is
// kept from its last marker on, or else only as much as could begin a marker.
func (s *PanicScanner) hold(part []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(part) > 0 {
		if len(s.line) == maxScanLine && !s.trim() {
			return // a marker is at the start and its text fills the bound
		}
		n := min(len(part), maxScanLine-len(s.line))
		s.line = append(s.line, part[:n]...)
		part = part[n:]
	}
}

// trim makes room in a full line and says whether it could. Preconditions: mu is
// held.
func (s *PanicScanner) trim() bool {
	keep := len(s.line) - max(len(panicMarker), len(oomKillMarker))
	for _, m := range []string{panicMarker, oomKillMarker} {
		if at := bytes.Index(s.line, []byte(m)); at >= 0 && at < keep {
			keep = at
		}
	}
	s.line = append(s.line[:0], s.line[keep:]...)
	return keep > 0
}

// finish scans a complete line, of which rest is what this write brought.
func (s *PanicScanner) finish(rest []byte) {
	s.mu.Lock()
	held := len(s.line) > 0
	s.mu.Unlock()
	if held {
		s.hold(rest)
		s.mu.Lock()
		rest = bytes.Clone(s.line)
		s.line = s.line[:0]
		s.mu.Unlock()
	}
	if text := panicIn(rest); text != "" {
		s.mu.Lock()
		first := s.panic == ""
		if first {
			s.panic = text
		}
		s.mu.Unlock()
		if first && s.onPanic != nil {
			s.onPanic(text)
		}
		return
	}
	if at := bytes.Index(rest, []byte(oomKillMarker)); at > 0 && s.onOOM != nil {
		// The line says "Out of memory" or "Memory cgroup out of memory".
		if start := bytes.LastIndex(rest[:at], []byte("] ")); start >= 0 {
			rest = rest[start+len("] "):]
		}
		s.onOOM(cleanLine(rest))
	}
}

// panicIn returns the panic message in a line, or "".
func panicIn(line []byte) string {
	at := bytes.Index(line, []byte(panicMarker))
	if at < 0 || bytes.Contains(line, []byte(endPanicMarker)) {
		return ""
	}
	return cleanLine(line[at:])
}

// cleanLine makes text for a person of a line of the console: valid UTF-8, no
// control characters, bounded.
func cleanLine(line []byte) string {
	if len(line) > maxScanLine {
		line = line[:maxScanLine]
	}
	text := strings.ToValidUTF8(string(line), "\uFFFD")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, text))
}

// Panic is the panic message seen so far, with its prefix, or "". A message whose
// line never ended counts: the machine may have been reset in mid-line.
func (s *PanicScanner) Panic() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.panic == "" {
		return panicIn(s.line)
	}
	return s.panic
}

// PanicCause says what a panic message means: CauseOutOfMemory or CausePanic.
func PanicCause(text string) Cause {
	if strings.Contains(text, oomPanicText) || strings.Contains(text, deadlockedText) {
		return CauseOutOfMemory
	}
	return CausePanic
}
