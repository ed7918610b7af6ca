package net

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/net/link"
	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
	"github.com/libcapsa/libcapsa/internal/virtio/virtq"
)

// newQueue is the device's side of a ring, without a device.
func newQueue(t testing.TB, mem *guestmem.Memory, raw *virtiotest.Raw) *virtq.Queue {
	t.Helper()
	q, err := virtq.New(mem, virtq.Config{
		Size: raw.Size, Desc: raw.Desc, Avail: raw.Avail, Used: raw.Used, Indirect: true, EventIdx: true,
	})
	require.NoError(t, err)
	return q
}

// sink is a network that loses everything, after it looked at each buffer.
type sink struct {
	guest  link.Guest
	seen   int
	rooms  chan struct{} // one pending at most
	frames int
}

func (s *sink) Attach(g link.Guest, _ link.Offloads) { s.guest = g }
func (s *sink) Detach()                              {}

func (s *sink) Send(frames []link.Frame) {
	for i := range frames {
		for _, d := range frames[i].Data {
			s.seen += int(d[0])
		}
	}
	s.frames += len(frames)
}

func (s *sink) Room() {
	select {
	case s.rooms <- struct{}{}:
	default:
	}
}

// The data path allocates nothing once its storage has grown.
func TestHotPathDoesNotAllocate(t *testing.T) {
	for _, features := range []uint64{allFeatures, allFeatures &^ FeatureMrgRxBuf} {
		host := &sink{rooms: make(chan struct{}, 1)}
		r := newRig(t, host)
		r.Start(features)
		filtered := *r.dev.active.filter.Load()
		filtered.promiscuous = false
		r.dev.active.filter.Store(&filtered)
		q := r.Queue(queueReceive).Raw
		for i := range q.Size {
			q.SetDesc(i, virtiotest.Desc{Addr: virtiotest.Main.Base + 4<<20 + uint64(i)*2048, Len: 1600, Flags: virtiotest.DescWrite})
			q.SetAvail(i, i)
		}
		frames := make([]link.Frame, 30)
		for i := range frames {
			frames[i] = frame(1000)
			if features&FeatureMrgRxBuf != 0 {
				frames[i] = frame(5000)
				frames[i].Header.GSOType = link.GSOTCPv4
			}
		}
		frames[7] = frame(10)
		round := func() {
			q.SetAvailIdx(q.UsedIdx() + q.Size)
			if host.guest.Receive(frames) != len(frames) {
				t.Error("no room")
			}
		}
		round()
		require.Zero(t, testing.AllocsPerRun(20, round), "receive")

		// The transmit worker's own code, on this goroutine, over a queue that
		// nobody else has.
		tx := &transmitter{}
		tx.init(r.dev.active)
		raw := virtiotest.NewRaw(t, r.mem, r.Alloc(virtiotest.RawSize(64)+4096)&^4095+4096, 64)
		queue := newQueue(t, r.mem, raw)
		data := packed(link.Header{}, ethernet(testMAC, 1000))
		at := r.Alloc(uint64(len(data)))
		require.NoError(t, r.mem.WriteAt(data, at))
		for i := range uint16(32) {
			raw.SetDesc(2*i, virtiotest.Desc{Addr: at, Len: 100, Flags: virtiotest.DescNext, Next: 2*i + 1})
			raw.SetDesc(2*i+1, virtiotest.Desc{Addr: at + 100, Len: 912})
			raw.SetAvail(i, 2*i)
			raw.SetAvail(i+32, 2*i)
		}
		round = func() {
			raw.SetAvailIdx(raw.UsedIdx() + 32)
			if n, _, err := tx.serve(queue, maxBatch); n != 32 || err != nil {
				t.Error(n, err)
			}
		}
		round()
		require.Zero(t, testing.AllocsPerRun(20, round), "transmit")
	}
}
