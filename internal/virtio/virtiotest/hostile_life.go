package virtiotest

import (
	"math"
	"runtime"

	"github.com/stretchr/testify/require"
)

// lifeRows are A12, A14 and A15: resets, kicks, events and drivers that do not do their part.
func lifeRows() []row {
	return append([]row{
		{"A12 reset while chains are in flight", func(a *attack) {
			for range 50 {
				a.start(FeatureIndirect | FeatureEventIdx)
				for a.q.Free() >= 2 {
					a.q.Add(a.readable(), a.writable()...)
				}
				a.q.Publish()
				a.kick()
			}
			a.start(0)
			require.Zero(a.t, a.r.UsedIdx(), "a completion of before the reset arrived after it")
			a.works()
		}},
		{"A12 reset storm", func(a *attack) {
			a.start(0)
			before := runtime.NumGoroutine()
			for range 200 {
				a.start(0)
				a.kick()
				for range 10 {
					a.d.SetReg(RegStatus, 0)
				}
			}
			a.start(0)
			// A worker is joined by a signal that it sends while it ends, hence a few more than before.
			require.LessOrEqual(a.t, runtime.NumGoroutine(), before+8, "goroutines pile up")
			a.works()
		}},
		{"A12 kick before DRIVER_OK", func(a *attack) {
			a.d.Negotiate(0)
			for range 100 {
				a.d.SetReg(RegQueueNotify, uint32(a.s.Queue))
			}
			require.Zero(a.t, a.d.Reg(RegInterruptStatus))
		}},
		{"A12 kick of queues that do not exist", func(a *attack) {
			a.start(0)
			for _, q := range []uint32{64, 0xFFFF, 0x10000 + uint32(a.s.Queue), math.MaxUint32} {
				a.d.SetReg(RegQueueNotify, q)
			}
			a.works()
		}},
		{"A12 kick storm", func(a *attack) {
			a.start(0)
			for range 10_000 {
				a.q.Notify()
			}
			a.works()
		}},
		{"A14 used_event is garbage", func(a *attack) {
			a.start(FeatureEventIdx)
			for _, event := range []uint16{0x8000, 0xFFFF, 1234} {
				a.r.SetUsedEvent(event)
				a.q.Post(a.s.Request, a.s.Reply)
				a.provoke()
				a.q.Wait() // asks for the interrupt properly
			}
		}},
		{"A14 the device's own fields are overwritten", func(a *attack) {
			a.start(FeatureEventIdx)
			for off := uint64(0); off < 4+8*uint64(a.r.Size)+2; off += 2 {
				require.NoError(a.t, a.d.Mem().Store16(a.r.Used+off, 0xA5A5))
			}
			a.expose(a.request(0, a.d.Alloc)...)
			a.kick()
		}},
	}, idleRows()...)
}

// readable and writable are the buffers of a correct request.
func (a *attack) readable() [][]byte {
	if len(a.s.Request) == 0 {
		return nil
	}
	return [][]byte{a.s.Request}
}

func (a *attack) writable() []int {
	if a.s.Reply == 0 {
		return nil
	}
	return []int{a.s.Reply}
}

// idleRows are A15.
func idleRows() []row {
	return []row{
		{"A15 no buffers at all", func(a *attack) {
			a.start(0)
			for range 100 {
				a.kick()
			}
			require.Zero(a.t, a.r.UsedIdx(), "the device used what nobody posted")
		}},
		{"A15 a full ring that is never reaped", func(a *attack) {
			a.start(0)
			heads := a.oneByteChains()
			a.r.Expose(heads...)
			a.usedOrRefused(a.r.Size)
			require.LessOrEqual(a.t, a.r.UsedIdx(), a.r.Size, "the device used more than was posted")
		}},
		{"A15 65536 chains of one byte", func(a *attack) {
			a.start(0)
			heads := a.oneByteChains()
			for n := 0; n < 1<<16; n += len(heads) {
				a.r.Expose(heads...)
				a.usedOrRefused(a.r.AvailIdx())
				if a.d.needsReset() {
					return // too short for this device's requests
				}
			}
			require.Zero(a.t, a.r.UsedIdx(), "the used index did not wrap")
		}},
	}
}

// oneByteChains writes a chain of one byte to each descriptor.
func (a *attack) oneByteChains() []uint16 {
	b := a.buffer()
	b.Len = 1
	heads := make([]uint16, a.r.Size)
	for i := range heads {
		heads[i] = uint16(i)
		a.r.SetDesc(uint16(i), b)
	}
	return heads
}
