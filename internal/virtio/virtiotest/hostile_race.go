package virtiotest

import (
	"bytes"
	"sync"

	"github.com/stretchr/testify/require"
)

const (
	raceRounds = 300
	guard      = 64 // bytes beside each candidate buffer that nobody may touch
)

// raceRows are A13: the guest rewrites what the device is reading.
func raceRows() []row {
	return []row{
		{"A13 buffer moves between two good places", racePlaces},
		{"A13 buffer moves between RAM and nowhere", func(a *attack) {
			a.race(func() Desc { return Desc{Addr: Hole, Len: bufferSize, Flags: a.direction()} })
		}},
		{"A13 descriptor becomes an indirect one", func(a *attack) {
			a.race(func() Desc {
				addr := a.d.Alloc(bufferSize)
				a.r.SetTable(addr, a.buffer())
				return Desc{Addr: addr, Len: descSize, Flags: DescIndirect}
			})
		}},
		{"A13 descriptor becomes a loop", func(a *attack) {
			a.race(func() Desc { return a.linked(1, 0)[0] })
		}},
	}
}

// flip calls write with 0 and 1 in turns, on a goroutine of its own, until the function it returns is called.
func flip(write func(i int)) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i ^= 1 {
			select {
			case <-done:
				return
			default:
				write(i)
			}
		}
	})
	return func() { close(done); wg.Wait() }
}

// racePlaces flips the last buffer's address and length between two good ones: every round is served, and nothing but the two
// buffers is written.
func racePlaces(a *attack) {
	a.start(0)
	descs := a.request(0, a.d.Alloc)
	last := uint16(len(descs) - 1)
	a.expose(descs...)
	size := uint64(descs[last].Len)
	areas, places := make([]uint64, 2), make([]Desc, 2)
	for i := range areas {
		areas[i] = a.d.Alloc(size + 2*guard)
		require.NoError(a.t, a.d.Mem().WriteAt(bytes.Repeat([]byte{0xEE}, int(size)+2*guard), areas[i]))
		places[i] = descs[last]
		places[i].Addr = areas[i] + guard
		if len(a.s.Request) > 0 && last == 0 {
			require.NoError(a.t, a.d.Mem().WriteAt(a.s.Request, places[i].Addr))
		}
	}
	a.r.SetDesc(last, places[0])
	mem, at := a.d.Mem(), a.r.Desc+descSize*uint64(last)
	stop := flip(func(i int) { _ = WriteDescs(mem, at, places[i]) })
	defer stop()
	for n := uint16(1); n <= raceRounds; n++ {
		if n > 1 {
			a.r.Expose(0)
		}
		a.served(n)
	}
	for _, area := range areas {
		for _, g := range []uint64{area, area + guard + size} {
			b := make([]byte, guard)
			require.NoError(a.t, mem.ReadAt(b, g))
			require.Equal(a.t, bytes.Repeat([]byte{0xEE}, guard), b, "bytes beside the buffers were written")
		}
	}
}

// race flips the request's last descriptor between itself and a bad one until the device refuses, or long enough.
func (a *attack) race(build func() Desc) {
	a.start(FeatureIndirect)
	bad := build()
	descs := a.request(0, a.d.Alloc)
	last := uint16(len(descs) - 1)
	if bad.Flags&DescNext != 0 {
		bad.Next = last
	}
	both := []Desc{descs[last], bad}
	mem, at := a.d.Mem(), a.r.Desc+descSize*uint64(last)
	for i, d := range descs {
		a.r.SetDesc(uint16(i), d)
	}
	stop := flip(func(i int) { _ = WriteDescs(mem, at, both[i]) })
	defer stop()
	for n := uint16(1); n <= raceRounds && !a.d.needsReset(); n++ {
		a.r.Expose(0)
		a.usedOrRefused(n)
	}
}
