// Package virtio is the border between a virtio transport and a virtio
// device: what a device offers ([Device]), what it is lent while a driver uses
// it ([Activation]), and the loop that serves one virtqueue ([Worker]).
//
// It is not a transport (that is virtio/mmio), holds no ring code (that is
// virtio/virtq) and no device (virtio/console, virtio/rng, ...). Machines call
// the transport; transports call devices; devices call [Signal].
//
// Concurrency: a transport calls one method of a device at a time, on the
// vCPU's thread, with the transport's lock held. A device therefore never calls
// its transport back, except through Signal, whose methods take no lock of the
// transport and may be called from anywhere, inside Activate too. Methods of a
// device that its host side calls (a resize, say) bring their own lock.
//
// "virtio 1.2" in comments is the OASIS specification "Virtual I/O Device
// (VIRTIO) Version 1.2", Committee Specification 01.
package virtio

import (
	"errors"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/virtio/virtq"
)

// ErrStopped is what [Kick.Wait] returns once the kick has been stopped.
var ErrStopped = errors.New("virtio: kick stopped")

// Device is one virtio device without its transport. Everything that comes
// from the guest is hostile: a device answers a broken rule with [Signal.Fail]
// and never with a panic or an error that travels further up.
type Device interface {
	// ID is the device type number of virtio 1.2 chapter 5.
	ID() DeviceID
	// Name is a short noun for logs, statistics and errors, "console".
	Name() string
	// Features returns the feature bits of the device type. The transport adds
	// the bits that are its own or the ring's: see [TransportFeatures].
	Features() uint64
	// QueueSizes returns the maximum number of descriptors of each queue, each
	// a power of two up to 32768 (virtio 1.2 section 2.7). Constant for the
	// life of the device.
	QueueSizes() []uint16
	// ReadConfig fills p from the device's configuration space. Any offset and
	// width are allowed; bytes beyond the end are zeroes.
	ReadConfig(offset uint32, p []byte)
	// WriteConfig writes to the configuration space. Writes to read-only
	// fields and beyond the end are ignored.
	WriteConfig(offset uint32, p []byte)
	// Activate lends the device its queues: the driver has set DRIVER_OK. It
	// starts the workers and returns. After an error nothing runs and the
	// transport sets DEVICE_NEEDS_RESET. Reset always comes between two calls.
	Activate(Activation) error
	// Reset returns when the workers have stopped and nothing of the
	// Activation is used any more; the device is as new. It is also called on
	// a device that is not active, where it does nothing.
	Reset()
	// Close resets the device for the last time and releases what it owns.
	// Idempotent.
	Close()
}

// Activation is what a transport lends a device from DRIVER_OK to Reset.
type Activation struct {
	// Mem is guest memory. The transport keeps it mapped until Reset returns.
	Mem *guestmem.Memory
	// Features are the negotiated feature bits, those of the transport too.
	Features uint64
	// Queues has one entry per entry of QueueSizes; nil for a queue the driver
	// did not make ready. A queue has no lock: one goroutine uses it.
	Queues []*virtq.Queue
	// Kicks has one entry per queue, nil where the queue is nil.
	Kicks []Kick
	// Signal reaches the driver. It goes dead at Reset: calls that come later
	// are dropped.
	Signal Signal
	// Counters collects the device's statistics. Nil counts nothing.
	Counters *Counters
}

// Kick is a driver's notification of one queue (virtio 1.2 section 2.3).
// Kicks that nobody waits for are remembered, as one.
type Kick interface {
	// Wait blocks until the next kick or Poke. It returns ErrStopped after
	// Stop. One goroutine waits at a time.
	Wait() error
	// Poke makes the next Wait, or the one in progress, return. It never
	// blocks, may be called from anywhere, and does nothing after Stop.
	Poke()
}

// StoppableKick is a Kick as its owner, the transport, sees it.
type StoppableKick interface {
	Kick
	// Stop ends every Wait with ErrStopped and releases the kick. Idempotent.
	Stop()
}

// Signal is how a device reaches the driver. No method blocks; each may be
// called from every goroutine.
type Signal interface {
	// Queue sends a used buffer notification for queue i. Callers ask
	// [virtq.Queue.NeedsInterrupt] first.
	Queue(i int)
	// Config sends a configuration change notification.
	Config()
	// Fail marks the device DEVICE_NEEDS_RESET, sends a configuration change
	// notification (virtio 1.2 section 2.1.2) and logs, at a limited rate.
	Fail(err error)
}

// Generational is a device whose configuration space changes by itself. Its
// generation changes in the same critical section as the fields do, so that a
// driver never accepts a torn read (virtio 1.2 section 2.5.1). Transports keep
// a generation of their own for other devices.
type Generational interface {
	ConfigGeneration() uint32
}

// Negotiating is a device whose features depend on each other.
type Negotiating interface {
	// AcceptFeatures says why the device cannot work with a set of features, a
	// subset of those that were offered. An error refuses FEATURES_OK, which
	// the driver reads back (virtio 1.2 section 3.1.1 step 6): it may ask for
	// others.
	AcceptFeatures(features uint64) error
}

// SharedMemory is a device with shared memory regions (virtio 1.2 section
// 2.10).
type SharedMemory interface {
	// SharedRegion returns the guest-physical base and the length in bytes of
	// the region id; ok is false where there is none.
	SharedRegion(id uint32) (base, length uint64, ok bool)
}
