package net

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/net/link"
)

// cut divides bytes into pieces of the given lengths, and the rest.
func cut(b, lengths []byte) (parts [][]byte) {
	for _, n := range lengths[:min(len(lengths), 100)] {
		n := min(int(n), len(b))
		if n > 0 {
			parts = append(parts, b[:n])
		}
		b = b[n:]
	}
	if len(b) > 0 {
		parts = append(parts, b)
	}
	return parts
}

// deviceFeatures makes a set of features that the device accepts out of any.
func deviceFeatures(r *rig, bits uint64) uint64 {
	f := bits & features
	for range needs { // each round at least one, if there is one
		for _, n := range needs {
			if f&n.feature != 0 && f&n.anyOf == 0 {
				f &^= n.feature
			}
		}
	}
	return f | ringFeatures&r.Offered()
}

// FuzzTransmit: whatever bytes a guest sends, in whatever pieces, the host's
// side gets the frame that a plain reading gives, or nothing where the header's
// rules are broken, which are written here once more; and the chain comes back.
func FuzzTransmit(f *testing.F) {
	all := features
	f.Add(all, []byte{}, []byte{44})
	f.Add(all, packed(link.Header{}, ethernet(testMAC, 60)), []byte{12})
	for _, c := range headerCases() {
		f.Add(c.features, packed(c.header, ethernet(testMAC, min(c.size, 2000))), []byte{1, 11, 14})
	}
	f.Fuzz(func(t *testing.T, bits uint64, raw, cuts []byte) {
		host := &fakeHost{}
		r := newRig(t, host)
		negotiated := deviceFeatures(r, bits)
		r.Start(negotiated)
		q := r.Queue(queueTransmit)
		q.Add(cut(raw, cuts), 8)
		q.Kick()
		require.Zero(t, q.Wait().Len)
		s := r.dev.Stats().Sent
		require.EqualValues(t, 1, s.Frames+s.Dropped())
		if !wellFormed(negotiated, raw) {
			require.Empty(t, host.frames())
			return
		}
		want := decode((*[hdrSize]byte)(raw))
		want.Flags &= 1
		require.Equal(t, want, host.frames()[0].Header)
		require.Equal(t, string(raw[hdrSize:]), host.frames()[0].Data)
	})
}

// wellFormed is section 5.1.6.2 as a list, for frames up to the MTU of 1500.
func wellFormed(f uint64, raw []byte) bool {
	if len(raw) < 26 || len(raw) > 12+65549 {
		return false
	}
	le, n := binary.LittleEndian, len(raw)-12
	kind, ecn, partial := raw[1]&0x7f, raw[1]&0x80 != 0, raw[0]&1 != 0
	long := map[uint8]uint64{1: 1 << 11, 4: 1 << 12, 5: 1 << 56}[kind]
	switch {
	case raw[1] == 0 && f&(1<<3) != 0 && n > 1518:
		return false
	case partial && (f&1 == 0 || int(le.Uint16(raw[6:]))+int(le.Uint16(raw[8:]))+2 > n):
		return false
	case raw[1] == 0:
		return true
	case long == 0 || f&long == 0 || !partial || le.Uint16(raw[4:]) == 0:
		return false
	}
	return !ecn || kind != 5 && f&(1<<13) != 0
}

// FuzzReceive: frames into buffers of any sizes, in any number of parts: every
// frame arrives whole, waits, or is counted as dropped, and what waits arrives
// when there is room.
func FuzzReceive(f *testing.F) {
	f.Add(true, []byte{60, 200, 14}, []byte{100, 100, 100})
	f.Add(true, []byte{255, 255}, []byte{12, 12, 1, 13, 40, 200, 30})
	f.Add(false, []byte{60, 61, 20, 255}, []byte{72, 12, 33, 250})
	f.Add(false, []byte{0, 13, 14}, []byte{26, 26})
	f.Fuzz(func(t *testing.T, mergeable bool, sizes, buffers []byte) {
		sizes, buffers = sizes[:min(len(sizes), 50)], buffers[:min(len(buffers), 100)]
		host := &fakeHost{roomEnded: make(chan struct{}, 1000)}
		r := newRig(t, host)
		bits := uint64(ringFeatures)
		if mergeable {
			bits |= FeatureMrgRxBuf
		}
		r.Start(bits)
		q := r.Queue(queueReceive)
		var frames []link.Frame
		for i, n := range sizes {
			b := ethernet(broadcast, int(n))
			frames = append(frames, link.Frame{Data: cut(b, sizes[i:])})
		}
		for _, n := range buffers {
			if n%3 == 0 && n > 13 {
				q.Add(nil, int(n)/3, int(n)-int(n)/3)
			} else {
				q.Add(nil, max(int(n), hdrSize))
			}
		}
		q.Kick()
		left := host.put(frames...)
		s := r.dev.Stats().Received
		require.EqualValues(t, len(frames)-left, s.Frames+s.Dropped())
		if left > 0 {
			for range 50 { // enough for all
				q.Add(nil, 300)
			}
			require.True(t, q.Publish(), "no kick is wanted, though frames wait")
			q.Notify()
			<-host.roomEnded
		}
		s = r.dev.Stats().Received
		require.EqualValues(t, len(frames), s.Frames+s.Dropped())
		for range s.Frames {
			data := r.receive(t).Data
			require.Equal(t, string(ethernet(broadcast, len(data))), data)
		}
	})
}

// FuzzControl: any command changes the filter or is refused, and is answered.
func FuzzControl(f *testing.F) {
	f.Add([]byte{0, 0, 0}, []byte{2})
	f.Add(append([]byte{1, 0}, table([]MAC{other}, []MAC{group, group6})...), []byte{3, 1, 9})
	f.Add([]byte{1, 1, 2, 3, 4, 5, 6, 7}, []byte{})
	f.Add([]byte{2, 0, 5, 0}, []byte{})
	f.Add([]byte{1, 0, 0xFF, 0xFF, 0xFF, 0xFF}, []byte{1})
	f.Fuzz(func(t *testing.T, raw, cuts []byte) {
		r := newRig(t, &fakeHost{})
		r.Start(allFeatures)
		q := r.Queue(queueControl)
		q.AddIndirect(append(cut(raw, cuts), []byte{0}[:0]), 1)
		q.Kick()
		u := q.Wait()
		require.Len(t, u.Data, 1)
		s := r.dev.Stats()
		require.EqualValues(t, 1, s.Commands)
		require.EqualValues(t, u.Data[0], s.Refused)
		filter := r.dev.active.filter.Load()
		require.LessOrEqual(t, len(filter.unicast.list)+len(filter.multicast.list), 2*maxAddrs)
		require.True(t, r.dev.MAC().Valid())
		frame := tagged(other, 5)
		require.Equal(t, filter.takes(&frame), filter.promiscuous || filter.mac == other || filter.unicast.has(other))
	})
}
