package dns

import (
	"net/netip"
	"strings"
	"time"

	"github.com/libcapsa/libcapsa/internal/net/policy"
)

// SetTiming makes name servers impatient. Preconditions: nothing was asked yet.
func (p *Proxy) SetTiming(first, second time.Duration) {
	p.upstream.timing.first, p.upstream.timing.second = first, second
	p.upstream.timing.least, p.upstream.timing.tcp = first, second
	p.upstream.timing.total = 16 * second
}

// Nameservers are those of the file.
func (p *Proxy) Nameservers() []netip.AddrPort { return p.upstream.file.nameservers() }

// ParseServers reads a resolv.conf.
func ParseServers(text string) ([]netip.AddrPort, error) {
	return parseServers(strings.NewReader(text))
}

// Waiting is how many queries wait for name servers.
func (p *Proxy) Waiting() int { return int(p.waiting.Load()) }

// Cached is how many answers are kept, and their size.
func (p *Proxy) Cached() (answers, size int) {
	p.cache.mu.Lock()
	defer p.cache.mu.Unlock()
	return len(p.cache.at), p.cache.size
}

// Digest judges a name server's message as the answer to a query, and makes the reply
// to it; nil: it is no answer.
func (p *Proxy) Digest(message, sent []byte) []byte {
	var q query
	if code, err := q.parse(sent, TCP); code != 0 || err != nil {
		return nil
	}
	asked := question{wire: q.key[:len(q.name)], name: text(q.name), kind: q.kind, class: q.class, dnssec: q.dnssec}
	out := newOutgoing(&asked, true)
	out.match(message)
	now := p.config.Now()
	verdict := policy.Verdict{Action: policy.Allow, Generation: p.generation()}
	a, err := p.digest(&asked, message, verdict, now)
	if err != nil {
		return nil
	}
	p.cache.put(string(q.key[:q.keyLen]), a)
	return p.serve(&q, a, Upstream, now)
}

// Reversed is the address that a name stands for.
func Reversed(name string) (netip.Addr, bool) { return reversed(name) }

// MaxQuery and MaxCacheSize are limits in bytes.
const (
	MaxQuery     = maxQuery
	MaxCacheSize = maxCache
)
