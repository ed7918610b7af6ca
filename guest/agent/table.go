//go:build linux

package agent

import (
	"sync"
	"syscall"
)

// Limits of what a host can have open at once.
const (
	maxProcesses = 4096
	maxFiles     = 1024
)

// table gives things numbers, which are never used again.
type table[T any] struct {
	mu   *sync.Mutex
	all  map[uint64]T
	next uint64
	max  int
}

func newTable[T any](most int) table[T] {
	return table[T]{mu: new(sync.Mutex), all: map[uint64]T{}, next: 1, max: most}
}

// full says whether there is no room; put may still find so.
func (t *table[T]) full() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.all) >= t.max
}

// put gives a thing a number. EMFILE: there are too many.
func (t *table[T]) put(x T) (uint64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.all) >= t.max {
		return 0, syscall.EMFILE
	}
	id := t.next
	t.next++
	t.all[id] = x
	return id, nil
}

// get is the thing of a number. EBADF: there is none.
func (t *table[T]) get(id uint64) (T, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	x, ok := t.all[id]
	if !ok {
		return x, syscall.EBADF
	}
	return x, nil
}

// take is get, and the number has no thing any more.
func (t *table[T]) take(id uint64) (T, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	x, ok := t.all[id]
	if !ok {
		return x, syscall.EBADF
	}
	delete(t.all, id)
	return x, nil
}

func (t *table[T]) size() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.all)
}
