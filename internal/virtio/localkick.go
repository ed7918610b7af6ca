package virtio

import "sync"

// LocalKick is a [StoppableKick] within the process: for machines that have no
// eventfd to be kicked through, and for tests.
type LocalKick struct {
	pending chan struct{} // capacity 1: kicks that nobody waited for, as one
	stopped chan struct{}
	once    sync.Once
}

// NewLocalKick returns a kick that is not pending.
func NewLocalKick() *LocalKick {
	return &LocalKick{pending: make(chan struct{}, 1), stopped: make(chan struct{})}
}

// Wait implements [Kick].
func (k *LocalKick) Wait() error {
	select {
	case <-k.stopped:
		return ErrStopped
	default:
	}
	select {
	case <-k.pending:
		return nil
	case <-k.stopped:
		return ErrStopped
	}
}

// Poke implements [Kick].
func (k *LocalKick) Poke() {
	select {
	case k.pending <- struct{}{}:
	default:
	}
}

// Stop implements [StoppableKick].
func (k *LocalKick) Stop() { k.once.Do(func() { close(k.stopped) }) }
