//go:build linux

package kvm

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBus(t *testing.T) {
	t.Parallel()
	var b bus
	low, high, top := &probe{}, &probe{}, &probe{}
	require.NoError(t, b.add("high", 0x200, 0x10, high))
	require.NoError(t, b.add("low", 0x100, 0x10, low))
	require.NoError(t, b.add("top", 1<<64-0x20, 0x10, top))
	for _, c := range []struct {
		name string
		addr uint64
		n    int
		want *probe
		off  uint64
	}{
		{"first byte", 0x100, 1, low, 0},
		{"last bytes", 0x108, 8, low, 8},
		{"crosses the end", 0x109, 8, nil, 0},
		{"just behind", 0x110, 1, nil, 0},
		{"below all", 0xff, 1, nil, 0},
		{"crosses the start", 0xff, 2, nil, 0},
		{"the next window", 0x20f, 1, high, 0xf},
		{"at the top", 1<<64 - 0x20, 4, top, 0},
		{"wraps", 1<<64 - 1, 8, nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := b.unclaimed.Load()
			p := make([]byte, c.n)
			b.read(c.addr, p)
			b.write(c.addr, p)
			if c.want == nil {
				require.Equal(t, before+2, b.unclaimed.Load())
				for _, v := range p {
					require.Equal(t, byte(0xff), v, "nobody drives the bus")
				}
				return
			}
			got := c.want.accesses()
			require.Equal(t, c.off, got[len(got)-1].off)
			require.Len(t, got[len(got)-1].data, c.n)
			require.Equal(t, byte(0x80+c.off), p[0])
		})
	}
}

func TestBusRefusesOverlap(t *testing.T) {
	t.Parallel()
	var b bus
	require.NoError(t, b.add("a", 0x100, 0x10, &probe{}))
	require.NoError(t, b.add("c", 0x200, 0x10, &probe{}))
	for _, c := range []struct {
		name       string
		base, size uint64
		ok         bool
	}{
		{"the same", 0x100, 0x10, false},
		{"inside", 0x104, 1, false},
		{"around", 0xf0, 0x200, false},
		{"over the end", 0x10f, 2, false},
		{"over the start", 0x1ff, 2, false},
		{"empty", 0x300, 0, false},
		{"wraps", 1<<64 - 1, 2, false},
		{"between", 0x110, 0xf0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := b.add("b", c.base, c.size, &probe{})
			require.Equal(t, c.ok, err == nil, "%v", err)
		})
	}
	require.Len(t, b.windows, 3)
}
