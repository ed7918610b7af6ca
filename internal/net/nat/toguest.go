package nat

import (
	"encoding/binary"

	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/link"
)

// deliver hands messages to the guest. Of a guest that takes long UDP frames,
// datagrams of one size are one frame.
func (s *session) deliver(in *incoming) {
	in.frames = in.frames[:0]
	total := 0
	if s.key.proto == frame.UDP {
		total = s.udpFrames(in)
	} else {
		total = s.echoFrames(in)
	}
	s.touch()
	if s.forward == nil {
		s.replied.Store(true)
	}
	s.toGuest.Add(uint64(total))
	s.e.out.raw(in.frames...)
	clear(in.frames)
}

func (s *session) echoFrames(in *incoming) (total int) {
	for i := range in.n {
		b := in.buf[i][:in.size[i]]
		if s.goodEcho(b[headroom:]) {
			total += len(b) - headroom
			binary.BigEndian.PutUint16(b[headroom+4:], s.key.guest.Port())
			in.frames = s.e.build.packet(in.frames, b, s.key.proto, 2, s.key.remote.Addr(), s.key.guest.Addr(), s.e.fragID.Add(1))
		}
	}
	return total
}

// udpFrames makes the frames of all messages.
func (s *session) udpFrames(in *incoming) (total int) {
	for i := 0; i < in.n; {
		n, size := 1, in.size[i]-udpRoom
		if in.each[i] == 0 {
			in.each[i] = size
		}
		if s.uso && s.e.build.fits(s.key.guest.Addr(), in.each[i]) {
			n, size = s.alike(in, i)
		}
		total += size
		switch {
		case n > 1 || size > in.each[i] && s.uso && s.e.build.fits(s.key.guest.Addr(), in.each[i]):
			in.frames = append(in.frames, s.long(in, i, n, size))
		case size > in.each[i]:
			s.single(in, i)
		default:
			s.datagram(in, in.buf[i][:in.size[i]])
		}
		i += n
	}
	return total
}

// alike counts the messages from the i-th on that make one long frame: all are of
// datagrams of one size, but for the last datagram, which may be shorter.
func (s *session) alike(in *incoming, i int) (n, size int) {
	each := in.each[i]
	size = in.size[i] - udpRoom
	n = 1
	for j := i + 1; j < in.n && each > 0 && size%each == 0; j++ {
		more := in.size[j] - udpRoom
		one := in.each[j]
		if one == 0 {
			one = more
		}
		if more == 0 || one > each || one < each && more > one || size+more > maxRunSize || (size+more-1)/each >= maxRunSegments {
			break
		}
		n, size = n+1, size+more
	}
	return n, size
}

// long makes one frame of n messages, of which the first has the headers.
func (s *session) long(in *incoming, i, n, size int) link.Frame {
	b := in.buf[i]
	remote, guest := s.key.remote, s.key.guest
	l4 := b[headroom:]
	binary.BigEndian.PutUint16(l4, remote.Port())
	binary.BigEndian.PutUint16(l4[2:], guest.Port())
	binary.BigEndian.PutUint16(l4[4:], uint16(8+size))
	binary.BigEndian.PutUint16(l4[6:], frame.Pseudo(remote.Addr(), guest.Addr(), frame.UDP, 8+size))
	start := s.e.build.ipHeader(b, headroom, 8+size, frame.UDP, remote.Addr(), guest.Addr())
	data := make([][]byte, n)
	data[0] = b[start:in.size[i]]
	for k := 1; k < n; k++ {
		data[k] = in.buf[i+k][udpRoom:in.size[i+k]]
	}
	return link.Frame{Data: data, Header: link.Header{
		Flags: link.NeedsChecksum, GSOType: link.GSOUDPL4, GSOSize: uint16(in.each[i]),
		HdrLen: uint16(udpRoom - start), CSumStart: uint16(headroom - start), CSumOffset: 6,
	}}
}

// single takes a message of several datagrams apart.
func (s *session) single(in *incoming, i int) {
	for rest := in.buf[i][udpRoom:in.size[i]]; len(rest) > 0; {
		n := min(in.each[i], len(rest))
		s.datagram(in, append(make([]byte, udpRoom, udpRoom+n), rest[:n]...))
		rest = rest[n:]
	}
}

// datagram makes the frames of one, with room for headers before it.
func (s *session) datagram(in *incoming, b []byte) {
	if len(b)-headroom > mostL4(s.key.guest.Addr()) {
		return
	}
	udpHeader(b, s.key.remote.Port(), s.key.guest.Port())
	in.frames = s.e.build.packet(in.frames, b, frame.UDP, 6, s.key.remote.Addr(), s.key.guest.Addr(), s.e.fragID.Add(1))
}

// goodEcho: an echo reply (RFC 792, RFC 4443 section 4.2).
func (s *session) goodEcho(b []byte) bool {
	if len(b) < 8 || len(b) > mostL4(s.key.guest.Addr()) {
		return false
	}
	if s.key.proto == frame.ICMPv4 {
		return b[0] == 0
	}
	return b[0] == 129
}
