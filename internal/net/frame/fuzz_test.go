package frame

import (
	"testing"

	"github.com/libcapsa/libcapsa/internal/net/link"
)

func FuzzParse(f *testing.F) {
	f.Add(unhex(f, ether4+ip4tcp+syn), uint8(1), uint8(1), uint16(100), uint16(34), uint16(16), uint16(20))
	f.Add(unhex(f, ether6+"60000000 001c 3c 40"+addrs6+"06000104 00000000"+syn), uint8(0), uint8(0), uint16(0), uint16(0), uint16(0), uint16(3))
	f.Add(unhex(f, ether6+"60000000 001c 2c 40"+addrs6+"06000001 00000001"+syn), uint8(0), uint8(0), uint16(0), uint16(0), uint16(0), uint16(60))
	f.Fuzz(func(t *testing.T, b []byte, flags, gso uint8, size, start, offset, cut uint16) {
		at := min(int(cut), len(b))
		fr := &link.Frame{Data: [][]byte{b[:at], b[at:]}}
		fr.Header = link.Header{Flags: flags, GSOType: gso, GSOSize: size, CSumStart: start, CSumOffset: offset}
		var p Packet
		if r := p.Parse(fr); r != OK {
			if r >= Reasons {
				t.Fatal(r)
			}
			return
		}
		if p.End > len(b) || p.L4 > p.End || p.IP() != 0 && (p.L4 < EtherSize+20 || !p.Fragment && (p.Payload > p.End || p.Payload <= p.L4)) {
			t.Fatalf("offsets out of order: %+v", p)
		}
		if (p.GSO != link.GSONone) != (p.SegmentSize != 0) {
			t.Fatalf("segments of nothing: %+v", p)
		}
		if p.IP() != 0 && !p.Fragment {
			p.Valid(fr)
			if p.Inner && !Complete(b[:p.End], int(start), int(offset)) {
				t.Fatal("a checksum beyond the end")
			}
		}
		if c, ok := NewCut(b, fr.Header, true); ok && len(b) < 4096 {
			dst := make([]byte, c.FrameSize())
			for n := 1; n > 0; n, _ = c.Next(dst) {
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	f := one(tcp4(pattern(1400), FlagACK))
	var p Packet
	b.ReportAllocs()
	for b.Loop() {
		if p.Parse(f) != OK {
			b.Fatal("refused")
		}
	}
}

func BenchmarkSum(b *testing.B) {
	data := pattern(1448)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		var s Sum
		s.Add(data)
	}
}

func BenchmarkCut(b *testing.B) {
	src := tcp4(pattern(64000), FlagACK)
	dst := make([]byte, 2048)
	b.SetBytes(int64(len(src)))
	b.ReportAllocs()
	for b.Loop() {
		c, _ := NewCut(src, link.Header{GSOSize: 1448}, true)
		for n := 1; n > 0; n, _ = c.Next(dst) {
		}
	}
}
