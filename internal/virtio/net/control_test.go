package net

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/net/link"
	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
)

// command runs one command and returns what the device answers.
func (r *rig) command(t *testing.T, class, cmd byte, data ...byte) byte {
	t.Helper()
	ack := r.Queue(queueControl).Do(append([]byte{class, cmd}, data...), 1)
	require.Len(t, ack, 1)
	return ack[0]
}

// table is the data of MAC_TABLE_SET: as many entries as said, or as there are.
func table(unicast, multicast []MAC) []byte {
	var b []byte
	for _, list := range [][]MAC{unicast, multicast} {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(list)))
		for _, m := range list {
			b = append(b, m[:]...)
		}
	}
	return b
}

var (
	other  = MAC{2, 0, 0, 0, 0, 9}
	group  = MAC{1, 0, 0x5e, 0, 0, 1}
	group6 = MAC{0x33, 0x33, 0, 0, 0, 1}
)

// tagged is a frame of a VLAN.
func tagged(dst MAC, id uint16) link.Frame {
	b := ethernet(dst, 64)
	copy(b[12:], []byte{0x81, 0x00, byte(id >> 8), byte(id)})
	return link.Frame{Data: [][]byte{b[:3], b[3:13], b[13:15], b[15:]}}
}

// takes says which of some frames reach the driver.
func (r *rig) takes(t *testing.T, host *fakeHost, frames ...link.Frame) (taken []bool) {
	t.Helper()
	for _, f := range frames {
		before := r.dev.Stats().Received
		require.Zero(t, host.put(f))
		after := r.dev.Stats().Received
		require.EqualValues(t, 1, after.Frames-before.Frames+after.Filtered-before.Filtered)
		taken = append(taken, after.Frames > before.Frames)
	}
	return taken
}

func (r *rig) manyBuffers() {
	q := r.Queue(queueReceive)
	for range 500 {
		q.Add(nil, 80)
	}
	q.Kick()
}

func TestAddressFilter(t *testing.T) {
	host := &fakeHost{}
	r := newRig(t, host)
	r.Start(allFeatures)
	r.manyBuffers()
	var frames []link.Frame
	for _, dst := range []MAC{testMAC, other, broadcast, group, group6} {
		frames = append(frames, link.Frame{Data: [][]byte{ethernet(dst, 60)}})
	}
	const yes, no = true, false
	check := func(what string, want ...bool) {
		t.Helper()
		require.Equal(t, want, r.takes(t, host, frames...), what)
	}
	check("before the first command", yes, yes, yes, yes, yes)
	require.Zero(t, r.command(t, 0, 0, 0))
	check("not promiscuous", yes, no, yes, no, no)
	require.Zero(t, r.command(t, 0, 1, 1))
	check("all groups", yes, no, yes, yes, yes)
	require.Zero(t, r.command(t, 0, 1, 0))
	require.Zero(t, r.command(t, 1, 0, table([]MAC{other}, []MAC{group6})...))
	check("tables", yes, yes, yes, no, yes)
	require.Zero(t, r.command(t, 1, 0, table(nil, nil)...))
	check("empty tables", yes, no, yes, no, no)
	require.Zero(t, r.command(t, 1, 0, table(make([]MAC, maxAddrs+1), nil)...))
	check("too many stations", yes, yes, yes, no, no)
	require.Zero(t, r.command(t, 1, 0, table(make([]MAC, maxAddrs), make([]MAC, maxAddrs+1))...))
	check("too many groups", yes, no, yes, yes, yes)
	require.Zero(t, r.command(t, 0, 0, 1))
	check("promiscuous", yes, yes, yes, yes, yes)
	require.Zero(t, r.command(t, 0, 0, 0))

	// A new address, which a reset takes back.
	generation := r.Reg(virtiotest.RegConfigGen)
	require.Zero(t, r.command(t, 1, 1, other[:]...))
	check("new address", no, yes, yes, yes, yes)
	require.Equal(t, other[:], r.ReadConfig(offMAC, 6))
	require.Equal(t, other, r.dev.MAC())
	require.NotEqual(t, generation, r.Reg(virtiotest.RegConfigGen))
	r.Start(allFeatures)
	require.Equal(t, testMAC[:], r.ReadConfig(offMAC, 6))
	r.manyBuffers()
	check("after a reset", yes, yes, yes, yes, yes)

	s := r.dev.Stats()
	require.EqualValues(t, 10, s.Commands)
	require.Zero(t, s.Refused)
}

func TestVLANFilter(t *testing.T) {
	host := &fakeHost{}
	r := newRig(t, host)
	const yes, no = true, false
	frames := []link.Frame{tagged(testMAC, 5), tagged(testMAC, 0xE000|4095), tagged(testMAC, 0xE000), frame(60), tagged(other, 5), frame(14)}
	check := func(what string, want ...bool) {
		t.Helper()
		require.Equal(t, want, r.takes(t, host, frames...), what)
	}
	r.Start(allFeatures)
	r.manyBuffers()
	check("promiscuous", yes, yes, yes, yes, yes, yes)
	require.Zero(t, r.command(t, 0, 0, 0))
	check("none wanted", no, no, yes, yes, no, yes)
	require.Zero(t, r.command(t, 2, 0, 5, 0))
	check("one wanted", yes, no, yes, yes, no, yes)
	require.Zero(t, r.command(t, 2, 0, 0xFF, 0x0F))
	check("two wanted", yes, yes, yes, yes, no, yes)
	require.Zero(t, r.command(t, 2, 1, 5, 0))
	check("one left", no, yes, yes, yes, no, yes)

	r.Start(allFeatures &^ FeatureCtrlVLAN)
	r.manyBuffers()
	require.Zero(t, r.command(t, 0, 0, 0))
	check("not negotiated", yes, yes, yes, yes, no, yes)
}

// Commands that make no sense are answered with an error and change nothing.
func TestControlRefuses(t *testing.T) {
	short := table([]MAC{other}, []MAC{group})
	huge := binary.LittleEndian.AppendUint32(nil, 0xFFFF_FFFF)
	for _, tt := range []struct {
		name     string
		features uint64
		request  []byte
	}{
		{"nothing", allFeatures, []byte{0}},
		{"unknown class", allFeatures, []byte{9, 0, 1}},
		{"unknown command", allFeatures, []byte{0, 2, 1}},
		{"on or off is missing", allFeatures, []byte{0, 0}},
		{"RX not negotiated", allFeatures &^ FeatureCtrlRx, []byte{0, 0, 0}},
		{"no table", allFeatures, []byte{1, 0}},
		{"half a count", allFeatures, []byte{1, 0, 1, 0, 0}},
		{"tables cut short", allFeatures, append([]byte{1, 0}, short[:len(short)-1]...)},
		{"one table", allFeatures, append([]byte{1, 0}, short[:10]...)},
		{"very many entries", allFeatures, append([]byte{1, 0}, huge...)},
		{"very many in the second", allFeatures, append([]byte{1, 0, 0, 0, 0, 0}, huge...)},
		{"tables not negotiated", allFeatures &^ FeatureCtrlRx, append([]byte{1, 0}, short...)},
		{"address cut short", allFeatures, []byte{1, 1, 2, 0, 0, 0, 0}},
		{"group as an address", allFeatures, append([]byte{1, 1}, group[:]...)},
		{"zero as an address", allFeatures, append([]byte{1, 1}, make([]byte, 6)...)},
		{"address not negotiated", allFeatures &^ FeatureCtrlMACAddr, append([]byte{1, 1}, other[:]...)},
		{"VLAN 4096", allFeatures, []byte{2, 0, 0, 0x10}},
		{"VLAN cut short", allFeatures, []byte{2, 0, 1}},
		{"unknown VLAN command", allFeatures, []byte{2, 2, 1, 0}},
		{"VLAN not negotiated", allFeatures &^ FeatureCtrlVLAN, []byte{2, 0, 1, 0}},
		{"announcement", allFeatures, []byte{3, 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, &fakeHost{})
			r.Start(tt.features)
			before := *r.dev.active.filter.Load()
			require.Equal(t, []byte{ctrlErr}, r.Queue(queueControl).Do(tt.request, 4))
			require.Equal(t, before, *r.dev.active.filter.Load())
			require.Equal(t, testMAC, r.dev.MAC())
			require.EqualValues(t, 1, r.dev.Stats().Refused)
		})
	}
}

// No room for an answer: there is none.
func TestControlWithoutRoom(t *testing.T) {
	r := newRig(t, &fakeHost{})
	r.Start(allFeatures)
	require.Empty(t, r.Queue(queueControl).Do([]byte{0, 1, 1}, 0))
	require.True(t, r.dev.active.filter.Load().allMulti)
}

// Without CTRL_VQ the queue is nobody's.
func TestControlNotNegotiated(t *testing.T) {
	r := newRig(t, &fakeHost{})
	r.Start(ringFeatures)
	q := r.Queue(queueControl)
	q.Post([]byte{0, 0, 0}, 1)
	r.Queue(queueTransmit).Do(packed(link.Header{}, ethernet(testMAC, 60)), 0)
	_, ok := q.Reap()
	require.False(t, ok)
}
