package dhcp

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"time"
)

// Options (RFC 2132, but where another is named).
const (
	optPad       = 0
	optMask      = 1
	optRouter    = 3
	optDNS       = 6
	optHostname  = 12
	optDomain    = 15
	optMTU       = 26
	optBroadcast = 28
	optRequested = 50
	optLease     = 51
	optOverload  = 52
	optType      = 53
	optServer    = 54
	optWanted    = 55
	optMessage   = 56
	optMaxSize   = 57
	optRenewal   = 58
	optRebinding = 59
	optClientID  = 61
	optRapid     = 80  // RFC 4039
	optSearch    = 119 // RFC 3397
	optRoutes    = 121 // RFC 3442
	optEnd       = 255
)

// maxOption is the longest value of one option; longer ones come in pieces (RFC
// 3396).
const maxOption = 255

// options collects a message's options. One that comes several times is one value
// in pieces. It is false where a length goes beyond the end.
func options(payload []byte) (map[byte][]byte, bool) {
	found := make(map[byte][]byte)
	if !collect(found, payload[offOptions:]) {
		return nil, false
	}
	// Fields without a use hold further options if the client says so (RFC 2132
	// section 9.3); the order is that of RFC 3396 section 5.
	overload := found[optOverload]
	if len(overload) == 0 {
		return found, true
	}
	if len(overload) != 1 || overload[0] > 3 {
		return nil, false
	}
	if overload[0]&1 != 0 && !collect(found, payload[offFile:offCookie]) ||
		overload[0]&2 != 0 && !collect(found, payload[offSName:offFile]) {
		return nil, false
	}
	return found, true
}

// collect reads one field of options. The end may be missing.
func collect(found map[byte][]byte, b []byte) bool {
	for len(b) > 0 {
		code := b[0]
		switch code {
		case optPad:
			b = b[1:]
			continue
		case optEnd:
			return true
		}
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return false
		}
		end := 2 + int(b[1])
		found[code] = append(found[code], b[2:end]...)
		if found[code] == nil {
			found[code] = []byte{}
		}
		b = b[end:]
	}
	return true
}

// writer makes an answer. An option that does not fit is left out.
type writer struct {
	b     []byte
	limit int
	left  int // options that were left out
}

// add appends an option, in pieces if it is long. Empty ones are not sent.
func (w *writer) add(code byte, value []byte) {
	if len(value) == 0 {
		return
	}
	pieces := (len(value) + maxOption - 1) / maxOption
	if len(w.b)+len(value)+2*pieces+1 > w.limit { // and the end
		w.left++
		return
	}
	for len(value) > 0 {
		n := min(len(value), maxOption)
		w.b = append(append(w.b, code, byte(n)), value[:n]...)
		value = value[n:]
	}
}

func (w *writer) addAddr(code byte, a netip.Addr) {
	if a.IsValid() {
		w.add(code, a.AsSlice())
	}
}

func (w *writer) addSeconds(code byte, d time.Duration) {
	w.add(code, binary.BigEndian.AppendUint32(nil, uint32(d/time.Second)))
}

// end completes the answer.
func (w *writer) end() []byte {
	w.b = append(w.b, optEnd)
	if len(w.b) < minPayload {
		w.b = append(w.b, make([]byte, minPayload-len(w.b))...)
	}
	return w.b
}

// names encodes a search list as in a DNS message (RFC 1035 section 3.1), without
// compression. The names were checked.
func names(list []string) []byte {
	var b []byte
	for _, name := range list {
		for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
			b = append(append(b, byte(len(label))), label...)
		}
		b = append(b, 0)
	}
	return b
}

// routes encodes classless static routes (RFC 3442): the prefix's length, as many
// bytes of it as matter, the router. Clients that take them ignore the router
// option, so the default route is among them.
func routes(list []Route, router netip.Addr) []byte {
	if len(list) == 0 {
		return nil
	}
	if router.IsValid() {
		list = append(list[:len(list):len(list)], Route{netip.PrefixFrom(netip.IPv4Unspecified(), 0), router})
	}
	var b []byte
	for _, r := range list {
		b = append(b, byte(r.Prefix.Bits()))
		b = append(b, r.Prefix.Masked().Addr().AsSlice()[:(r.Prefix.Bits()+7)/8]...)
		b = append(b, r.Via.AsSlice()...)
	}
	return b
}
