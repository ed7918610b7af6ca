package blk

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
)

// crew is the number of workers of queue 0.
func (r *rig) crew() int {
	q := r.dev.queues[0]
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.workers
}

// As many requests are in the backend as the driver has in flight: with
// requests of 1 ms, n of them at depth d take n/d ms of the bubble's clock,
// and a little more while the crew grows.
func TestDepth(t *testing.T) {
	for _, depth := range []int{1, 2, 3, 8, 32} {
		t.Run(fmt.Sprint(depth), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const n = 320
				disk := newFakeDisk(8)
				disk.hook = func(op string, _, _ uint64) error {
					if op == "read" {
						time.Sleep(time.Millisecond)
					}
					return nil
				}
				r := newRig(t, disk, Config{}).start(allFeatures)
				began := time.Now()
				var flight []*pending
				for range n {
					if len(flight) == depth {
						r.wait(flight[0])
						flight = flight[1:]
					}
					flight = append(flight, r.post(typeIn, 0, nil, 512))
				}
				for _, p := range flight {
					r.wait(p)
				}
				took := time.Since(began)
				require.LessOrEqual(t, took, time.Duration(n/depth)*time.Millisecond*5/4+10*time.Millisecond)
				require.EqualValues(t, depth, disk.most.Load())
				synctest.Wait() // for those that are on their way out
				require.LessOrEqual(t, r.crew(), maxIdle+1, "the crew shrinks")
				r.transport.Close()
			})
		})
	}
}

// Alone, a request is served by the queue's only worker.
func TestDepthOneNeedsOneWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // requests take no time of the bubble's clock
		r := newRig(t, newFakeDisk(8), Config{}).start(allFeatures)
		for range 300 {
			r.ok(typeIn, 0, nil, 512)
		}
		for range 10 {
			for range slots {
				r.add(typeIn, 0, nil, 512)
			}
			r.Queue(0).Notify()
			r.until("all", func() bool { return len(r.open) == 0 })
		}
		require.Equal(t, 1, r.crew())
		r.transport.Close()
	})
}

// The crew has a bound, and the ring waits beyond it.
func TestCrewIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk, gate := newFakeDisk(8), make(chan struct{})
		disk.hook = func(op string, _, _ uint64) error {
			if op == "flush" {
				<-gate
			}
			return nil
		}
		r := newRig(t, disk, Config{}).start(allFeatures)
		q := r.Queue(0)
		for range 100 {
			q.Post(header(typeFlush, 0), 1)
		}
		time.Sleep(time.Second)
		require.EqualValues(t, maxCrew, disk.most.Load())
		require.NotZero(t, r.dev.Stats().Stalls)
		require.EqualValues(t, maxCrew-1, helpers.Load())
		close(gate)
		for range 100 {
			require.Equal(t, []byte{statusOK}, q.Wait().Data)
		}
		require.EqualValues(t, maxCrew, disk.most.Load())
		r.transport.Close()
		require.Zero(t, helpers.Load())
	})
}

// What takes long does not hold up what does not, and ends later.
func TestQuickOvertakesSlow(t *testing.T) {
	for _, c := range []struct {
		name string
		slow uint32
	}{{"flush", typeFlush}, {"read that was taken for quick", typeIn}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				gate, stuck := make(chan struct{}), false
				disk := newFakeDisk(64)
				disk.hook = func(op string, off, _ uint64) error {
					if op == "flush" || off == 8*SectorSize {
						stuck = true
						<-gate
					}
					return nil
				}
				r := newRig(t, disk, Config{}).start(allFeatures)
				for range 100 {
					r.ok(typeIn, 0, nil, 512)
				}
				began := time.Now()
				slow := r.post(c.slow, 8, nil, 512*int(1-c.slow/typeFlush))
				synctest.Wait()
				require.True(t, stuck)
				for i := range 100 {
					require.Equal(t, disk.bytes(i%8, 1), r.ok(typeIn, uint64(i%8), nil, 512))
				}
				require.LessOrEqual(t, time.Since(began), 2*patience)
				require.False(t, slow.done)
				close(gate)
				require.EqualValues(t, statusOK, r.wait(slow).code)
				r.transport.Close()
			})
		})
	}
}

// No timer is left when there is nothing to do: the bubble's clock would fire
// it, and its time would move.
func TestIdleDiskHasNoTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFakeDisk(8), Config{Limit: Limit{IOPS: 1000}}).start(allFeatures)
		for range 500 {
			r.ok(typeIn, 0, nil, 512)
		}
		time.Sleep(time.Hour)
		q := r.dev.queues[0]
		q.mu.Lock()
		require.False(t, q.armed)
		require.Equal(t, q.workers, len(q.idle)+1)
		q.mu.Unlock()
		r.transport.Close()
	})
}

// gated is a disk whose reads wait.
func gated() (disk *fakeDisk, entered, gate chan struct{}) {
	disk, entered, gate = newFakeDisk(64), make(chan struct{}, slots), make(chan struct{})
	disk.hook = func(op string, _, _ uint64) error {
		if op == "read" {
			entered <- struct{}{}
			<-gate
		}
		return nil
	}
	return disk, entered, gate
}

// A reset waits for what is in the backend, since that writes to guest memory,
// and the driver sees nothing of it afterwards.
func TestResetDuringIO(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk, entered, gate := gated()
		r := newRig(t, disk, Config{}).start(allFeatures)
		ring := r.ring
		for range 10 {
			r.post(typeIn, 0, nil, 512)
			<-entered
		}
		reset := make(chan struct{})
		go func() {
			r.SetReg(virtiotest.RegStatus, 0)
			close(reset)
		}()
		synctest.Wait()
		select {
		case <-reset:
			t.Fatal("reset did not wait")
		default:
		}
		close(gate)
		<-reset
		require.Zero(t, ring.UsedIdx())
		require.Zero(t, r.Reg(virtiotest.RegInterruptStatus))
		require.Zero(t, disk.inside.Load())
		require.Zero(t, r.dev.Stats().Requests)
		disk.hook = nil
		r.start(allFeatures)
		require.Equal(t, disk.bytes(1, 1), r.ok(typeIn, 1, nil, 512))
		r.transport.Close()
	})
}

// A long request ends at the next piece when the queue stops.
func TestResetDuringLongRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pieces, entered, gate := 0, make(chan struct{}), make(chan struct{})
		disk := &bigDisk{size: 1 << 40}
		disk.hook = func(op string, _, _ uint64) error {
			if op == "discard" {
				if pieces++; pieces == 1 {
					close(entered)
				}
				<-gate
			}
			return nil
		}
		r := newRig(t, nil, Config{Backend: disk}).start(allFeatures)
		r.post(typeDiscard, 0, ranges(segment{0, maxRange, 0}, segment{0, maxRange, 0}), 0)
		<-entered
		go r.SetReg(virtiotest.RegStatus, 0)
		synctest.Wait()
		close(gate)
		synctest.Wait()
		require.Zero(t, r.Status())
		require.Equal(t, 1, pieces)
		r.transport.Close()
	})
}

// A machine can end while its disk's storage does not answer. Guest memory
// and the backend are let go when it does.
func TestAbandon(t *testing.T) {
	for _, during := range []string{"reset", "close"} {
		t.Run(during, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk, entered, gate := gated()
				r := newRig(t, disk, Config{}).start(allFeatures)
				r.post(typeIn, 0, nil, 512)
				<-entered
				ended := false
				go func() {
					if during == "reset" {
						r.SetReg(virtiotest.RegStatus, 0)
					} else {
						r.transport.Close()
					}
					ended = true
				}()
				synctest.Wait()
				require.False(t, ended)
				r.dev.Abandon()
				synctest.Wait()
				require.True(t, ended)
				r.transport.Close()
				require.Zero(t, disk.closed.Load(), "a request is in it")
				require.NoError(t, r.mem.Close())
				close(gate)
				synctest.Wait()
				require.EqualValues(t, 1, disk.closed.Load())
				require.Zero(t, r.dev.Stats().Requests)
			})
		})
	}
}

// A backend that does not come back from Close is left behind.
func TestCloseHasAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk, gate := newFakeDisk(8), make(chan struct{})
		disk.hook = func(string, uint64, uint64) error {
			<-gate
			return nil
		}
		r := newRig(t, disk, Config{})
		began := time.Now()
		r.transport.Close()
		require.Equal(t, closeGrace, time.Since(began))
		close(gate)
	})
}

// A backend that panics fails its device, once, and a reset recovers it.
func TestPanic(t *testing.T) {
	before := safe.Panics()
	disk := newFakeDisk(64)
	disk.hook = func(_ string, off, _ uint64) error {
		if off == 8*SectorSize {
			panic("BUG: test")
		}
		return nil
	}
	r := newRig(t, disk, Config{})
	for i := range 4 {
		r.start(allFeatures)
		for range 8 {
			r.add(typeIn, 0, nil, 512)
		}
		r.post(typeIn, 8, nil, 512)
		r.WaitNeedsReset()
		require.EqualValues(t, i+1, r.transport.Stats().Faults)
	}
	require.Equal(t, before+4, safe.Panics())
	r.start(0)
	r.ok(typeIn, 0, nil, 512)
}

func TestSeveralQueues(t *testing.T) {
	r := newRig(t, newFakeDisk(64), Config{Queues: 4})
	r.Start(allFeatures)
	for i := range 40 {
		q := r.Queue(i % 4)
		require.Equal(t, append(r.disk.bytes(i, 1), statusOK), q.Do(header(typeIn, uint64(i)), 513))
	}
	require.EqualValues(t, 40, r.dev.Stats().Requests)
	// A driver that knows one queue only.
	r.Negotiate(0)
	r.SetupQueue(0, 64)
	r.Go()
	require.NotEmpty(t, r.Queue(0).Do(header(typeIn, 0), 513))
}

// Memory that is closed is a refusal and not the end.
func TestActivateWithoutMemory(t *testing.T) {
	disk := newFakeDisk(8)
	r := newRig(t, disk, Config{Queues: 2})
	require.NoError(t, r.mem.Close())
	r.AddStatus(virtiotest.StatusAcknowledge)
	r.AddStatus(virtiotest.StatusDriver)
	r.WriteFeatures(virtiotest.FeatureVersion1)
	r.AddStatus(virtiotest.StatusFeaturesOK)
	r.AddStatus(virtiotest.StatusDriverOK)
	require.NotZero(t, r.Status()&virtiotest.StatusNeedsReset)
	r.transport.Close()
	require.EqualValues(t, 1, disk.closed.Load())
}
