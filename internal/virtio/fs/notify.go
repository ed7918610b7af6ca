package fs

import (
	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/virtq"
)

// maxPending is how many notifications wait for the guest's buffers.
const maxPending = 256

// Notify sends a FUSE notification to the guest: a header with unique 0 and
// what follows it. It never blocks. False: the driver has no notification
// queue, or too many wait already.
func (d *Device) Notify(message []byte) bool {
	d.mu.Lock()
	if d.notifier == nil || len(d.pending) >= maxPending || len(message) > notifyBuffer {
		d.mu.Unlock()
		return false
	}
	d.pending = append(d.pending, message)
	w := d.notifier
	d.mu.Unlock()
	w.Poke()
	return true
}

// notify serves the notification queue: each buffer of the guest takes one
// message. A buffer that is too small gets what fits, as the guest was told
// the size.
func (d *Device) notify(q *virtq.Queue, budget int) (int, virtio.Outcome, error) {
	for n := range budget {
		message := d.nextNotification()
		if message == nil {
			return n, virtio.HostIdle, nil
		}
		c, err := q.Pop()
		if err != nil {
			return n, virtio.RingEmpty, err
		}
		if c == nil {
			return n, virtio.RingEmpty, nil
		}
		d.mu.Lock()
		if len(d.pending) > 0 {
			d.pending = d.pending[1:]
		}
		d.mu.Unlock()
		q.Push(c, uint32(c.CopyOut(message, 0)))
	}
	return budget, virtio.Again, nil
}

// nextNotification returns the oldest message that waits, or nil.
func (d *Device) nextNotification() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.pending) == 0 {
		return nil
	}
	return d.pending[0]
}
