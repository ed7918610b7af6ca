//go:build linux

package vsock

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/mmio"
	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
	hostside "github.com/libcapsa/libcapsa/internal/vsock"
	"github.com/libcapsa/libcapsa/internal/vsock/packet"
)

// fastBacking kicks as a machine does, through eventfds.
type fastBacking struct {
	edge  chan struct{} // interrupts nobody has waited for, as one
	kicks [3]*virtio.EventFD
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

// fast is a driver that does as little as it can: buffers are laid out once, and
// only indices and headers change.
type fast struct {
	b     *testing.B
	host  *hostside.Host
	back  *fastBacking
	rx    *virtiotest.Raw
	tx    *virtiotest.Raw
	base  uint64 // of the transmit buffers
	slots []byte // memory of them
	bufs  []byte // memory of the receive buffers

	rxSeen, txSeen uint16 // used entries taken
	rxNext, txNext uint16 // available index
	hdr            packet.Header
	alloc, acked   uint32
	sent, got      uint32
	told           uint32
	answered       bool
}

const (
	fastSlot  = 128 << 10 // of a transmit buffer
	fastSlots = 32
	fastRoom  = 4096
)

func newFast(b *testing.B) *fast {
	host, err := hostside.New(hostside.Config{CID: 77})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, host.Close()) })
	span := guestmem.Span{Base: 1 << 20, Size: 64 << 20}
	mem, err := guestmem.Alloc("bench", span)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, mem.Close()) })
	f := &fast{b: b, host: host, back: &fastBacking{edge: make(chan struct{}, 1)}}
	transport := mmio.New(New(host), mem, f.back)
	b.Cleanup(transport.Close)
	d := virtiotest.NewDriver(b, virtiotest.Config{Bus: transport, Mem: mem, IRQ: virtiotest.NewIRQ(), Arena: span})
	d.Start(FeatureStream | virtiotest.FeatureEventIdx)
	f.rx, f.tx = d.Queue(queueReceive).Raw, d.Queue(queueTransmit).Raw
	at := d.Alloc(32 << 20)
	f.base = at
	f.slots, err = mem.Slice(at, fastSlots*fastSlot)
	require.NoError(b, err)
	for i := range uint16(fastSlots) {
		f.tx.SetDesc(i, virtiotest.Desc{Addr: at + uint64(i)*fastSlot, Len: packet.HeaderSize, Flags: virtiotest.DescNext, Next: fastSlots + i})
	}
	room := d.Alloc(4 << 20)
	f.bufs, err = mem.Slice(room, 2*queueSize*fastRoom)
	require.NoError(b, err)
	for i := range uint16(queueSize) {
		f.rx.SetDesc(i, virtiotest.Desc{Addr: room + 2*fastRoom*uint64(i), Len: packet.HeaderSize + fastRoom, Flags: virtiotest.DescWrite})
		f.rx.SetAvail(i, i)
	}
	f.rxNext = queueSize
	f.rx.SetAvailIdx(f.rxNext)
	return f
}

// connect connects to the host, and returns its descriptor.
func (f *fast) connect() int {
	l, err := f.host.Listen(packet.Stream, 1, 1)
	require.NoError(f.b, err)
	defer unix.Close(l)
	f.hdr = packet.Header{SrcCID: 77, DstCID: packet.HostCID, SrcPort: 5, DstPort: 1, Type: packet.Stream, BufAlloc: 256 << 10}
	f.send(packet.OpRequest, 0)
	f.wait(func() bool { return f.answered })
	fd, _, err := unix.Accept4(l, unix.SOCK_CLOEXEC)
	require.NoError(f.b, err)
	f.b.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// send sends a packet with n bytes.
func (f *fast) send(op packet.Op, n int) {
	f.wait(func() bool { return f.txNext-f.txSeen < fastSlots })
	i := f.txNext % fastSlots
	f.hdr.Op, f.hdr.Len, f.hdr.FwdCnt = op, uint32(n), f.got
	f.told = f.got
	f.hdr.Encode((*[packet.HeaderSize]byte)(f.slots[int(i)*fastSlot:]))
	f.tx.SetDesc(fastSlots+i, virtiotest.Desc{Addr: f.base + uint64(i)*fastSlot + 64, Len: uint32(n)})
	f.tx.SetAvail(f.txNext%f.tx.Size, i)
	old := f.txNext
	f.txNext++
	f.sent += uint32(n)
	f.tx.SetAvailIdx(f.txNext)
	if f.txNext-f.tx.AvailEvent()-1 < f.txNext-old {
		f.back.kicks[queueTransmit].Poke()
	}
}

// poll takes what the device has used.
func (f *fast) poll() {
	f.txSeen = f.tx.UsedIdx()
	used := f.rx.UsedIdx()
	if used == f.rxSeen {
		return
	}
	for ; f.rxSeen != used; f.rxSeen++ {
		id, n := f.rx.UsedElem(f.rxSeen % f.rx.Size)
		hdr := packet.Decode((*[packet.HeaderSize]byte)(f.bufs[int(id)*2*fastRoom:]))
		f.alloc, f.acked = hdr.BufAlloc, hdr.FwdCnt
		f.got += n - packet.HeaderSize
		f.answered = true
		f.rx.SetAvail(f.rxNext%f.rx.Size, uint16(id))
		f.rxNext++
	}
	f.rx.SetAvailIdx(f.rxNext)
	if f.rxNext-f.rx.AvailEvent()-1 < queueSize {
		f.back.kicks[queueReceive].Poke()
	}
}

// wait waits for a condition, with interrupts.
func (f *fast) wait(done func() bool) {
	for {
		if f.poll(); done() {
			return
		}
		f.rx.SetUsedEvent(f.rxSeen)
		f.tx.SetUsedEvent(f.txSeen)
		if f.poll(); done() {
			return
		}
		<-f.back.edge
	}
}

func BenchmarkGuestToHost(b *testing.B) {
	for _, size := range []int{packet.MaxPayload, 4096, 64} {
		b.Run(sizeName(size), func(b *testing.B) {
			f := newFast(b)
			fd := f.connect()
			done := make(chan int)
			go drain(fd, b.N*size, done)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				f.wait(func() bool { return int(f.alloc-(f.sent-f.acked)) >= size })
				f.send(packet.OpData, size)
			}
			<-done
			b.ReportMetric(float64(f.host.Stats().CreditUpdates)/float64(b.N), "updates/op")
		})
	}
}

func BenchmarkHostToGuest(b *testing.B) {
	for _, size := range []int{packet.MaxPayload, 4096, 64} {
		b.Run(sizeName(size), func(b *testing.B) {
			f := newFast(b)
			fd := f.connect()
			go feed(fd, b.N, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			total, left := f.got, uint64(b.N)*uint64(size)
			for left > 0 {
				f.wait(func() bool { return f.got != total })
				left -= uint64(f.got - total)
				total = f.got
				if 256<<10-(f.got-f.told) < 64<<10 {
					f.send(packet.OpCreditUpdate, 0)
				}
			}
		})
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	f := newFast(b)
	fd := f.connect()
	go func() {
		buf := make([]byte, 64)
		for {
			n, err := unix.Read(fd, buf)
			if n <= 0 || err != nil {
				return
			}
			if _, err := unix.Write(fd, buf[:n]); err != nil {
				return
			}
		}
	}()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		want := f.got + 1
		f.send(packet.OpData, 1)
		f.wait(func() bool { return f.got == want })
	}
	b.StopTimer()
	require.NoError(b, unix.Shutdown(fd, unix.SHUT_RDWR))
}

// BenchmarkSocket is the floor: the same bytes through a pair of unix sockets.
func BenchmarkSocket(b *testing.B) {
	for _, size := range []int{packet.MaxPayload, 4096, 64} {
		b.Run(sizeName(size), func(b *testing.B) {
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			require.NoError(b, err)
			done := make(chan int)
			b.SetBytes(int64(size))
			b.ResetTimer()
			go drain(fds[1], b.N*size, done)
			feed(fds[0], b.N, size)
			<-done
			_, _ = unix.Close(fds[0]), unix.Close(fds[1])
		})
	}
}

func sizeName(size int) string { return strconv.Itoa(size) }

// drain reads n bytes.
func drain(fd, n int, done chan<- int) {
	buf := make([]byte, 256<<10)
	for n > 0 {
		k, err := unix.Read(fd, buf)
		if k <= 0 || err != nil {
			break
		}
		n -= k
	}
	done <- n
}

// feed writes n times size bytes.
func feed(fd, n, size int) {
	buf := make([]byte, size)
	for range n {
		for off := 0; off < size; {
			k, err := unix.Write(fd, buf[off:])
			if err != nil {
				return
			}
			off += k
		}
	}
}
