// Package dhcp6 answers the one question of stateless DHCPv6: which DNS servers and
// search domains are there (RFC 8415 section 6.1)? Addresses and routes come from
// router advertisements.
//
// It is a function from payload to payload, without sockets and state; its methods may
// be called at once from any goroutine.
package dhcp6

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/libcapsa/libcapsa/internal/net/ether"
)

// UDP ports (RFC 8415 section 7.2). Clients send to ff02::1:2.
const (
	ServerPort = 547
	ClientPort = 546
)

// Messages (RFC 8415 section 7.3) and options (sections 21 and 24; RFC 3646).
const (
	messageReply              = 7
	messageInformationRequest = 11

	optionClientID    = 1
	optionServerID    = 2
	optionIANA        = 3
	optionIATA        = 4
	optionWanted      = 6
	optionDNS         = 23
	optionSearch      = 24
	optionIAPD        = 25
	optionRefreshTime = 32
)

// Lengths in bytes.
const (
	headerSize = 4    // message type and transaction
	maxPayload = 1500 // of a request; clients send about fifty
	maxID      = 130  // a DUID of 128 bytes and its type (RFC 8415 section 11.1)
	maxSearch  = 512
)

// Config is what clients are told.
type Config struct {
	MAC    ether.MAC // of the gateway; it identifies the server
	DNS    []netip.Addr
	Search []string
	// Refresh is when clients ask again; 0: when they like, which is after a day.
	Refresh time.Duration
}

// Server answers.
type Server struct {
	id      []byte // DUID-LL (RFC 8415 section 11.4)
	dns     []byte
	search  []byte
	refresh []byte
}

// New makes a server. Its error says which part of the configuration is wrong.
func New(config Config) (*Server, error) {
	s := &Server{id: append([]byte{0, 3, 0, 1}, config.MAC[:]...)}
	if len(config.DNS) > 8 {
		return nil, fmt.Errorf("dhcp6: %d DNS servers: at most 8", len(config.DNS))
	}
	for _, a := range config.DNS {
		if !a.Is6() || a.Is4In6() {
			return nil, fmt.Errorf("dhcp6: DNS server %v: not an IPv6 address", a)
		}
		s.dns = append(s.dns, a.AsSlice()...)
	}
	for _, name := range config.Search {
		for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
			if len(label) < 1 || len(label) > 63 || len(name) > 254 {
				return nil, fmt.Errorf("dhcp6: search domain %q: not a DNS name", name)
			}
			s.search = append(append(s.search, byte(len(label))), label...)
		}
		s.search = append(s.search, 0)
	}
	if len(s.search) > maxSearch {
		return nil, fmt.Errorf("dhcp6: search domains of %d bytes: at most %d", len(s.search), maxSearch)
	}
	if config.Refresh != 0 {
		if config.Refresh < 10*time.Minute || config.Refresh/time.Second >= 1<<32-1 {
			return nil, fmt.Errorf("dhcp6: refresh after %v: want at least ten minutes (RFC 8415 section 7.6)", config.Refresh)
		}
		s.refresh = binary.BigEndian.AppendUint32(nil, uint32(config.Refresh/time.Second))
	}
	return s, nil
}

// Handle answers the payload of a datagram to port 547. The answer goes to where the
// question came from, port 546, from the gateway's link-local address. It is false
// for other messages and for malformed ones. The payload is not kept.
func (s *Server) Handle(payload []byte) ([]byte, bool) {
	if len(payload) < headerSize || len(payload) > maxPayload || payload[0] != messageInformationRequest {
		return nil, false
	}
	q, ok := parse(payload[headerSize:])
	if !ok || q.server != nil && !bytes.Equal(q.server, s.id) {
		return nil, false
	}
	b := append([]byte{messageReply}, payload[1:headerSize]...)
	b = appendOption(b, optionClientID, q.client)
	b = appendOption(b, optionServerID, s.id)
	if q.wants(optionDNS) {
		b = appendOption(b, optionDNS, s.dns)
	}
	if q.wants(optionSearch) {
		b = appendOption(b, optionSearch, s.search)
	}
	if q.wants(optionRefreshTime) {
		b = appendOption(b, optionRefreshTime, s.refresh)
	}
	return b, true
}

// request is what matters of a request; its slices are borrowed.
type request struct {
	client, server []byte
	wanted         []byte // nil: not given
}

// parse is false for lengths beyond the end, options that come twice, and those that
// an information request must not have (RFC 8415 section 16.12).
func parse(b []byte) (request, bool) {
	var q request
	for len(b) > 0 {
		if len(b) < 4 {
			return q, false
		}
		code, size := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if len(b) < 4+size {
			return q, false
		}
		value := b[4 : 4+size]
		b = b[4+size:]
		var to *[]byte
		switch code {
		case optionIANA, optionIATA, optionIAPD:
			return q, false
		case optionClientID:
			to = &q.client
		case optionServerID:
			to = &q.server
		case optionWanted:
			to = &q.wanted
		default:
			continue
		}
		if *to != nil || code != optionWanted && (size < 3 || size > maxID) || code == optionWanted && size%2 != 0 {
			return q, false
		}
		*to = value
	}
	return q, true
}

// wants: asked for, or nothing in particular is.
func (q *request) wants(code uint16) bool {
	for b := q.wanted; len(b) >= 2; b = b[2:] {
		if binary.BigEndian.Uint16(b) == code {
			return true
		}
	}
	return q.wanted == nil
}

// appendOption leaves out empty ones.
func appendOption(b []byte, code uint16, value []byte) []byte {
	if len(value) == 0 {
		return b
	}
	b = binary.BigEndian.AppendUint16(b, code)
	b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
	return append(b, value...)
}
