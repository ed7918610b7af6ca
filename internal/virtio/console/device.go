// Package console is the virtio console device (virtio 1.2 section 5.3) with
// one port: bytes from the guest go to an io.Writer, bytes for the guest come
// from a [Source], and the guest is told the size of the terminal.
//
// It keeps nothing of the output, and of the input only what it has taken from
// the Source and the guest has not made room for yet, [stagedSize] bytes at
// most. A guest that does not read therefore leaves the rest in the Source,
// whose bound holds back whoever writes to it. Nothing is lost by a reset.
//
// Locks: mu guards what Resize and the driver's reads share. Each queue's
// state belongs to its worker.
package console

import (
	"encoding/binary"
	"io"
	"sync"
	"sync/atomic"

	"github.com/libcapsa/libcapsa/internal/virtio"
)

// FeatureSize: the fields cols and rows of the configuration are valid
// (VIRTIO_CONSOLE_F_SIZE, virtio 1.2 section 5.3.3).
const FeatureSize uint64 = 1 << 0

// The queues of port 0, virtio 1.2 section 5.3.2. There are no control queues
// without VIRTIO_CONSOLE_F_MULTIPORT.
const (
	queueReceive  = 0 // host to guest
	queueTransmit = 1 // guest to host
)

// queueSize is the number of descriptors of each queue. Linux fills the
// receive queue with a page for each, so more would be memory of the guest
// without use.
const queueSize = 64

// configSize is the length of struct virtio_console_config in bytes (virtio
// 1.2 section 5.3.4): le16 cols, le16 rows, le32 max_nr_ports, le32 emerg_wr.
// The last two belong to features that are not offered and read as zero.
const configSize = 12

// Source is where the bytes for the guest come from.
type Source interface {
	// TryRead takes up to len(p) bytes and never blocks; 0 means that there
	// are none.
	TryRead(p []byte) int
	// SetNotify sets what is called, with no lock held, when a source that was
	// empty gets bytes.
	SetNotify(notify func())
}

// Config is what a device is made from.
type Config struct {
	// Output gets what the guest writes, from one goroutine at a time. It must
	// not block; what it refuses is counted and dropped. Nil drops everything.
	Output io.Writer
	// Input has the bytes for the guest. Nil: there are never any.
	Input Source
	// Cols and Rows are the size of the terminal, in characters. 0: not known.
	Cols, Rows uint16
	// FirstOutput is called once, before the first byte goes to Output: the
	// guest has a console driver. It must not block. Nil: not called.
	FirstOutput func()
}

// Device is a console with one port.
type Device struct {
	output      io.Writer
	input       Source
	firstOutput func()

	mu         sync.Mutex
	cols, rows uint16        // guarded by mu
	generation uint32        // guarded by mu; changes with cols and rows
	signal     virtio.Signal // guarded by mu; nil unless a driver negotiated FeatureSize

	transmitter *virtio.Worker                // nil when not active
	receiver    atomic.Pointer[virtio.Worker] // the Source's notifications read it

	said    bool   // of the transmitter: FirstOutput has been called
	inBuf   []byte // of the receiver; nil until there is a driver
	pending []byte // of the receiver: the part of inBuf that the guest has no room for yet
}

// New makes a console device. It takes over the Input's notifications.
func New(cfg Config) *Device {
	d := &Device{
		output:      cfg.Output,
		input:       cfg.Input,
		firstOutput: cfg.FirstOutput,
		cols:        cfg.Cols,
		rows:        cfg.Rows,
	}
	if d.output == nil {
		d.output = io.Discard
	}
	if d.input != nil {
		d.input.SetNotify(func() { d.receiver.Load().Poke() })
	}
	return d
}

// ID implements [virtio.Device].
func (d *Device) ID() virtio.DeviceID { return virtio.IDConsole }

// Name implements [virtio.Device].
func (d *Device) Name() string { return "console" }

// Features implements [virtio.Device].
func (d *Device) Features() uint64 { return FeatureSize }

// QueueSizes implements [virtio.Device].
func (d *Device) QueueSizes() []uint16 {
	return []uint16{queueReceive: queueSize, queueTransmit: queueSize}
}

// ReadConfig implements [virtio.Device].
func (d *Device) ReadConfig(offset uint32, p []byte) {
	clear(p)
	if offset >= configSize {
		return
	}
	var fields [configSize]byte
	d.mu.Lock()
	binary.LittleEndian.PutUint16(fields[0:], d.cols)
	binary.LittleEndian.PutUint16(fields[2:], d.rows)
	d.mu.Unlock()
	copy(p, fields[offset:])
}

// WriteConfig implements [virtio.Device]: emerg_wr is the only field a driver
// may write, and it is not offered.
func (d *Device) WriteConfig(uint32, []byte) {}

// ConfigGeneration implements [virtio.Generational].
func (d *Device) ConfigGeneration() uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.generation
}

// Resize tells the guest a new size of the terminal, in characters. It may be
// called at any time from anywhere; a driver that comes later learns the last
// size.
func (d *Device) Resize(cols, rows uint16) {
	d.mu.Lock()
	d.cols, d.rows = cols, rows
	d.generation++
	signal := d.signal
	d.mu.Unlock()
	if signal != nil {
		signal.Config() // dropped if the driver went away meanwhile
	}
}

// Activate implements [virtio.Device].
func (d *Device) Activate(a virtio.Activation) error {
	if d.inBuf == nil {
		d.inBuf = make([]byte, stagedSize)
	}
	if q := a.Queues[queueTransmit]; q != nil {
		q.SetMaxBytes(MaxTransmit)
	}
	d.transmitter = virtio.StartWorker("virtio console transmit", a, queueTransmit,
		virtio.Requests(d.transmit(a.Counters)))
	receiver := virtio.StartWorker("virtio console receive", a, queueReceive,
		virtio.HandlerFunc(d.receive(a.Counters)))
	d.receiver.Store(receiver)
	receiver.Poke() // a notification between its first look at the Source and the store was lost

	if a.Features&FeatureSize == 0 {
		return nil
	}
	d.mu.Lock()
	d.signal = a.Signal
	known := d.cols != 0 && d.rows != 0
	d.mu.Unlock()
	if known {
		// Linux reads the size of a single port only after a configuration
		// change (drivers/char/virtio_console.c, config_work_handler): without
		// this one the terminal has 0 by 0 characters until the first resize.
		// It also covers a Resize between the driver's probe and DRIVER_OK.
		a.Signal.Config()
	}
	return nil
}

// Reset implements [virtio.Device].
func (d *Device) Reset() {
	d.mu.Lock()
	d.signal = nil
	d.mu.Unlock()
	d.transmitter.Stop()
	d.transmitter = nil
	d.receiver.Swap(nil).Stop()
}

// Close implements [virtio.Device].
func (d *Device) Close() {
	d.Reset()
	if d.input != nil {
		d.input.SetNotify(func() {})
	}
}

var (
	_ virtio.Device       = (*Device)(nil)
	_ virtio.Generational = (*Device)(nil)
)
