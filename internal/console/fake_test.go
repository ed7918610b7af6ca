package console

import (
	"context"
	"sync"
)

// fakeInput records what is typed and hands it to a script.
type fakeInput struct {
	mu    sync.Mutex
	typed []byte
	each  func(p []byte) // called without the lock
	block <-chan struct{}
	limit int // bytes accepted before it blocks; 0: no limit
}

func (f *fakeInput) Write(ctx context.Context, p []byte) (int, error) {
	n := len(p)
	f.mu.Lock()
	if f.limit > 0 {
		n = min(n, f.limit-len(f.typed))
	}
	f.typed = append(f.typed, p[:n]...)
	f.mu.Unlock()
	if f.each != nil {
		f.each(p[:n])
	}
	if n < len(p) {
		select {
		case <-ctx.Done():
			return n, ctx.Err()
		case <-f.block:
			return n, ErrClosed
		}
	}
	return n, nil
}

func (f *fakeInput) text() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return string(f.typed)
}

// endedContext is a context with no time left.
func endedContext() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
