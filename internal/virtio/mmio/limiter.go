package mmio

import (
	"fmt"
	"sync"
	"time"
)

// A guest can cause every line of this package's log as often as it can exit:
// more than 10^5 times a second. A device says logBurst lines at once and one
// every logInterval after that.
const (
	logBurst    = 10
	logInterval = time.Second
)

// limiter is a log with a bounded rate. The zero value is silent.
type limiter struct {
	out    func(string) // nil: silent
	prefix string

	mu      sync.Mutex
	full    time.Time // guarded by mu; when the bucket is full again
	dropped uint64    // guarded by mu; lines since the last one that was said
}

// printf says a line, if the rate allows it. It formats only what it says.
func (l *limiter) printf(format string, args ...any) {
	if l.out == nil {
		return
	}
	dropped, ok := l.take(time.Now())
	if !ok {
		return
	}
	text := l.prefix + fmt.Sprintf(format, args...)
	if dropped > 0 {
		text += fmt.Sprintf(" (%d lines before this one were dropped)", dropped)
	}
	l.out(text)
}

// take takes a line out of the bucket, which is logBurst lines deep and empties
// by one every logInterval.
func (l *limiter) take(now time.Time) (dropped uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full.Before(now) {
		l.full = now
	}
	if l.full.Sub(now) > (logBurst-1)*logInterval {
		l.dropped++
		return 0, false
	}
	l.full = l.full.Add(logInterval)
	dropped, l.dropped = l.dropped, 0
	return dropped, true
}
