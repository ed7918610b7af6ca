package net

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/net/link"
	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
)

// A header in one piece, in many, with the frame behind it or apart.
func TestTransmit(t *testing.T) {
	data := ethernet(testMAC, 60)
	whole := packed(link.Header{}, data)
	for _, cuts := range [][]int{{}, {12}, {1}, {11, 13}, {5, 12, 26, 27}, {71}} {
		host := &fakeHost{}
		r := newRig(t, host)
		r.Start(allFeatures)
		q := r.Queue(queueTransmit)
		var parts [][]byte
		rest, at := whole, 0
		for _, cut := range cuts {
			parts = append(parts, rest[:cut-at])
			rest, at = rest[cut-at:], cut
		}
		parts = append(parts, rest)
		q.Add(parts)
		q.Kick()
		q.Wait()
		q.AddIndirect(parts, 16) // a writable buffer is left alone
		q.Kick()
		u := q.Wait()
		require.Zero(t, u.Len)
		frames := host.frames()
		require.Len(t, frames, 2)
		require.Equal(t, frames[0], frames[1])
		require.Equal(t, string(data), frames[0].Data)
		require.Equal(t, Direction{Frames: 2, Bytes: 120}, r.dev.Stats().Sent)
		require.EqualValues(t, 120, r.transport.Stats().Bytes)
		require.EqualValues(t, 2, r.transport.Stats().Requests)
	}
}

// The bytes of a header, from the specification.
func TestHeaderGolden(t *testing.T) {
	raw := [hdrSize]byte{1, 0x81, 0x36, 0x00, 0xb4, 0x05, 0x22, 0x00, 0x10, 0x00, 0x03, 0x02}
	h := link.Header{Flags: link.NeedsChecksum, GSOType: link.GSOTCPv4 | link.GSOECN, HdrLen: 54, GSOSize: 1460, CSumStart: 34, CSumOffset: 16}
	require.Equal(t, h, decode(&raw))
	var b [hdrSize]byte
	encode(&b, &h, 0x0203)
	require.Equal(t, raw, b)
}

type headerCase struct {
	name     string
	features uint64
	header   link.Header
	size     int
	want     drop
}

// F1: what is in the header, and how long the frame is.
func headerCases() []headerCase {
	tso := func(kind uint8) link.Header {
		return link.Header{Flags: link.NeedsChecksum, GSOType: kind, HdrLen: 54, GSOSize: 1448, CSumStart: 34, CSumOffset: 16}
	}
	with := func(h link.Header, change func(*link.Header)) link.Header {
		change(&h)
		return h
	}
	sum := link.Header{Flags: link.NeedsChecksum, CSumStart: 34, CSumOffset: 16}
	const all = features
	return []headerCase{
		{"empty", all, link.Header{}, 0, dropShort},
		{"13 bytes", all, link.Header{}, 13, dropShort},
		{"14 bytes", all, link.Header{}, 14, dropNone},
		{"MTU", all, link.Header{}, 1514, dropNone},
		{"MTU and a tag", all, link.Header{}, 1518, dropNone},
		{"more than the MTU", all, link.Header{}, 1519, dropLong},
		{"more than the MTU, which was not negotiated", all &^ FeatureMTU, link.Header{}, 9014, dropNone},
		{"as long as can be", all, tso(link.GSOTCPv4), link.MaxFrame, dropNone},
		{"longer than can be", all, tso(link.GSOTCPv4), link.MaxFrame + 1, dropLong},
		{"longer than can be, no MTU", all &^ FeatureMTU, link.Header{}, link.MaxFrame + 1, dropLong},
		{"very long", all, tso(link.GSOTCPv4), 1 << 20, dropLong},
		{"unknown flags", all, link.Header{Flags: 0xFE}, 60, dropNone},
		{"checksum", all, sum, 60, dropNone},
		{"checksum not negotiated", 0, sum, 60, dropHeader},
		{"checksum in the last bytes", all, sum, 52, dropNone},
		{"checksum half outside", all, sum, 51, dropHeader},
		{"checksum starts outside", all, with(sum, func(h *link.Header) { h.CSumStart = 60 }), 60, dropHeader},
		{"checksum far outside", all, with(sum, func(h *link.Header) { h.CSumStart, h.CSumOffset = 0xFFFF, 0xFFFF }), 60, dropHeader},
		{"checksum offsets that wrap around", all, with(sum, func(h *link.Header) { h.CSumStart, h.CSumOffset = 0xFFF0, 0x10 }), 60, dropHeader},
		{"garbage without the flag", all, link.Header{HdrLen: 0xFFFF, GSOSize: 0xFFFF, CSumStart: 0xFFFF, CSumOffset: 0xFFFF}, 60, dropNone},
		{"TSO4", all, tso(link.GSOTCPv4), 4000, dropNone},
		{"TSO6", all, tso(link.GSOTCPv6), 4000, dropNone},
		{"USO", all, tso(link.GSOUDPL4), 4000, dropNone},
		{"TSO4 with ECN", all, tso(link.GSOTCPv4 | link.GSOECN), 4000, dropNone},
		{"TSO6 with ECN", all, tso(link.GSOTCPv6 | link.GSOECN), 4000, dropNone},
		{"USO with ECN", all, tso(link.GSOUDPL4 | link.GSOECN), 4000, dropHeader},
		{"ECN alone", all, tso(link.GSOECN), 1000, dropHeader},
		{"TSO4 not negotiated", all &^ FeatureHostTSO4, tso(link.GSOTCPv4), 4000, dropHeader},
		{"TSO6 not negotiated", all &^ FeatureHostTSO6, tso(link.GSOTCPv6), 4000, dropHeader},
		{"USO not negotiated", all &^ FeatureHostUSO, tso(link.GSOUDPL4), 4000, dropHeader},
		{"ECN not negotiated", all &^ FeatureHostECN, tso(link.GSOTCPv4 | link.GSOECN), 4000, dropHeader},
		{"UFO", all, tso(3), 4000, dropHeader},
		{"unknown kind", all, tso(2), 4000, dropHeader},
		{"segments of no bytes", all, with(tso(link.GSOTCPv4), func(h *link.Header) { h.GSOSize = 0 }), 4000, dropHeader},
		{"TSO4 without a checksum", all, with(tso(link.GSOTCPv4), func(h *link.Header) { h.Flags = 0 }), 4000, dropHeader},
	}
}

func TestTransmitHeaders(t *testing.T) {
	for _, tt := range headerCases() {
		t.Run(tt.name, func(t *testing.T) {
			host := &fakeHost{}
			r := newRig(t, host)
			r.Start(tt.features | ringFeatures)
			r.Queue(queueTransmit).Do(packed(tt.header, ethernet(testMAC, tt.size)), 0)
			s := r.dev.Stats().Sent
			if tt.want != dropNone {
				require.Empty(t, host.frames())
				var want Direction
				*[]*uint64{dropShort: &want.Short, dropLong: &want.Long, dropHeader: &want.Header}[tt.want] = 1
				require.Equal(t, want, s)
				require.EqualValues(t, 1, s.Dropped())
				return
			}
			want := tt.header
			want.Flags &= link.NeedsChecksum
			require.Equal(t, want, host.frames()[0].Header)
			require.Len(t, host.frames()[0].Data, tt.size)
			require.Zero(t, s.Dropped())
		})
	}
}

// F1: chains shorter than a header, and longer than anything.
func TestTransmitRunts(t *testing.T) {
	host := &fakeHost{}
	r := newRig(t, host)
	r.Start(allFeatures)
	q := r.Queue(queueTransmit)
	q.Do([]byte{0}, 0)
	q.Do(make([]byte, hdrSize-1), 0)
	q.Do(make([]byte, hdrSize), 0)
	q.Do(nil, 100) // nothing to read at all
	require.EqualValues(t, 4, r.dev.Stats().Sent.Short)

	// 2 GiB that are a few bytes many times.
	table := make([]virtiotest.Desc, 1000)
	for i := range table {
		table[i] = virtiotest.Desc{Addr: virtiotest.Main.Base, Len: 2 << 20, Flags: virtiotest.DescNext, Next: uint16(i + 1)}
	}
	table[len(table)-1].Flags = 0
	at := r.Alloc(uint64(16 * len(table)))
	q.Raw.SetTable(at, table...)
	q.Raw.SetDesc(0, virtiotest.Desc{Addr: at, Len: uint32(16 * len(table)), Flags: virtiotest.DescIndirect})
	q.Raw.Expose(0)
	q.Notify()
	q.Raw.SetUsedEvent(4)
	r.WaitFor("the long chain", func() bool { return q.Raw.UsedIdx() == 5 })
	require.EqualValues(t, 1, r.dev.Stats().Sent.Long)
	require.Empty(t, host.frames())
}

// A batch goes to the host's side in one call and comes back at once; more than
// a batch in several.
func TestTransmitBatches(t *testing.T) {
	for _, n := range []int{1, maxBatch, maxBatch + 1, 3 * maxBatch} {
		host := &fakeHost{}
		r := newRig(t, host)
		r.Negotiate(allFeatures)
		r.SetupQueue(queueReceive, 8)
		q := r.SetupQueue(queueTransmit, 256)
		r.SetupQueue(queueControl, 8)
		for i := range n {
			q.Add([][]byte{packed(link.Header{}, ethernet(testMAC, 60+i))})
		}
		q.Publish()
		host.onSend = func([]link.Frame) {
			if used := q.Raw.UsedIdx(); int(used)%maxBatch != 0 {
				t.Errorf("%d chains came back in the middle of a batch", used)
			}
		}
		r.Go()
		for range n {
			q.Wait()
		}
		require.Len(t, host.batches, (n+maxBatch-1)/maxBatch)
		for i, f := range host.frames() {
			require.Len(t, f.Data, 60+i, "order")
		}
	}
}

// What came before a fault is sent; the device then needs a reset.
func TestTransmitFault(t *testing.T) {
	host := &fakeHost{}
	r := newRig(t, host)
	r.Negotiate(allFeatures)
	r.SetupQueue(queueReceive, 8)
	q := r.SetupQueue(queueTransmit, 8)
	r.SetupQueue(queueControl, 8)
	q.Add([][]byte{packed(link.Header{}, ethernet(testMAC, 60))})
	q.Add([][]byte{packed(link.Header{}, ethernet(testMAC, 61))})
	q.Publish()
	q.Raw.Expose(9)
	r.AddStatus(virtiotest.StatusDriverOK) // the device may have failed already
	r.WaitNeedsReset()
	require.Len(t, host.frames(), 2)
	require.EqualValues(t, 2, q.Raw.UsedIdx())
	require.EqualValues(t, 1, r.transport.Stats().Faults)
	r.Start(allFeatures)
	r.Queue(queueTransmit).Do(packed(link.Header{}, ethernet(testMAC, 62)), 0)
	require.Len(t, host.frames(), 3)
}

// A frame in as many pieces as a chain can have.
func TestTransmitManyPieces(t *testing.T) {
	host := &fakeHost{}
	r := newRig(t, host)
	r.Start(allFeatures)
	whole := packed(link.Header{}, ethernet(testMAC, 1000))
	var parts [][]byte
	for i := range whole {
		parts = append(parts, whole[i:i+1])
	}
	q := r.Queue(queueTransmit)
	q.AddIndirect(parts)
	q.Kick()
	q.Wait()
	require.Equal(t, 1000, host.frames()[0].Pieces)
	require.True(t, strings.HasSuffix(string(whole), host.frames()[0].Data))
}
