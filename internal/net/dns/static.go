package dns

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/libcapsa/libcapsa/internal/net/policy"
)

// staticTTL of names that the owner configured: short, since machines come and go.
const staticTTL = 30 * time.Second

// maxAddrs of one static name.
const maxAddrs = 64

// static is what the configuration knows.
type static struct {
	names map[string][]netip.Addr // by canonical name
	of    map[netip.Addr]string   // the name of an address, the first in the alphabet
}

func newStatic(config *Config) (static, error) {
	s := static{names: map[string][]netip.Addr{}, of: map[netip.Addr]string{}}
	if len(config.Hosts) > maxHosts {
		return s, fmt.Errorf("dns: %d static hosts: at most %d", len(config.Hosts), maxHosts)
	}
	for name, addrs := range config.Hosts {
		if err := s.add(name, addrs); err != nil {
			return s, err
		}
	}
	if len(config.Host) > 0 {
		if err := s.add("host."+Zone, config.Host); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *static) add(name string, addrs []netip.Addr) error {
	to, ok := policy.Canonical(name)
	if !ok {
		return fmt.Errorf("dns: static host %q: not a name of letters, digits, '-' and '_' in labels of 1 to 63", name)
	}
	if _, twice := s.names[to]; twice {
		return fmt.Errorf("dns: static host %q: given twice", name)
	}
	if len(addrs) > maxAddrs {
		return fmt.Errorf("dns: static host %q: %d addresses; at most %d", name, len(addrs), maxAddrs)
	}
	s.names[to] = nil
	for _, a := range addrs {
		if !a.IsValid() || a.Zone() != "" {
			return fmt.Errorf("dns: static host %q: address %v: want one without a zone", name, a)
		}
		a = a.Unmap()
		s.names[to] = append(s.names[to], a)
		if old, there := s.of[a]; !there || to < old {
			s.of[a] = to
		}
	}
	return nil
}

// find answers what the configuration knows, or returns nil. What is below Zone and
// unknown does not exist; nobody else is asked for it.
func (s *static) find(name string, kind dnsmessage.Type, config *Config) *answer {
	short := canonical(name)
	if addr, ok := reversed(short); ok {
		to, known := s.of[addr]
		if !known && config.Reverse != nil {
			to, known = config.Reverse(addr)
		}
		if !known {
			return nil
		}
		return pack(name, kind, dnsmessage.RCodeSuccess, nil, to)
	}
	addrs, known := s.names[short]
	if !known && config.Names != nil {
		addrs, known = config.Names(short)
	}
	switch {
	case known:
		return pack(name, kind, dnsmessage.RCodeSuccess, addrs[:min(len(addrs), maxAddrs)], "")
	case short == Zone:
		return pack(name, kind, dnsmessage.RCodeSuccess, nil, "")
	case strings.HasSuffix(short, "."+Zone):
		return pack(name, kind, dnsmessage.RCodeNameError, nil, "")
	}
	return nil
}

// pack makes an answer of addresses, or of the name of one. It is nil for a name
// that cannot be written.
func pack(name string, kind dnsmessage.Type, code dnsmessage.RCode, addrs []netip.Addr, ptr string) *answer {
	a := &answer{name: name, source: Static, rcode: code, ttl: staticTTL}
	b, err := begin(name, kind, dnsmessage.ClassINET, dnsmessage.Header{Authoritative: true, RCode: code})
	if err != nil {
		return nil
	}
	h := dnsmessage.ResourceHeader{Class: dnsmessage.ClassINET, TTL: uint32(staticTTL / time.Second)}
	if h.Name, err = dnsmessage.NewName(name); err != nil {
		return nil
	}
	err = b.StartAnswers()
	for _, addr := range addrs {
		addr = addr.Unmap()
		switch {
		case addr.Is4() && (kind == dnsmessage.TypeA || kind == dnsmessage.TypeALL):
			err = errors.Join(err, b.AResource(h, dnsmessage.AResource{A: addr.As4()}))
		case addr.Is6() && (kind == dnsmessage.TypeAAAA || kind == dnsmessage.TypeALL):
			err = errors.Join(err, b.AAAAResource(h, dnsmessage.AAAAResource{AAAA: addr.As16()}))
		default:
			continue
		}
		a.addrs = append(a.addrs, addr)
	}
	if ptr != "" && (kind == dnsmessage.TypePTR || kind == dnsmessage.TypeALL) {
		to, err2 := dnsmessage.NewName(strings.TrimSuffix(ptr, ".") + ".")
		err = errors.Join(err, err2, b.PTRResource(h, dnsmessage.PTRResource{PTR: to}))
	}
	if err != nil {
		return nil
	}
	if a.message, err = b.Finish(); err != nil {
		return nil
	}
	a.ttls, a.answers = ttls(a.message)
	return a
}

// reversed is the address of a name in in-addr.arpa or ip6.arpa (RFC 1035 section
// 3.5, RFC 3596 section 2.5).
func reversed(name string) (netip.Addr, bool) {
	if labels, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		var b [4]byte
		i := len(b)
		for label := range strings.SplitSeq(labels, ".") {
			n, err := strconv.ParseUint(label, 10, 8)
			if err != nil || i == 0 {
				return netip.Addr{}, false
			}
			i--
			b[i] = byte(n)
		}
		return netip.AddrFrom4(b), i == 0
	}
	labels, ok := strings.CutSuffix(name, ".ip6.arpa")
	if !ok || len(labels) != 63 {
		return netip.Addr{}, false
	}
	var digits [32]byte
	for i := range digits {
		digits[31-i] = labels[2*i]
		if i < 31 && labels[2*i+1] != '.' {
			return netip.Addr{}, false
		}
	}
	var b [16]byte
	_, err := hex.Decode(b[:], digits[:])
	return netip.AddrFrom16(b), err == nil
}
