package sniff

// Numbers of TLS: RFC 8446 sections 4, 4.1.2, 4.2 and 5.1; RFC 6066 section 3;
// RFC 9849 for ECH.
const (
	recordHandshake  = 22
	recordHeader     = 5       // type, version, length
	maxRecord        = 1 << 14 // bytes of a plaintext record
	clientHello      = 1
	handshakeHeader  = 4 // type, length of 24 bits
	extServerName    = 0
	extECH           = 0xFE0D
	nameTypeHost     = 0
	clientRandomSize = 32
	maxSessionID     = 32
)

// ClientHello looks for the server name of a TLS connection. Hellos may be spread
// over several records.
func ClientHello(b []byte) Result {
	full := len(b) >= MaxFlight
	hello, status := handshake(b[:min(len(b), MaxFlight)])
	switch {
	case status == NeedMore && full:
		return Result{Status: Malformed, Kind: TLS}
	case status != Named:
		return Result{Status: status, Kind: TLS}
	}
	return parseHello(hello)
}

// handshake joins the records' contents up to the end of the first message and
// returns its body; Named means that it is complete.
func handshake(b []byte) ([]byte, Status) {
	var joined []byte
	for {
		if len(b) > 0 && b[0] != recordHandshake || len(b) > 1 && b[1] != 3 {
			return nil, Malformed
		}
		if len(b) < recordHeader {
			return nil, NeedMore
		}
		size := int(b[3])<<8 | int(b[4])
		if size == 0 || size > maxRecord {
			return nil, Malformed // RFC 8446 section 5.1: no empty handshake records
		}
		part := b[recordHeader:min(len(b), recordHeader+size)]
		joined = append(joined, part...)
		if len(joined) > 0 && joined[0] != clientHello {
			return nil, Malformed
		}
		if len(joined) >= handshakeHeader {
			want := int(joined[1])<<16 | int(joined[2])<<8 | int(joined[3])
			if want > MaxFlight {
				return nil, Malformed
			}
			if len(joined) >= handshakeHeader+want {
				return joined[handshakeHeader : handshakeHeader+want], Named
			}
		}
		if len(part) < size {
			return nil, NeedMore
		}
		b = b[recordHeader+size:]
	}
}

// reader takes fields off a message; after the first that is not there all fail.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n > len(r.rest) {
		r.bad = true
		return nil
	}
	out := r.rest[:n]
	r.rest = r.rest[n:]
	return out
}

// number reads a big-endian one of n bytes.
func (r *reader) number(n int) int {
	v := 0
	for _, b := range r.take(n) {
		v = v<<8 | int(b)
	}
	return v
}

// vector reads a field with a length of n bytes before it.
func (r *reader) vector(n int) []byte { return r.take(r.number(n)) }

// parseHello reads the whole body, as a server does.
func parseHello(body []byte) Result {
	broken := Result{Status: Malformed, Kind: TLS}
	r := &reader{rest: body}
	r.take(2) // legacy_version
	r.take(clientRandomSize)
	session := r.vector(1)
	ciphers := r.vector(2)
	compression := r.vector(1)
	if r.bad || len(session) > maxSessionID || len(ciphers) == 0 || len(ciphers)%2 != 0 || len(compression) == 0 {
		return broken
	}
	if len(r.rest) == 0 { // TLS 1.2 and before: none at all
		return Result{Status: Unnamed, Kind: TLS}
	}
	extensions := &reader{rest: r.vector(2)}
	if r.bad || len(r.rest) > 0 {
		return broken
	}
	found := Result{Status: Unnamed, Kind: TLS}
	ech := false
	seen := make(map[int]bool)
	for len(extensions.rest) > 0 {
		id := extensions.number(2)
		data := extensions.vector(2)
		if extensions.bad || seen[id] {
			return broken
		}
		seen[id] = true
		switch id {
		case extServerName:
			found = serverName(data)
			if found.Status == Malformed {
				return broken
			}
		case extECH:
			ech = true
		}
	}
	found.ECH = ech
	return found
}

// serverName reads a ServerNameList. It has one entry: RFC 6066 forbids two of a
// type, and no other type was ever defined.
func serverName(data []byte) Result {
	r := &reader{rest: data}
	list := &reader{rest: r.vector(2)}
	kind := list.number(1)
	host := list.vector(2)
	if r.bad || list.bad || len(r.rest) > 0 || len(list.rest) > 0 || kind != nameTypeHost {
		return Result{Status: Malformed, Kind: TLS}
	}
	return name(TLS, string(host))
}
