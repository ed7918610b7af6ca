package dns

import (
	"encoding/binary"
	"errors"

	"golang.org/x/net/dns/dnsmessage"
)

// Transport is how a query came, and its answer goes.
type Transport uint8

// The transports. Over TCP the caller takes and adds the two bytes of length.
const (
	UDP Transport = iota
	TCP
)

// Lengths in bytes.
const (
	headerSize = 12
	plainSize  = 512   // of a UDP answer without EDNS (RFC 1035 section 4.2.1)
	ednsSize   = 1232  // of a UDP answer, that no network fragments
	maxQuery   = 4096  // of a query; a name has 255
	maxMessage = 65535 // of anything over TCP
)

// Bits of the header's flags (RFC 1035 section 4.1.1, RFC 4035 section 3.2).
const (
	bitResponse  = 1 << 15
	bitTruncated = 1 << 9
	bitRecursion = 1 << 8
	bitAuthentic = 1 << 5
	bitUnchecked = 1 << 4
	maskOpCode   = 0xf << 11
	maskRCode    = 0xf
)

// rcodeBadVersion is an extended code (RFC 6891 section 9).
const rcodeBadVersion = 16

// ErrNotQuery is what Exchange returns for a message that must not be answered: an
// answer, or what is too short to have an ID.
var ErrNotQuery = errors.New("dns: not a query")

// query is a machine's query.
type query struct {
	id        uint16
	flags     uint16 // as they came
	name      []byte // in its wire form and the machine's case; borrowed
	kind      dnsmessage.Type
	class     dnsmessage.Class
	edns      bool
	dnssec    bool // DO
	limit     int  // bytes of the answer
	transport Transport
	question  bool // name, kind and class are valid
	// key is the question, in lower case, with what its answer depends on besides.
	key    [255 + 5]byte
	keyLen int
}

// parse reads a query. Where the code is not success the machine is told so; the
// error is ErrNotQuery.
func (q *query) parse(b []byte, transport Transport) (dnsmessage.RCode, error) {
	if len(b) < headerSize {
		return 0, ErrNotQuery
	}
	q.id, q.flags = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	if q.flags&bitResponse != 0 {
		return 0, ErrNotQuery
	}
	q.transport, q.limit = transport, plainSize
	if transport == TCP {
		q.limit = maxMessage
	}
	if q.flags&maskOpCode != 0 {
		return dnsmessage.RCodeNotImplemented, nil
	}
	questions, answers, authorities := binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:]), binary.BigEndian.Uint16(b[8:])
	if len(b) > maxQuery || questions != 1 || answers != 0 || authorities != 0 {
		return dnsmessage.RCodeFormatError, nil
	}
	size := nameSize(b[headerSize:])
	if size == 0 {
		return dnsmessage.RCodeFormatError, nil
	}
	var p dnsmessage.Parser
	if _, err := p.Start(b); err != nil {
		return dnsmessage.RCodeFormatError, nil
	}
	asked, err := p.Question()
	if err != nil {
		return dnsmessage.RCodeFormatError, nil
	}
	q.name, q.kind, q.class, q.question = b[headerSize:headerSize+size], asked.Type, asked.Class, true
	code := q.additional(&p)
	if code == dnsmessage.RCodeSuccess && q.class != dnsmessage.ClassINET {
		code = dnsmessage.RCodeRefused
	}
	q.makeKey()
	return code, nil
}

// additional looks for EDNS (RFC 6891 section 6.1). Options are those between a
// resolver and its neighbour, and end here.
func (q *query) additional(p *dnsmessage.Parser) dnsmessage.RCode {
	if p.SkipAllQuestions() != nil || p.SkipAllAnswers() != nil || p.SkipAllAuthorities() != nil {
		return dnsmessage.RCodeFormatError
	}
	for {
		h, err := p.AdditionalHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return dnsmessage.RCodeSuccess
		}
		if err != nil || p.SkipAdditional() != nil {
			return dnsmessage.RCodeFormatError
		}
		if h.Type != dnsmessage.TypeOPT {
			continue // a signature, perhaps; nobody here has its key
		}
		if q.edns || h.Name.Length != 1 {
			return dnsmessage.RCodeFormatError
		}
		q.edns, q.dnssec = true, h.DNSSECAllowed()
		if q.transport == UDP {
			q.limit = min(max(int(h.Class), plainSize), ednsSize)
		}
		if h.TTL>>16&0xff != 0 {
			return rcodeBadVersion
		}
	}
}

// makeKey is a question in 260 bytes at most.
func (q *query) makeKey() {
	b := q.key[:0]
	for _, c := range q.name {
		b = append(b, lower(c)) // lengths are below 64, and no letters
	}
	b = binary.BigEndian.AppendUint16(b, uint16(q.kind))
	b = binary.BigEndian.AppendUint16(b, uint16(q.class))
	flags := byte(0)
	if q.dnssec {
		flags |= 1
	}
	if q.flags&bitUnchecked != 0 {
		flags |= 2
	}
	if q.flags&bitAuthentic != 0 {
		flags |= 4
	}
	q.keyLen = len(append(b, flags))
}

// nameSize is the length of a name without compression at the beginning of b, its
// end included; 0: it is none. A dot inside of a label cannot be written down.
func nameSize(b []byte) int {
	for at := 0; at < len(b) && at < 255; {
		n := int(b[at])
		if n == 0 {
			return at + 1
		}
		if n > 63 || at+1+n >= len(b) {
			return 0
		}
		for _, c := range b[at+1 : at+1+n] {
			if c == '.' {
				return 0
			}
		}
		at += 1 + n
	}
	return 0
}

// text is a name with dots, in lower case, with one at the end. Preconditions:
// nameSize has accepted it.
func text(name []byte) string {
	if len(name) == 1 {
		return "."
	}
	b := make([]byte, 0, len(name))
	for at := 0; name[at] != 0; at += 1 + int(name[at]) {
		for _, c := range name[at+1 : at+1+int(name[at])] {
			b = append(b, lower(c))
		}
		b = append(b, '.')
	}
	return string(b)
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
