package vmtest

import (
	"bytes"
	"sync"
)

// Recorder is an io.Writer that keeps everything and can be waited on. It is for
// tests, whose guests say little: nothing bounds it.
type Recorder struct {
	mu      sync.Mutex
	text    []byte                   // guarded by mu
	waiting map[chan struct{}]string // guarded by mu
}

// NewRecorder makes an empty recorder.
func NewRecorder() *Recorder { return &Recorder{waiting: map[chan struct{}]string{}} }

// Write keeps p.
func (r *Recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text = append(r.text, p...)
	for done, text := range r.waiting {
		if bytes.Contains(r.text, []byte(text)) {
			close(done)
			delete(r.waiting, done)
		}
	}
	return len(p), nil
}

// Seen is closed once text has been written.
func (r *Recorder) Seen(text string) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	done := make(chan struct{})
	if bytes.Contains(r.text, []byte(text)) {
		close(done)
	} else {
		r.waiting[done] = text
	}
	return done
}

// Len is the number of bytes written.
func (r *Recorder) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.text)
}

// String is everything written.
func (r *Recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return string(r.text)
}
