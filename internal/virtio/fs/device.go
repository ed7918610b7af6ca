// Package fs is the virtio file system device (virtio 1.2 section 5.11): it
// carries FUSE requests from the guest's kernel to a [Handler]. It knows
// nothing of files, and of FUSE nothing but that a request has buffers to read
// and buffers to write.
//
// Each request queue has a pool of workers. One of them leads: it waits for
// kicks, takes a request and serves it on the spot, so that a single request
// costs no hand-over. A request that waits for the host says so, or is found
// out by a timer; then another worker takes the lead. So a request that hangs
// keeps one worker and nothing else.
//
// A reset does not wait for a request that hangs: the worker is cut off from
// queue and guest, and ends when its system call does. Until then it holds
// guest memory mapped, and a read that the kernel still finishes lands there.
//
// Locks: pool.mu guards a queue, which has no lock of its own. Signals are sent
// with it held, since they neither block nor call back. No other lock is taken
// under it.
package fs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/libcapsa/libcapsa/internal/virtio"
)

// FeatureNotification: there is a notification queue, and notify_buf_size is
// valid (VIRTIO_FS_F_NOTIFICATION, virtio 1.2 section 5.11.3).
const FeatureNotification uint64 = 1 << 0

const (
	// TagSize is the length of the tag field in bytes (virtio 1.2 section
	// 5.11.4). A tag of that length has no NUL behind it.
	TagSize = 36
	// MaxQueues is how many request queues a device has at most. Linux uses
	// one for each CPU; each costs memory.
	MaxQueues = 16
	// queueSize is the number of descriptors of each queue. Linux derives the
	// size of its requests from it (max_pages is at most the ring less 4), and
	// with indirect descriptors a request takes one.
	queueSize = 1024
	// notifyBuffer is notify_buf_size: what one notification has at most, in
	// bytes: headers and a name, and never file data.
	notifyBuffer = 4096
	// maxChain bounds the bytes of one request and its reply: 1 MiB of data
	// (FUSE's default maximum of 256 pages) with headers and names.
	maxChain = 1<<20 + 1<<16
)

// The queues, virtio 1.2 section 5.11.2. The notification queue exists only
// if its feature was negotiated; request queues come behind.
const (
	queueHiprio  = 0
	queueNotify  = 1
	firstRequest = 1 // without a notification queue
)

// configSize is struct virtio_fs_config in bytes: tag, le32
// num_request_queues, le32 notify_buf_size.
const configSize = TagSize + 8

// Handler serves FUSE requests. Its methods may be called from every
// goroutine.
type Handler interface {
	// Worker returns what one goroutine serves requests with: a function that
	// takes the buffers of a request and of its reply, in guest memory, and
	// returns how many bytes it wrote. It calls block before it waits for the
	// host (parked: for a lock, holding no thread), and commit right before it
	// writes the reply, which it does not write if commit says false.
	Worker(block func(parked bool), commit func() bool) (handle func(in, out [][]byte) (written int))
	// Reset forgets the client, and makes requests that wait for locks end.
	Reset()
}

// Config is what a device is made from.
type Config struct {
	// Tag names the share to the guest, 1 to 36 bytes without NUL.
	Tag string
	// Queues is the number of request queues; 0 is 1.
	Queues int
	// Handler is the file server. It stays the caller's.
	Handler Handler
	// Notifications offers a notification queue. Linux has no driver for it
	// (up to 6.18), so that this is for other guests.
	Notifications bool
}

// Device is one share.
type Device struct {
	handler Handler
	offered uint64
	queues  int
	config  [configSize]byte

	pools []*pool // nil when not active

	mu       sync.Mutex
	notifier *virtio.Worker // guarded by mu; nil unless the feature was negotiated
	pending  [][]byte       // guarded by mu; notifications that wait for buffers
}

// New makes a device. Errors say which field of cfg is wrong.
func New(cfg Config) (*Device, error) {
	switch {
	case cfg.Handler == nil:
		return nil, errors.New("virtio fs: no handler")
	case cfg.Tag == "" || len(cfg.Tag) > TagSize || bytes.IndexByte([]byte(cfg.Tag), 0) >= 0:
		return nil, fmt.Errorf("virtio fs: tag %q: 1 to %d bytes without NUL are allowed", cfg.Tag, TagSize)
	case cfg.Queues < 0 || cfg.Queues > MaxQueues:
		return nil, fmt.Errorf("virtio fs: %d request queues: 1 to %d are allowed", cfg.Queues, MaxQueues)
	}
	d := &Device{handler: cfg.Handler, queues: max(cfg.Queues, 1)}
	copy(d.config[:], cfg.Tag)
	binary.LittleEndian.PutUint32(d.config[TagSize:], uint32(d.queues))
	if cfg.Notifications {
		d.offered = FeatureNotification
		binary.LittleEndian.PutUint32(d.config[TagSize+4:], notifyBuffer)
	}
	return d, nil
}

// ID implements [virtio.Device].
func (d *Device) ID() virtio.DeviceID { return virtio.IDFS }

// Name implements [virtio.Device].
func (d *Device) Name() string { return "fs" }

// Features implements [virtio.Device].
func (d *Device) Features() uint64 { return d.offered }

// QueueSizes implements [virtio.Device]. With notifications on offer there is
// one queue more; a driver that does not take them leaves the last one alone.
func (d *Device) QueueSizes() []uint16 {
	sizes := make([]uint16, firstRequest+d.queues, firstRequest+d.queues+1)
	for i := range sizes {
		sizes[i] = queueSize
	}
	if d.offered&FeatureNotification != 0 {
		sizes = append(sizes, queueSize)
	}
	return sizes
}

// ReadConfig implements [virtio.Device].
func (d *Device) ReadConfig(offset uint32, p []byte) {
	clear(p)
	if offset < configSize {
		copy(p, d.config[offset:])
	}
}

// WriteConfig implements [virtio.Device]: nothing there is for the driver to
// write.
func (d *Device) WriteConfig(uint32, []byte) {}

// Activate implements [virtio.Device].
func (d *Device) Activate(a virtio.Activation) error {
	first := firstRequest
	if a.Features&FeatureNotification != 0 {
		first++
		w := virtio.StartWorker("virtio fs notify", a, queueNotify, virtio.HandlerFunc(d.notify))
		d.mu.Lock()
		d.notifier = w
		d.mu.Unlock()
		w.Poke() // what was notified before the store has poked nobody
	}
	for i, q := range a.Queues {
		if q == nil || i == queueNotify && first > firstRequest {
			continue
		}
		q.SetMaxBytes(maxChain)
		d.pools = append(d.pools, startPool(d.handler, a, i))
	}
	return nil
}

// Reset implements [virtio.Device]. It waits for requests that are being
// served, but not for those that hang.
func (d *Device) Reset() {
	d.mu.Lock()
	notifier := d.notifier
	d.notifier, d.pending = nil, nil
	d.mu.Unlock()
	notifier.Stop()
	pools := d.pools
	d.pools = nil
	for _, p := range pools {
		p.stop()
	}
	if pools != nil {
		d.handler.Reset() // requests that wait for locks end
	}
	limit := newLimit()
	defer limit.Stop()
	for _, p := range pools {
		p.join(limit)
	}
}

// Close implements [virtio.Device].
func (d *Device) Close() { d.Reset() }

var _ virtio.Device = (*Device)(nil)
