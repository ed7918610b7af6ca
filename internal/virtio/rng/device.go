// Package rng is the virtio entropy device (virtio 1.2 section 5.4): it fills
// what the guest offers with random bytes of the host.
//
// It has one queue, no features and no configuration space. One request gets
// at most [MaxRequest] bytes, whatever it offers: the device says how many, and
// a driver asks again.
package rng

import (
	"crypto/rand"
	"io"

	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/virtq"
)

// MaxRequest is how many random bytes one request gets at most. Linux asks for
// 32 to 64 at once; the cap is what keeps a request of 4 GiB from holding the
// worker, and so a reset, for seconds.
const MaxRequest = 64 << 10

// queueSize is the number of descriptors of the only queue. Linux has one
// request in flight.
const queueSize = 64

// chunkSize is how many random bytes are made at once, in bytes.
const chunkSize = 4 << 10

// Config is what a device is made from.
type Config struct {
	// Source is where the bytes come from; nil is crypto/rand. An error of it
	// is counted and fails the request with no bytes, not the device.
	Source io.Reader
}

// Device is an entropy device.
type Device struct {
	source io.Reader
	worker *virtio.Worker // nil when not active; its transport serialises the calls
}

// New makes an entropy device.
func New(cfg Config) *Device {
	source := cfg.Source
	if source == nil {
		source = rand.Reader
	}
	return &Device{source: source}
}

// ID implements [virtio.Device].
func (d *Device) ID() virtio.DeviceID { return virtio.IDEntropy }

// Name implements [virtio.Device].
func (d *Device) Name() string { return "rng" }

// Features implements [virtio.Device]: section 5.4.3 defines none.
func (d *Device) Features() uint64 { return 0 }

// QueueSizes implements [virtio.Device]: requestq, section 5.4.2.
func (d *Device) QueueSizes() []uint16 { return []uint16{queueSize} }

// ReadConfig implements [virtio.Device]: section 5.4.4 defines no fields.
func (d *Device) ReadConfig(_ uint32, p []byte) { clear(p) }

// WriteConfig implements [virtio.Device].
func (d *Device) WriteConfig(uint32, []byte) {}

// Activate implements [virtio.Device].
func (d *Device) Activate(a virtio.Activation) error {
	d.worker = virtio.StartWorker("virtio rng", a, 0, virtio.Requests(func(c *virtq.Chain) (uint32, error) {
		return d.serve(c, a.Counters)
	}))
	return nil
}

// Reset implements [virtio.Device].
func (d *Device) Reset() {
	d.worker.Stop()
	d.worker = nil
}

// Close implements [virtio.Device].
func (d *Device) Close() { d.Reset() }

var _ virtio.Device = (*Device)(nil)
