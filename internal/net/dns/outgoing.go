package dns

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"

	"golang.org/x/net/dns/dnsmessage"
)

// outgoing is a query to a name server: with an ID and a name in letters of either
// case that whoever would forge the answer has to guess.
type outgoing struct {
	message []byte
	end     int // of the question
}

// newOutgoing makes the query. Each time it is another one.
func newOutgoing(q *question, edns bool) outgoing {
	var random [2 + 256/8]byte
	_, _ = rand.Read(random[:]) // never fails
	b := make([]byte, headerSize, headerSize+len(q.wire)+4+maxOPT)
	copy(b, random[:2])
	binary.BigEndian.PutUint16(b[2:], bitRecursion|q.flags)
	binary.BigEndian.PutUint16(b[4:], 1)
	for i, c := range q.wire {
		if 'a' <= c && c <= 'z' && random[2+i/8]>>(i%8)&1 != 0 {
			c -= 'a' - 'A'
		}
		b = append(b, c)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(q.kind))
	b = binary.BigEndian.AppendUint16(b, uint16(q.class))
	end := len(b)
	if edns {
		b = (&query{edns: true, dnssec: q.dnssec}).appendOPT(b, edeNone)
	}
	return outgoing{message: b, end: end}
}

// match is how a message fits a query.
type match uint8

const (
	stray     match = iota // it is no answer to it
	sameName               // it is, but for the case of letters
	exact                  // it is
	complaint              // an error that does not repeat the question
)

// match compares what the sender had to know.
func (o *outgoing) match(b []byte) match {
	if len(b) < headerSize || !bytes.Equal(b[:2], o.message[:2]) {
		return stray
	}
	flags := binary.BigEndian.Uint16(b[2:])
	if flags&bitResponse == 0 || flags&maskOpCode != 0 {
		return stray
	}
	questions := binary.BigEndian.Uint16(b[4:])
	if questions == 0 && flags&maskRCode != 0 && dnsmessage.RCode(flags&maskRCode) != dnsmessage.RCodeNameError {
		return complaint
	}
	if questions != 1 || len(b) < o.end {
		return stray
	}
	got, want := b[headerSize:o.end], o.message[headerSize:o.end]
	switch name := len(want) - 4; {
	case bytes.Equal(got, want):
		return exact
	case bytes.EqualFold(got[:name], want[:name]) && bytes.Equal(got[name:], want[name:]):
		return sameName
	}
	return stray
}
