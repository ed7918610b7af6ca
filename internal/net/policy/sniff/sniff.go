// Package sniff finds the name that a client says it wants in the first bytes of
// its connection: the server name of a TLS ClientHello, or the host of an HTTP/1
// request. It is pure, has no state and keeps nothing.
//
// Its functions take what has come so far, from the first byte on, and are called
// again with more while they answer NeedMore. Any other answer is final: more bytes
// do not change it. No more than MaxFlight bytes are ever looked at.
//
// The sender is hostile: it wants a name to be found here that the server does not
// find. What two parsers could read in two ways is therefore Malformed, also where
// most servers would put up with it: two names, space before a colon, folded lines,
// a request target that disagrees with Host.
package sniff

import (
	"net/netip"
	"strings"
)

// MaxFlight is how many bytes are looked at: a ClientHello with post-quantum keys
// has about 2 KiB, servers take up to 8 or 16 KiB of HTTP headers.
const MaxFlight = 16 << 10

// Status is how far it got.
type Status uint8

// The states. All but NeedMore are final.
const (
	NeedMore  Status = iota
	Named            // Result.Name
	Unnamed          // no name is said: not TLS nor HTTP, or without one, or with an address
	Malformed        // broken, ambiguous or too long: not to be let through where names matter
)

func (s Status) String() string {
	switch s {
	case NeedMore:
		return "need more"
	case Named:
		return "named"
	case Unnamed:
		return "unnamed"
	}
	return "malformed"
}

// Kind is what the bytes are.
type Kind uint8

// The kinds.
const (
	Unknown Kind = iota // also: too little has come to say
	TLS
	HTTP
)

func (k Kind) String() string {
	switch k {
	case TLS:
		return "TLS"
	case HTTP:
		return "HTTP"
	}
	return "unknown"
}

// Result is what was found.
type Result struct {
	Status Status
	Kind   Kind
	Name   string // if Named: ASCII letters, digits, '-', '_', '.'; as it was sent
	// ECH: the ClientHello has an encrypted one inside, or pretends to (many clients
	// always do). Name is then the outer name, which need not be the one that is
	// wanted.
	ECH bool
}

// Sniff tells TLS from HTTP and looks for the name.
func Sniff(b []byte) Result {
	switch {
	case len(b) == 0:
		return Result{}
	case b[0] == recordHandshake:
		return ClientHello(b)
	}
	return Request(b)
}

// maxName is the longest name, with a dot at the end.
const maxName = 254

// name judges what was said to be one.
func name(kind Kind, text string) Result {
	if text == "" || len(text) > maxName {
		return Result{Status: Malformed, Kind: kind}
	}
	if _, err := netip.ParseAddr(text); err == nil {
		return Result{Status: Unnamed, Kind: kind}
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return Result{Status: Malformed, Kind: kind}
		}
	}
	return Result{Status: Named, Kind: kind, Name: strings.Clone(text)}
}
