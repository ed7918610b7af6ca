package blk

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
)

func TestHostile(t *testing.T) {
	for _, c := range []struct {
		name    string
		request []byte
		reply   int
		queue   int
	}{
		{"read", header(typeIn, 1), 513, 0},
		{"write", append(header(typeOut, 1), make([]byte, 512)...), 1, 1},
		{"flush", header(typeFlush, 0), 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			virtiotest.HostileQueue(t, func(t *testing.T) *virtiotest.Subject {
				r := newRig(t, newFakeDisk(64), Config{Queues: 2})
				return &virtiotest.Subject{Driver: r.Driver, Queue: c.queue, Request: c.request, Reply: c.reply}
			})
		})
	}
}

// Everything at once: requests of all kinds at depth, statistics read, limits
// changed and the device reset under it. What was acknowledged is there.
func TestHammer(t *testing.T) {
	const area = 16 // sectors of each slot
	disk := newFakeDisk(slots * area)
	r := newRig(t, disk, Config{})
	batches := make(chan uint64, 1000)
	var others sync.WaitGroup
	others.Go(func() {
		for i := range batches {
			_ = r.dev.Stats()
			r.dev.SetLimit(Limit{IOPS: i % 2 * 1e9})
		}
	})
	rnd := rand.New(rand.NewPCG(1, 2))
	for round := range 6 {
		r.start([]uint64{allFeatures, 0}[round%2])
		want := make([]byte, slots)
		for i := range want {
			want[i] = byte(round*17 + i)
		}
		for batch := range uint64(10) {
			batches <- batch
			var all []*pending
			for slot := range uint64(slots) {
				switch rnd.IntN(4) {
				case 0:
					all = append(all, r.add(typeIn, slot*area, nil, 512*(1+rnd.IntN(area/4))))
				case 1:
					all = append(all, r.add(typeFlush, 0, nil, 0))
				default:
					b := make([]byte, 512*(1+rnd.IntN(area/4)))
					for i := range b {
						b[i] = want[slot]
					}
					all = append(all, r.add(typeOut, slot*area, b, 0))
				}
			}
			r.Queue(0).Notify()
			for _, p := range all {
				r.wait(p)
			}
		}
		for slot := range slots {
			r.ok(typeOut, uint64(slot*area), []byte{512: 0}[:512], 0)
			require.Equal(t, make([]byte, 512), r.ok(typeIn, uint64(slot*area), nil, 512))
		}
		for range slots / 2 {
			r.post(typeIn, 0, nil, 512)
		}
	}
	close(batches)
	others.Wait()
	r.transport.Close()
	require.EqualValues(t, 1, disk.closed.Load())
	require.Zero(t, disk.inside.Load())
}
