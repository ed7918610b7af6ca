//go:build linux

package net

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/net/link"
	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/mmio"
	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
)

// fastBacking kicks as a machine does, through eventfds.
type fastBacking struct {
	edge  chan struct{} // interrupts nobody has waited for, as one
	kicks [queueCount]*virtio.EventFD
}

func (b *fastBacking) NewKick(i int) (virtio.StoppableKick, error) {
	e, err := virtio.NewEventFD()
	b.kicks[i] = e
	return e, err
}

func (b *fastBacking) Interrupt() {
	select {
	case b.edge <- struct{}{}:
	default:
	}
}

// fast is a driver that does as little as it can: descriptors are written once,
// and only indices change.
type fast struct {
	b       *testing.B
	host    *sink
	dev     *Device
	back    *fastBacking
	rx      *virtiotest.Raw
	tx      *virtiotest.Raw
	rxAt    uint16 // available index
	buffers uint64 // of the receive queue
	txAt    uint16
}

const fastBuffer = 2048 // of a receive buffer

func newFast(b *testing.B, frame int) *fast {
	span := guestmem.Span{Base: 1 << 20, Size: 128 << 20}
	mem, err := guestmem.Alloc("bench", span)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, mem.Close()) })
	f := &fast{b: b, host: &sink{rooms: make(chan struct{}, 1)}, back: &fastBacking{edge: make(chan struct{}, 1)}}
	f.dev, err = New(Config{Host: f.host, MAC: testMAC})
	require.NoError(b, err)
	transport := mmio.New(f.dev, mem, f.back)
	b.Cleanup(transport.Close)
	d := virtiotest.NewDriver(b, virtiotest.Config{Bus: transport, Mem: mem, IRQ: virtiotest.NewIRQ(), Arena: span})
	d.Start(allFeatures)
	f.rx, f.tx = d.Queue(queueReceive).Raw, d.Queue(queueTransmit).Raw
	f.fillReceive(d)
	f.fillTransmit(d, frame)
	return f
}

func (f *fast) fillReceive(d *virtiotest.Driver) {
	at := d.Alloc(uint64(f.rx.Size) * fastBuffer)
	f.buffers = at
	for i := range f.rx.Size {
		f.rx.SetDesc(i, virtiotest.Desc{Addr: at + uint64(i)*fastBuffer, Len: fastBuffer, Flags: virtiotest.DescWrite})
		f.rx.SetAvail(i, i)
	}
	f.rxAt = f.rx.Size
	f.rx.SetAvailIdx(f.rxAt)
}

// fillTransmit makes a table for each descriptor: a header with what Linux has
// in the linear part, and pages.
func (f *fast) fillTransmit(d *virtiotest.Driver, frame int) {
	hdr := link.Header{}
	if frame > DefaultMTU+ethHeader {
		hdr = link.Header{Flags: link.NeedsChecksum, GSOType: link.GSOTCPv4, HdrLen: 54, GSOSize: 1448, CSumStart: 34, CSumOffset: 16}
	}
	data := packed(hdr, ethernet(testMAC, frame))
	at := d.Alloc(uint64(len(data)))
	require.NoError(f.b, f.tx.Mem().WriteAt(data, at))
	cuts := []int{min(len(data), hdrSize+66)}
	for cuts[len(cuts)-1] < len(data) {
		cuts = append(cuts, min(cuts[len(cuts)-1]+4096, len(data)))
	}
	table := make([]virtiotest.Desc, len(cuts))
	from := 0
	for i, to := range cuts {
		table[i] = virtiotest.Desc{Addr: at + uint64(from), Len: uint32(to - from), Flags: virtiotest.DescNext, Next: uint16(i + 1)}
		from = to
	}
	table[len(table)-1].Flags = 0
	where := d.Alloc(uint64(16 * len(table)))
	f.tx.SetTable(where, table...)
	for i := range f.tx.Size {
		f.tx.SetDesc(i, virtiotest.Desc{Addr: where, Len: uint32(16 * len(table)), Flags: virtiotest.DescIndirect})
		f.tx.SetAvail(i, i)
	}
}

// benchSizes are a long frame and one of the usual MTU.
var benchSizes = []int{65536, 1514}

// BenchmarkTransmit: the driver makes frames available, as many as a Linux
// socket does at once, and sleeps when the ring is full.
func BenchmarkTransmit(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			f := newFast(b, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			for sent := 0; sent < b.N; {
				seen := f.tx.UsedIdx()
				free := f.tx.Size - (f.txAt - seen)
				if free == 0 || free < 64 && f.txAt != seen {
					f.tx.SetUsedEvent(f.txAt - f.tx.Size/2)
					if f.tx.UsedIdx() == seen {
						<-f.back.edge
					}
					continue
				}
				n := uint16(min(b.N-sent, int(free), 16))
				f.txAt += n
				sent += int(n)
				f.tx.SetAvailIdx(f.txAt)
				if f.txAt-f.tx.AvailEvent()-1 < n {
					f.back.kicks[queueTransmit].Poke()
				}
			}
			for f.tx.UsedIdx() != f.txAt {
				f.tx.SetUsedEvent(f.txAt - 1)
				if f.tx.UsedIdx() != f.txAt {
					<-f.back.edge
				}
			}
			require.Equal(b, b.N, f.host.frames)
		})
	}
}

// BenchmarkReceive: the host's side delivers as much as a read of a socket
// brings, and the driver, on the same goroutine, gives the buffers back: the
// copy, the rings and the interrupts, without a wake-up.
func BenchmarkReceive(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			f := newFast(b, size)
			batch := make([]link.Frame, max(1, 65536/size))
			for i := range batch {
				batch[i] = frame(size)
				if size > DefaultMTU+ethHeader {
					batch[i].Header = link.Header{Flags: link.NeedsChecksum, GSOType: link.GSOTCPv4, GSOSize: 1448}
				}
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; {
				k := f.host.guest.Receive(batch[:min(len(batch), b.N-n)])
				if k == 0 {
					b.Fatal("no room")
				}
				n += k
				f.giveBack()
			}
			require.EqualValues(b, b.N, f.dev.Stats().Received.Frames)
		})
	}
}

// giveBack makes the used receive buffers available again, in any order, as the
// ring has them all. It is true when more were used meanwhile, for which there
// may be no interrupt.
func (f *fast) giveBack() (more bool) {
	f.rxAt = f.rx.UsedIdx() + f.rx.Size
	f.rx.SetUsedEvent(f.rxAt - f.rx.Size)
	old := f.rx.AvailIdx()
	f.rx.SetAvailIdx(f.rxAt)
	if f.rxAt-f.rx.AvailEvent()-1 < f.rxAt-old {
		f.back.kicks[queueReceive].Poke()
	}
	return f.rx.UsedIdx() != f.rxAt-f.rx.Size
}

// BenchmarkReceiveAcross is the same with the driver on a goroutine of its own,
// which sleeps until it is interrupted and then reads what it got, and a host's
// side that delivers a megabyte at once and waits for room.
func BenchmarkReceiveAcross(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			f := newFast(b, size)
			batch := make([]link.Frame, (1<<20)/size)
			for i := range batch {
				batch[i] = frame(size)
				if size > DefaultMTU+ethHeader {
					batch[i].Header = link.Header{Flags: link.NeedsChecksum, GSOType: link.GSOTCPv4, GSOSize: 1448}
				}
			}
			done := make(chan struct{})
			stopped := make(chan struct{})
			at, err := f.rx.Mem().Slice(f.buffers, uint64(f.rx.Size)*fastBuffer)
			require.NoError(b, err)
			go func() {
				defer close(stopped)
				var own [fastBuffer]byte
				read := func() {
					for i := f.rxAt - f.rx.Size; i != f.rx.UsedIdx(); i++ {
						copy(own[:], at[int(i%f.rx.Size)*fastBuffer:])
					}
				}
				for {
					select {
					case <-f.back.edge:
						for read(); f.giveBack(); read() {
						}
					case <-done:
						return
					}
				}
			}()
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; {
				want := min(len(batch), b.N-n)
				k := f.host.guest.Receive(batch[:want])
				n += k
				if k < want {
					<-f.host.rooms
				}
			}
			b.StopTimer()
			close(done)
			<-stopped
		})
	}
}
