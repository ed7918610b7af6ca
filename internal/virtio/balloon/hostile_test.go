package balloon

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
)

func TestHostileInflate(t *testing.T) {
	virtiotest.HostileQueue(t, func(t *testing.T) *virtiotest.Subject {
		return &virtiotest.Subject{Driver: newRig(t, allFeatures).Driver, Queue: queueInflate, Request: pfns(0, 1, 2, 256)}
	})
}

func TestHostileDeflate(t *testing.T) {
	virtiotest.HostileQueue(t, func(t *testing.T) *virtiotest.Subject {
		return &virtiotest.Subject{Driver: newRig(t, allFeatures).Driver, Queue: queueDeflate, Request: pfns(0, 1, 2, 256)}
	})
}

func TestHostileStats(t *testing.T) {
	virtiotest.HostileQueue(t, func(t *testing.T) *virtiotest.Subject {
		r := newRig(t, allFeatures)
		return &virtiotest.Subject{
			Driver: r.Driver, Queue: queueStats, Request: append(stat(4, 1), stat(5, 2)...), Provoke: r.dev.Refresh,
		}
	})
}

func TestHostileReports(t *testing.T) {
	virtiotest.HostileQueue(t, func(t *testing.T) *virtiotest.Subject {
		return &virtiotest.Subject{Driver: newRig(t, allFeatures).Driver, Queue: queueReporting, Reply: PageSize}
	})
}

// What only a balloon can refuse. After each a reset brings it back.
func TestRefused(t *testing.T) {
	whole := uint32(virtiotest.Main.Size)
	tests := []struct {
		name string
		post func(r *rig)
	}{
		{"half a page number", func(r *rig) { r.Queue(queueInflate).Post([]byte{1, 2}, 0) }},
		{"page numbers and a half", func(r *rig) { r.Queue(queueDeflate).Post(make([]byte, 4098), 0) }},
		{"inflate with nothing but room", func(r *rig) { r.Queue(queueInflate).Post(nil, 64) }},
		{"more page numbers than anybody sends", func(r *rig) { r.Queue(queueDeflate).Post(make([]byte, MaxRequest+4), 0) }},
		{"statistics cut short", func(r *rig) { r.Queue(queueStats).Post(stat(4, 1)[:9], 0) }},
		{"statistics and a half", func(r *rig) { r.Queue(queueStats).Post(append(stat(4, 1), 1, 2, 3), 0) }},
		{"statistics without end", func(r *rig) { r.Queue(queueStats).Post(make([]byte, maxStats+statSize), 0) }},
		{"statistics of overlapping gigabytes", func(r *rig) {
			q := r.Queue(queueStats)
			for i := range uint16(queueSize) {
				d := virtiotest.Desc{Addr: virtiotest.Main.Base, Len: whole, Flags: virtiotest.DescNext, Next: i + 1}
				if i == queueSize-1 {
					d.Flags = 0
				}
				q.Raw.SetDesc(i, d)
			}
			q.Raw.Expose(0)
			q.Notify()
		}},
		{"room for statistics", func(r *rig) { r.Queue(queueStats).Post(nil, 100) }},
		{"report to be read", func(r *rig) { r.Queue(queueReporting).Post(make([]byte, PageSize), 0) }},
		{"report of nothing", func(r *rig) { r.expose(queueReporting, desc(virtiotest.Main.Base, 0)) }},
		{"report beyond memory", func(r *rig) { r.expose(queueReporting, desc(virtiotest.High.End(), PageSize)) }},
		{"report into a hole", func(r *rig) { r.expose(queueReporting, desc(virtiotest.Low.End()-PageSize, 2*PageSize)) }},
		{"report over two regions", func(r *rig) { r.expose(queueReporting, desc(virtiotest.Main.End()-PageSize, 2*PageSize)) }},
		{"report of 4 GiB", func(r *rig) { r.expose(queueReporting, desc(virtiotest.Main.Base, 1<<32-1)) }},
		{"report that wraps", func(r *rig) { r.expose(queueReporting, desc(1<<64-PageSize, 2*PageSize)) }},
		{"report of everything twice", func(r *rig) {
			r.expose(queueReporting, desc(virtiotest.Main.Base, whole), desc(virtiotest.Main.Base, whole))
		}},
		{"good report and a bad one", func(r *rig) {
			r.expose(queueReporting, desc(virtiotest.Main.Base, PageSize), desc(virtiotest.Hole, PageSize))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, allFeatures)
			r.Start(0)
			tt.post(r)
			r.WaitNeedsReset()
			require.Empty(t, r.host.take(t))
			require.Equal(t, uint64(1), r.transport.Stats().Faults)

			r.Start(ringFeatures)
			r.Queue(queueInflate).Do(pfns(3), 0)
			require.Len(t, r.host.take(t), 1)
			require.Zero(t, r.dev.Stats().Guest)
		})
	}
}

// A reset does not wait for what is left of a report: it comes between two steps.
func TestResetDuringReport(t *testing.T) {
	r := newRig(t, allFeatures)
	r.host.gate = make(chan struct{})
	r.Start(0)
	ranges := make([]virtiotest.Desc, 32)
	for i := range ranges {
		ranges[i] = desc(virtiotest.Main.Base+uint64(i)*PageSize, PageSize)
	}
	r.expose(queueReporting, ranges...)
	r.host.gate <- struct{}{} // the first is given back, the second waits
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.transport.Write(virtiotest.RegStatus, make([]byte, 4))
	}()
	for !r.dev.stopping.Load() {
		runtime.Gosched()
	}
	close(r.host.gate)
	<-done
	require.Less(t, len(r.host.take(t)), 4)
	r.Start(0)
	r.Queue(queueInflate).Do(pfns(3), 0)
	require.Len(t, r.host.take(t), 1)
}

// A12: resets at any moment of the traffic, from both sides. Run with -race.
func TestHammer(t *testing.T) {
	before := runtime.NumGoroutine()
	r := newRig(t, allFeatures)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	side := func(step func(n int)) {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
					step(n)
					runtime.Gosched()
				}
			}
		})
	}
	side(func(n int) { r.dev.SetSize(uint64(n) * PageSize) })
	side(func(int) { r.dev.Refresh(); r.dev.Stats() })
	side(func(n int) { // another vCPU
		var p [4]byte
		r.transport.Write(virtiotest.RegQueueNotify, p[:])
		r.transport.Write(virtiotest.RegConfig+uint64(n%20), p[:])
		r.transport.Read(virtiotest.RegConfig, p[:])
	})
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 300 {
		r.Start(uint64(i%2) * ringFeatures)
		for range 1 + rng.IntN(20) {
			r.Queue(queueInflate).Post(pfns(rng.Uint32(), rng.Uint32N(16), rng.Uint32N(16)), 0)
			r.Queue(queueDeflate).Post(pfns(rng.Uint32N(16)), 0)
			r.Queue(queueReporting).Post(nil, PageSize)
			r.Queue(queueStats).Post(stat(4, uint64(i)), 0)
		}
		if rng.IntN(3) == 0 {
			r.Queue(queueInflate).Wait()
			r.Queue(queueReporting).Wait()
		}
	}
	close(stop)
	wg.Wait()
	r.Start(0)
	r.Queue(queueInflate).Do(pfns(3), 0)
	r.host.take(t)
	r.transport.Close()
	for range 1_000_000 { // a worker that was joined may need a turn to be gone
		if runtime.NumGoroutine() <= before {
			return
		}
		runtime.Gosched()
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before)
}
