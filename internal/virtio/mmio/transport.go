// Package mmio is the virtio-mmio transport, version 2 (virtio 1.2 section
// 4.2): it turns a driver's register accesses into the life of a
// [virtio.Device].
//
// It holds no ring code and knows no hypervisor: what it needs of the machine
// comes through [Backing]. A machine calls [Transport.Read] and
// [Transport.Write] on the vCPU's thread for every access to the device's
// window; nothing there waits for I/O of the host, except that a reset joins
// the device's workers.
//
// Everything a guest can do is defined: an access of a wrong width or place
// reads zeroes or is ignored, a step out of order is ignored, and a queue the
// driver cannot have meant marks the device DEVICE_NEEDS_RESET. The reason for
// each is beside the code.
//
// Locks: Transport.mu serialises the registers and is held while the device is
// called. line.mu is a leaf: the device's signals take only that one.
package mmio

import (
	"encoding/binary"
	"sync"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/virtio"
)

// Backing is what the machine lends one device.
type Backing interface {
	// NewKick makes the kick of a queue, at DRIVER_OK. The transport stops it
	// at reset. A machine that attaches an ioeventfd to it detaches it in Stop.
	NewKick(queue int) (virtio.StoppableKick, error)
	// Interrupt raises the device's interrupt, as an edge. It must neither
	// block nor call the transport. It is not called after Close.
	Interrupt()
}

// Option changes how a Transport is made.
type Option func(*Transport)

// WithLog sends one line for each thing a guest or a device did wrong to log,
// at a limited rate. log must neither block nor call the transport.
func WithLog(log func(line string)) Option {
	return func(t *Transport) { t.line.log.out = log }
}

// Transport is one device's window of registers.
type Transport struct {
	dev     virtio.Device
	mem     *guestmem.Memory
	backing Backing
	offered uint64 // feature bits of device and transport
	sizes   []uint16

	line     line
	counters virtio.Counters

	mu     sync.Mutex
	closed bool          // guarded by mu
	status virtio.Status // guarded by mu; without NEEDS_RESET, which is the line's

	// Registers, guarded by mu.
	deviceFeaturesSel uint32
	driverFeaturesSel uint32
	driverFeatures    uint64
	driverBeyond      bool // the driver asked for bits above 63
	queueSel          uint32
	shmSel            uint32
	queues            []queueRegisters

	// kicks are those of the current activation, nil when there is none.
	// Guarded by mu.
	kicks []virtio.StoppableKick
}

// New makes the transport of dev, which it owns from now on. Nothing runs
// until a driver sets DRIVER_OK.
func New(dev virtio.Device, mem *guestmem.Memory, backing Backing, opts ...Option) *Transport {
	sizes := dev.QueueSizes()
	t := &Transport{
		dev:     dev,
		mem:     mem,
		backing: backing,
		offered: dev.Features() | virtio.TransportFeatures,
		sizes:   sizes,
		queues:  make([]queueRegisters, len(sizes)),
	}
	t.line.log.prefix = "virtio " + dev.Name() + ": "
	t.line.raise = backing.Interrupt
	t.line.counters = &t.counters
	for _, opt := range opts {
		opt(t)
	}
	return t
}

// Name is the device's name.
func (t *Transport) Name() string { return t.dev.Name() }

// Stats returns the device's statistics.
func (t *Transport) Stats() virtio.Stats { return t.counters.Stats() }

// Read serves a read of len(p) bytes at the offset in the window. Accesses
// that are not defined read as zeroes.
func (t *Transport) Read(offset uint64, p []byte) {
	clear(p)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	if offset, ok := configAccess(offset, p); ok {
		t.dev.ReadConfig(offset, p)
		return
	}
	if !registerAccess(offset, p) {
		t.line.log.printf("read of %d bytes at %#x is not defined", len(p), offset)
		return
	}
	binary.LittleEndian.PutUint32(p, t.readRegister(offset))
}

// Write serves a write of len(p) bytes at the offset in the window. Accesses
// that are not defined are ignored.
func (t *Transport) Write(offset uint64, p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	if offset, ok := configAccess(offset, p); ok {
		if t.status&virtio.StatusDriver == 0 {
			t.line.log.printf("configuration written before a driver took the device")
			return
		}
		t.dev.WriteConfig(offset, p)
		return
	}
	if !registerAccess(offset, p) {
		t.line.log.printf("write of %d bytes at %#x is not defined", len(p), offset)
		return
	}
	t.writeRegister(offset, binary.LittleEndian.Uint32(p))
}

// Close resets the device, closes it and returns when nothing of it runs any
// more: neither Backing nor memory is used after that. Later accesses read
// zeroes and are ignored. Idempotent.
func (t *Transport) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	t.closed = true
	t.deactivate()
	t.dev.Close()
}

// configAccess says whether an access lies in the configuration space, and at
// which offset of that.
func configAccess(offset uint64, p []byte) (uint32, bool) {
	size := uint64(len(p))
	if offset < regConfig || offset >= WindowSize || size == 0 || size > WindowSize-offset {
		return 0, false
	}
	return uint32(offset - regConfig), true
}

// registerAccess says whether an access is of a register's width and
// alignment, and below the configuration space.
func registerAccess(offset uint64, p []byte) bool {
	return len(p) == registerSize && offset%registerSize == 0 && offset < regConfig
}

// readRegister returns the value of a register; 0 for those that are
// write-only or do not exist. Preconditions: mu is held.
func (t *Transport) readRegister(offset uint64) uint32 {
	switch offset {
	case regMagicValue:
		return magicValue
	case regVersion:
		return version
	case regDeviceID:
		return uint32(t.dev.ID())
	case regVendorID:
		return vendorID
	case regDeviceFeatures:
		return half(t.offered, t.deviceFeaturesSel)
	case regQueueNumMax:
		if t.queueSel < uint32(len(t.sizes)) {
			return uint32(t.sizes[t.queueSel])
		}
	case regQueueReady:
		if q := t.selectedQueue(); q != nil && q.ready {
			return 1
		}
	case regInterruptStatus:
		return t.line.interruptStatus()
	case regStatus:
		return uint32(t.status | t.line.needsResetBit())
	case regSHMLenLow, regSHMLenHigh, regSHMBaseLow, regSHMBaseHigh:
		return t.readSHM(offset)
	case regConfigGeneration:
		return t.configGeneration()
	}
	return 0
}

// writeRegister changes a register; writes to those that are read-only or do
// not exist are ignored. Preconditions: mu is held.
func (t *Transport) writeRegister(offset uint64, v uint32) {
	switch offset {
	case regDeviceFeaturesSel:
		t.deviceFeaturesSel = v
	case regDriverFeaturesSel:
		t.driverFeaturesSel = v
	case regDriverFeatures:
		t.writeDriverFeatures(v)
	case regQueueSel:
		t.queueSel = v
	case regQueueNum, regQueueReady,
		regQueueDescLow, regQueueDescHigh,
		regQueueDriverLow, regQueueDriverHigh,
		regQueueDeviceLow, regQueueDeviceHigh:
		t.writeQueue(offset, v)
	case regQueueNotify:
		t.notify(v)
	case regInterruptACK:
		t.line.acknowledge(v)
	case regStatus:
		t.writeStatus(virtio.Status(v))
	case regSHMSel:
		t.shmSel = v
	default:
		t.line.log.printf("write of %#x to register %#x is not defined", v, offset)
	}
}

// readSHM returns half of the length or base of the selected shared memory
// region.
func (t *Transport) readSHM(offset uint64) uint32 {
	base, length := noRegion, noRegion
	if dev, ok := t.dev.(virtio.SharedMemory); ok {
		if b, l, ok := dev.SharedRegion(t.shmSel); ok {
			base, length = b, l
		}
	}
	switch offset {
	case regSHMLenLow:
		return half(length, 0)
	case regSHMLenHigh:
		return half(length, 1)
	case regSHMBaseLow:
		return half(base, 0)
	default:
		return half(base, 1)
	}
}

// configGeneration is the device's own generation plus the count of the
// signals that announced a change: it changes when either does.
func (t *Transport) configGeneration() uint32 {
	g := t.line.configGeneration()
	if dev, ok := t.dev.(virtio.Generational); ok {
		g += dev.ConfigGeneration()
	}
	return g
}

// half returns 32 bits of a 64-bit value: the low ones for 0, the high ones
// for 1, and 0 for every other selector a driver may write.
func half(v uint64, sel uint32) uint32 {
	switch sel {
	case 0:
		return uint32(v)
	case 1:
		return uint32(v >> 32)
	default:
		return 0
	}
}
