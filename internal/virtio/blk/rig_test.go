package blk

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/mmio"
	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
)

// fakeDisk is a Backend in memory. The hook, when there is one, is called
// before each operation, outside the lock, and may block or fail it.
type fakeDisk struct {
	hook func(op string, off, n uint64) error

	mu      sync.Mutex
	data    []byte // guarded by mu
	written bool   // since the last Flush; guarded by mu
	flushes int    // guarded by mu
	closed  atomic.Int32
	inside  atomic.Int32 // operations in progress
	most    atomic.Int32 // the most there were at once
}

func newFakeDisk(sectors int) *fakeDisk {
	d := &fakeDisk{data: make([]byte, sectors*SectorSize)}
	for i := range d.data {
		d.data[i] = byte(i/SectorSize*7 + i)
	}
	return d
}

func (d *fakeDisk) Size() uint64        { return uint64(len(d.data)) }
func (d *fakeDisk) BlockSize() uint32   { return 4096 }
func (d *fakeDisk) Granularity() uint32 { return 65536 }

func (d *fakeDisk) enter(op string, off, n uint64) error {
	now := d.inside.Add(1)
	for {
		most := d.most.Load()
		if now <= most || d.most.CompareAndSwap(most, now) {
			break
		}
	}
	if d.hook != nil {
		return d.hook(op, off, n)
	}
	return nil
}

func (d *fakeDisk) leave() { d.inside.Add(-1) }

func lenOf(bufs [][]byte) (n uint64) {
	for _, b := range bufs {
		n += uint64(len(b))
	}
	return n
}

func (d *fakeDisk) ReadAt(bufs [][]byte, off uint64) error {
	defer d.leave()
	if err := d.enter("read", off, lenOf(bufs)); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range bufs {
		off += uint64(copy(b, d.data[off:][:len(b)]))
	}
	return nil
}

func (d *fakeDisk) WriteAt(bufs [][]byte, off uint64) error {
	defer d.leave()
	if err := d.enter("write", off, lenOf(bufs)); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.written = true
	for _, b := range bufs {
		off += uint64(copy(d.data[off:][:len(b)], b))
	}
	return nil
}

func (d *fakeDisk) Flush() error {
	defer d.leave()
	if err := d.enter("flush", 0, 0); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.written = false
	d.flushes++
	return nil
}

func (d *fakeDisk) Discard(off, n uint64) error {
	defer d.leave()
	if err := d.enter("discard", off, n); err != nil {
		return err
	}
	d.zero(off, n)
	return nil
}

func (d *fakeDisk) WriteZeroes(off, n uint64, unmap bool) error {
	defer d.leave()
	op := "zero"
	if unmap {
		op = "unmap"
	}
	if err := d.enter(op, off, n); err != nil {
		return err
	}
	d.zero(off, n)
	return nil
}

func (d *fakeDisk) zero(off, n uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.written = true
	clear(d.data[off : off+n])
}

func (d *fakeDisk) Close() error {
	d.closed.Add(1)
	if d.hook != nil {
		return d.hook("close", 0, 0)
	}
	return nil
}

// bytes returns a copy of a range, in sectors.
func (d *fakeDisk) bytes(sector, count int) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]byte(nil), d.data[sector*SectorSize:(sector+count)*SectorSize]...)
}

// backing lends what a machine lends, within the process.
type backing struct{ irq *virtiotest.IRQ }

func (b backing) NewKick(int) (virtio.StoppableKick, error) { return virtio.NewLocalKick(), nil }
func (b backing) Interrupt()                                { b.irq.Raise() }

const ringFeatures = virtiotest.FeatureIndirect | virtiotest.FeatureEventIdx

// allFeatures are what Linux negotiates.
const allFeatures = ringFeatures | FeatureSegMax | FeatureBlkSize | FeatureTopology | FeatureFlush |
	FeatureConfigWCE | FeatureMQ | FeatureDiscard | FeatureWriteZeroes | FeatureRO

// slots is how many requests the rig has in flight: each has three descriptors.
const slots = 64

// rig is a device, its transport and a driver with a way to see status bytes
// whatever the device claims to have written.
type rig struct {
	*virtiotest.Driver
	t         testing.TB
	dev       *Device
	transport *mmio.Transport
	mem       *guestmem.Memory
	disk      *fakeDisk

	ring  *virtiotest.Raw
	event bool
	seen  uint16   // used index
	free  []uint16 // slots
	used  [slots][]piece
	pool  map[uint64][]uint64 // addresses by size
	open  map[uint16]*pending
}

// pending is a request in flight, and then its outcome.
type pending struct {
	slot   uint16
	status uint64 // address
	data   uint64 // address of what the device may write
	size   int

	done bool
	code byte
	used uint32
}

func newRig(t testing.TB, disk *fakeDisk, cfg Config) *rig {
	if cfg.Backend == nil {
		cfg.Backend = disk
	}
	dev, err := New(cfg)
	require.NoError(t, err)
	mem, irq := virtiotest.NewMemory(t), virtiotest.NewIRQ()
	transport := mmio.New(dev, mem, backing{irq})
	t.Cleanup(transport.Close)
	return &rig{
		Driver: virtiotest.NewDriver(t, virtiotest.Config{Bus: transport, Mem: mem, IRQ: irq}),
		t:      t, dev: dev, transport: transport, mem: mem, disk: disk,
	}
}

// start resets the device and brings it up.
func (r *rig) start(features uint64) *rig {
	r.t.Helper()
	r.Start(features)
	r.ring = r.Queue(0).Raw
	r.event = r.Negotiated&virtiotest.FeatureEventIdx != 0
	r.seen, r.free, r.open = 0, nil, map[uint16]*pending{}
	r.used, r.pool = [slots][]piece{}, map[uint64][]uint64{}
	for i := range uint16(slots) {
		r.free = append(r.free, i)
	}
	return r
}

func header(kind uint32, sector uint64) []byte {
	b := make([]byte, headerSize)
	binary.LittleEndian.PutUint32(b, kind)
	binary.LittleEndian.PutUint64(b[8:], sector)
	return b
}

// piece is guest memory of a request. It is used again with its slot.
type piece struct{ addr, size uint64 }

// guest copies p to guest memory that belongs to a slot.
func (r *rig) guest(slot uint16, p []byte) uint64 {
	r.t.Helper()
	size := uint64(64)
	for size < uint64(len(p)) {
		size *= 2
	}
	var addr uint64
	if l := r.pool[size]; len(l) > 0 {
		addr, r.pool[size] = l[len(l)-1], l[:len(l)-1]
	} else {
		addr = r.Alloc(size)
	}
	r.used[slot] = append(r.used[slot], piece{addr, size})
	require.NoError(r.t, r.mem.WriteAt(p, addr))
	return addr
}

// add makes a request available without a kick: the header, bytes to be read,
// room for bytes to be written, status.
func (r *rig) add(kind uint32, sector uint64, out []byte, in int) *pending {
	r.t.Helper()
	require.NotEmpty(r.t, r.free, "too many requests in flight")
	slot := r.free[0]
	r.free = r.free[1:]
	for _, b := range r.used[slot] {
		r.pool[b.size] = append(r.pool[b.size], b.addr)
	}
	r.used[slot] = r.used[slot][:0]
	p := &pending{slot: slot, status: r.guest(slot, []byte{0xEE}), size: in}
	descs := []virtiotest.Desc{{Addr: r.guest(slot, header(kind, sector)), Len: headerSize}}
	if len(out) > 0 {
		descs = append(descs, virtiotest.Desc{Addr: r.guest(slot, out), Len: uint32(len(out))})
	}
	if in > 0 {
		p.data = r.guest(slot, make([]byte, in))
		descs = append(descs, virtiotest.Desc{Addr: p.data, Len: uint32(in), Flags: virtiotest.DescWrite})
	}
	descs = append(descs, virtiotest.Desc{Addr: p.status, Len: 1, Flags: virtiotest.DescWrite})
	require.LessOrEqual(r.t, len(descs), 3)
	for i, d := range descs {
		if i+1 < len(descs) {
			d.Flags |= virtiotest.DescNext
			d.Next = 3*p.slot + uint16(i) + 1
		}
		r.ring.SetDesc(3*p.slot+uint16(i), d)
	}
	r.open[3*p.slot] = p
	r.ring.Expose(3 * p.slot)
	return p
}

// post is add and a kick.
func (r *rig) post(kind uint32, sector uint64, out []byte, in int) *pending {
	r.t.Helper()
	p := r.add(kind, sector, out, in)
	r.Queue(0).Notify()
	return p
}

// reap takes what came back.
func (r *rig) reap() {
	for r.seen != r.ring.UsedIdx() {
		id, used := r.ring.UsedElem(r.seen & (r.ring.Size - 1))
		p := r.open[uint16(id)]
		require.NotNil(r.t, p, "request %d is not in flight", id)
		delete(r.open, uint16(id))
		r.free = append(r.free, p.slot)
		r.seen++
		var code [1]byte
		require.NoError(r.t, r.mem.ReadAt(code[:], p.status))
		p.done, p.code, p.used = true, code[0], used
	}
}

// until takes what comes back until a condition holds.
func (r *rig) until(what string, done func() bool) {
	r.t.Helper()
	r.WaitFor(what, func() bool {
		for r.reap(); !done(); {
			if !r.event {
				return false
			}
			// Ask for an interrupt at the next entry and look once more: one that
			// came in between is behind what was asked for, so ask anew.
			seen := r.seen
			r.ring.SetUsedEvent(seen)
			if r.reap(); r.seen == seen {
				return false
			}
		}
		return true
	})
}

// wait waits for a request.
func (r *rig) wait(p *pending) *pending {
	r.t.Helper()
	r.until("a request", func() bool { return p.done })
	return p
}

// do runs one request and returns its status.
func (r *rig) do(kind uint32, sector uint64, out []byte, in int) *pending {
	r.t.Helper()
	return r.wait(r.post(kind, sector, out, in))
}

// reply is what the device wrote.
func (r *rig) reply(p *pending) []byte {
	b := make([]byte, p.size)
	require.NoError(r.t, r.mem.ReadAt(b, p.data))
	return b
}

// ok runs a request that must succeed.
func (r *rig) ok(kind uint32, sector uint64, out []byte, in int) []byte {
	r.t.Helper()
	p := r.do(kind, sector, out, in)
	require.EqualValues(r.t, statusOK, p.code)
	require.EqualValues(r.t, in+1, p.used)
	return r.reply(p)
}

// ranges encodes segments of DISCARD and WRITE_ZEROES.
func ranges(s ...segment) []byte {
	var b []byte
	for _, s := range s {
		b = binary.LittleEndian.AppendUint64(b, s.sector)
		b = binary.LittleEndian.AppendUint32(b, uint32(s.count))
		b = binary.LittleEndian.AppendUint32(b, s.flags)
	}
	return b
}
