package virtiotest

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/guestmem"
)

// hang is how long a driver waits for a device before it calls that a hang. No correct run comes near.
const hang = 20 * time.Second

// Bus is the device's window of registers, mmio.Transport for one.
type Bus interface {
	Read(offset uint64, p []byte)
	Write(offset uint64, p []byte)
}

// IRQ is an edge-triggered interrupt line: edges that nobody waited for are remembered as one.
type IRQ struct{ edge chan struct{} }

// NewIRQ makes a line.
func NewIRQ() *IRQ { return &IRQ{edge: make(chan struct{}, 1)} }

// Raise is the device's interrupt. Any goroutine may call it; it never blocks.
func (i *IRQ) Raise() {
	select {
	case i.edge <- struct{}{}:
	default:
	}
}

// Config is what a driver drives.
type Config struct {
	Bus   Bus
	Mem   *guestmem.Memory
	IRQ   *IRQ               // the device calls Raise
	Kick  func(queue uint32) // nil: write to QueueNotify
	Arena guestmem.Span      // where the driver puts rings and buffers; zero: Main
	// Features are bits of the device type that every initialisation asks for, HostileQueue's too: without them a queue
	// would not be served.
	Features uint64
}

// Driver is a correct driver of one device.
type Driver struct {
	t      testing.TB
	cfg    Config
	arena  *arena
	queues []*Queue
	acked  uint32 // bits of the interrupt status seen since the last Reset
	// Negotiated are the feature bits of the last Start.
	Negotiated uint64
}

// NewDriver attaches a driver; the device is not touched yet.
func NewDriver(t testing.TB, cfg Config) *Driver {
	t.Helper()
	if cfg.Arena.Size == 0 {
		cfg.Arena = Main
	}
	d := &Driver{t: t, cfg: cfg, arena: newArena(cfg.Arena)}
	if d.cfg.Kick == nil {
		d.cfg.Kick = func(queue uint32) { d.SetReg(RegQueueNotify, queue) }
	}
	require.EqualValues(t, 0x74726976, d.Reg(RegMagic), "magic value")
	require.EqualValues(t, 2, d.Reg(RegVersion), "version")
	return d
}

// Mem is the guest's memory.
func (d *Driver) Mem() *guestmem.Memory { return d.cfg.Mem }

// Alloc takes guest memory until the next Reset.
func (d *Driver) Alloc(size uint64) uint64 {
	d.t.Helper()
	return d.arena.alloc(d.t, size)
}

// Reg reads a register.
func (d *Driver) Reg(offset uint64) uint32 {
	var b [4]byte
	d.cfg.Bus.Read(offset, b[:])
	return binary.LittleEndian.Uint32(b[:])
}

// SetReg writes a register.
func (d *Driver) SetReg(offset uint64, v uint32) {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], v)
	d.cfg.Bus.Write(offset, b[:])
}

// setReg64 writes a pair of registers.
func (d *Driver) setReg64(offset, v uint64) {
	d.SetReg(offset, uint32(v))
	d.SetReg(offset+4, uint32(v>>32))
}

// ReadConfig reads n bytes of the device's configuration, byte for byte.
func (d *Driver) ReadConfig(offset uint64, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		d.cfg.Bus.Read(RegConfig+offset+uint64(i), b[i:i+1])
	}
	return b
}

// Status reads the device status.
func (d *Driver) Status() uint32 { return d.Reg(RegStatus) }

// AddStatus sets bits of the device status, as a driver does: the others are written back as read (2.1.1).
func (d *Driver) AddStatus(bits uint32) { d.SetReg(RegStatus, d.Status()|bits) }

// Offered are the device's feature bits.
func (d *Driver) Offered() uint64 {
	d.SetReg(RegDeviceFeatSel, 0)
	low := d.Reg(RegDeviceFeatures)
	d.SetReg(RegDeviceFeatSel, 1)
	return uint64(low) | uint64(d.Reg(RegDeviceFeatures))<<32
}

// WriteFeatures writes the driver's feature bits.
func (d *Driver) WriteFeatures(features uint64) {
	d.SetReg(RegDriverFeatSel, 0)
	d.SetReg(RegDriverFeatures, uint32(features))
	d.SetReg(RegDriverFeatSel, 1)
	d.SetReg(RegDriverFeatures, uint32(features>>32))
}

// Reset resets the device (2.4) and forgets queues and buffers.
func (d *Driver) Reset() {
	d.t.Helper()
	d.SetReg(RegStatus, 0)
	for end := time.Now().Add(hang); d.Status() != 0; runtime.Gosched() {
		// 4.2.2: the driver reads until it sees 0. A device that resets within the write, as ours, is read once.
		require.True(d.t, time.Now().Before(end), "status is %#x and not 0 after a reset", d.Status())
	}
	select {
	case <-d.cfg.IRQ.edge: // of before the reset
	default:
	}
	d.queues, d.acked, d.Negotiated = nil, 0, 0
	d.arena.reset()
}

// Negotiate resets the device and initialises it up to FEATURES_OK (3.1.1, steps 1 to 6), with the features that are both
// wanted (here or in Config) and offered, and VERSION_1.
func (d *Driver) Negotiate(want uint64) {
	d.t.Helper()
	d.Reset()
	d.AddStatus(StatusAcknowledge)
	d.AddStatus(StatusDriver)
	offered := d.Offered()
	require.NotZero(d.t, offered&FeatureVersion1, "VERSION_1 is not offered")
	d.Negotiated = offered & (want | d.cfg.Features | FeatureVersion1)
	d.WriteFeatures(d.Negotiated)
	d.AddStatus(StatusFeaturesOK)
	require.NotZero(d.t, d.Status()&StatusFeaturesOK, "features %#x were refused", d.Negotiated)
}

// Start initialises the device with all its queues (3.1.1). sizes are those of the first queues; 0, or none, is the maximum that
// the device allows.
func (d *Driver) Start(want uint64, sizes ...uint16) {
	d.t.Helper()
	d.Negotiate(want)
	for i := 0; ; i++ {
		d.SetReg(RegQueueSel, uint32(i))
		limit := d.Reg(RegQueueNumMax)
		if limit == 0 {
			break
		}
		size := uint16(limit)
		if i < len(sizes) && sizes[i] != 0 {
			size = sizes[i]
		}
		d.SetupQueue(i, size)
	}
	d.Go()
}

// Go sets DRIVER_OK and requires that the device works.
func (d *Driver) Go() {
	d.t.Helper()
	d.AddStatus(StatusDriverOK)
	const running = StatusAcknowledge | StatusDriver | StatusFeaturesOK | StatusDriverOK
	require.EqualValues(d.t, running, d.Status(), "status after DRIVER_OK")
}

// SetupQueue makes queue i ready (4.2.3.2), before Go.
func (d *Driver) SetupQueue(i int, size uint16) *Queue {
	d.t.Helper()
	raw := NewRaw(d.t, d.cfg.Mem, d.arena.alloc(d.t, max(RawSize(size), arenaAlign)), size)
	d.SetReg(RegQueueSel, uint32(i))
	require.Zero(d.t, d.Reg(RegQueueReady), "queue %d is in use", i)
	d.Place(raw)
	require.EqualValues(d.t, 1, d.Reg(RegQueueReady), "queue %d is not ready", i)
	q := newQueue(d, i, raw)
	for len(d.queues) <= i {
		d.queues = append(d.queues, nil)
	}
	d.queues[i] = q
	return q
}

// Place writes a ring's size and addresses to the selected queue's registers and sets it ready. It requires nothing.
func (d *Driver) Place(raw *Raw) {
	d.SetReg(RegQueueNum, uint32(raw.Size))
	d.setReg64(RegQueueDesc, raw.Desc)
	d.setReg64(RegQueueDriver, raw.Avail)
	d.setReg64(RegQueueDevice, raw.Used)
	d.SetReg(RegQueueReady, 1)
}

// Queue returns a queue that Start or SetupQueue made ready.
func (d *Driver) Queue(i int) *Queue {
	d.t.Helper()
	require.Less(d.t, i, len(d.queues), "no such queue")
	return d.queues[i]
}

// WaitFor waits for interrupts until done is true. done is asked first, and again after each interrupt.
func (d *Driver) WaitFor(what string, done func() bool) {
	d.t.Helper()
	end := time.NewTimer(hang)
	defer end.Stop()
	for !done() {
		select {
		case <-d.cfg.IRQ.edge:
			d.ack()
		case <-end.C:
			require.FailNow(d.t, "the device hangs", "waited for %s; status %#x, interrupts seen %#x", what, d.Status(), d.acked)
		}
	}
}

// ack reads and acknowledges the interrupt status (4.2.3.4).
func (d *Driver) ack() {
	if bits := d.Reg(RegInterruptStatus); bits != 0 {
		d.acked |= bits
		d.SetReg(RegInterruptACK, bits)
	}
}

// WaitNeedsReset waits until the device has set DEVICE_NEEDS_RESET and sent a configuration change notification (2.1.2).
func (d *Driver) WaitNeedsReset() {
	d.t.Helper()
	d.WaitFor("DEVICE_NEEDS_RESET and its interrupt", func() bool {
		return d.needsReset() && d.acked&InterruptConfig != 0
	})
}

// WaitConfigChange waits for a configuration change notification that came after the last call.
func (d *Driver) WaitConfigChange() {
	d.t.Helper()
	d.WaitFor("a configuration change", func() bool { return d.acked&InterruptConfig != 0 })
	d.acked &^= InterruptConfig
}

func (d *Driver) needsReset() bool { return d.Status()&StatusNeedsReset != 0 }

// String describes the device for failure messages.
func (d *Driver) String() string {
	return fmt.Sprintf("device type %d, status %#x", d.Reg(RegDeviceID), d.Status())
}
