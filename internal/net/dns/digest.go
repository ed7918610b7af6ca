package dns

import (
	"errors"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/libcapsa/libcapsa/internal/net/policy"
)

const (
	typeDNAME = 39 // RFC 6672

	maxChain = 16        // names that one name leads to
	maxTTL   = 24 * 3600 // seconds; ours
	maxNoTTL = 3600      // seconds, of what is not there (RFC 2308 section 5)
	maxValid = 1<<31 - 1 // seconds; more means 0 (RFC 2181 section 8)
)

// compressed are types, seldom seen, whose data may hold names that are compressed
// (RFC 3597 section 4): elsewhere than in the message they came in these bytes would
// mean something else.
var compressed = map[dnsmessage.Type]bool{
	3: true, 4: true, 7: true, 8: true, 9: true, 14: true, // MD MF MB MG MR MINFO
	17: true, 18: true, 21: true, 24: true, 26: true, 30: true, // RP AFSDB RT SIG PX NXT
}

var (
	errAnswer = errors.New("an answer that makes no sense")
	errChain  = errors.New("a name that leads from name to name without an end")
)

// digester makes an answer of a name server's message, record by record.
type digester struct {
	p   *Proxy
	q   *question
	own dnsmessage.Name // q.name
	in  dnsmessage.Parser
	out *dnsmessage.Builder

	chain   []string // q.name and where it leads, in lower case
	addrs   []netip.Addr
	ttl     uint32 // the smallest
	found   bool   // what was asked for is there
	dropped int
	changed bool            // it is not what the zone's owner signed
	refused *policy.Verdict // the whole answer is
}

// digest judges a name server's message. The error says that it is none that can be
// used; the message has passed outgoing.match.
func (p *Proxy) digest(q *question, message []byte, verdict policy.Verdict, now time.Time) (*answer, error) {
	d := &digester{p: p, q: q, chain: []string{q.name}, ttl: maxTTL}
	h, err := d.in.Start(message)
	if err != nil {
		return nil, err
	}
	if d.own, err = dnsmessage.NewName(q.name); err != nil {
		return nil, err
	}
	d.out, err = begin(q.name, q.kind, q.class, dnsmessage.Header{RCode: h.RCode})
	if err = errors.Join(err, d.in.SkipAllQuestions(), d.out.StartAnswers()); err != nil {
		return nil, err
	}
	if err := d.section(d.in.AnswerHeader, d.in.SkipAnswer, d.record); err != nil {
		return nil, err
	}
	if d.refused != nil {
		return p.refusal(q, *d.refused), nil
	}
	if err := d.rest(); err != nil {
		return nil, err
	}
	a := &answer{
		rcode: h.RCode, source: Upstream, name: q.name, addrs: d.addrs, verdict: verdict, dropped: d.dropped,
		born: now, ttl: time.Duration(d.ttl) * time.Second, pinned: p.config.Policy != nil && len(d.addrs) > 0,
	}
	if a.message, err = d.out.Finish(); err != nil || len(a.message) > maxMessage {
		return nil, errAnswer
	}
	if h.AuthenticData && !d.changed {
		a.message[3] |= bitAuthentic
	}
	if a.ttls, a.answers = ttls(a.message); a.answers == 0 && d.dropped > 0 {
		a.ede = edeBlocked
	}
	p.stats.rebound.Add(uint64(d.dropped))
	return a, nil
}

// section calls record for every record, which reads it or leaves it.
func (d *digester) section(next func() (dnsmessage.ResourceHeader, error), skip func() error,
	record func(dnsmessage.ResourceHeader) (bool, error),
) error {
	for d.refused == nil {
		h, err := next()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return nil
		}
		if err != nil {
			return err
		}
		if strings.EqualFold(h.Name.String(), d.q.name) {
			h.Name = d.own
		}
		if h.TTL > maxValid {
			h.TTL = 0
		}
		h.TTL = min(h.TTL, maxTTL)
		read, err := record(h)
		if err != nil {
			return err
		}
		if !read {
			if err := skip(); err != nil {
				return err
			}
		}
	}
	return nil
}

// record is one of the answer section. Those of names that the answer does not lead
// to are left out.
func (d *digester) record(h dnsmessage.ResourceHeader) (bool, error) {
	owner := strings.ToLower(h.Name.String())
	if h.Class != d.q.class || !d.leads(owner, h.Type) {
		d.changed = true
		return false, nil
	}
	d.ttl = min(d.ttl, h.TTL)
	d.found = d.found || h.Type == d.q.kind || d.q.kind == dnsmessage.TypeALL
	switch h.Type {
	case dnsmessage.TypeA, dnsmessage.TypeAAAA:
		return d.address(h)
	case dnsmessage.TypeCNAME:
		r, err := d.in.CNAMEResource()
		if err != nil || !d.follow(r.CNAME.String()) {
			return true, err
		}
		if len(d.chain) > maxChain {
			return true, errChain
		}
		d.chain = append(d.chain, strings.ToLower(r.CNAME.String()))
		return true, d.out.CNAMEResource(h, r)
	case dnsmessage.TypeSVCB, dnsmessage.TypeHTTPS:
		return d.service(h)
	}
	return d.plain(h)
}

// leads: the answer has led to this name, or to below it.
func (d *digester) leads(owner string, kind dnsmessage.Type) bool {
	for _, name := range d.chain {
		if owner == name || kind == typeDNAME && strings.HasSuffix(name, "."+owner) {
			return true
		}
	}
	return false
}

// follow asks the policy about a name that the answer leads to.
func (d *digester) follow(target string) bool {
	if d.p.config.Policy == nil {
		return true
	}
	v := d.p.config.Policy.Target(d.q.name, target)
	if v.Action == policy.Allow {
		return true
	}
	d.refused = &v
	return false
}

// allowed asks the policy about an address.
func (d *digester) allowed(addr netip.Addr) bool {
	if d.p.config.Policy != nil && d.p.config.Policy.Answer(d.q.name, addr).Action != policy.Allow {
		d.dropped++
		d.changed = true
		return false
	}
	d.addrs = append(d.addrs, addr)
	return true
}

func (d *digester) address(h dnsmessage.ResourceHeader) (bool, error) {
	switch {
	case h.Type == dnsmessage.TypeA && h.Length == 4:
		r, err := d.in.AResource()
		if err != nil || !d.allowed(netip.AddrFrom4(r.A)) {
			return true, err
		}
		return true, d.out.AResource(h, r)
	case h.Type == dnsmessage.TypeAAAA && h.Length == 16:
		r, err := d.in.AAAAResource()
		if err != nil || !d.allowed(netip.AddrFrom16(r.AAAA)) {
			return true, err
		}
		return true, d.out.AAAAResource(h, r)
	}
	return false, errAnswer
}

// plain copies a record whose contents nobody judges.
func (d *digester) plain(h dnsmessage.ResourceHeader) (bool, error) {
	var err error
	switch {
	case h.Type == dnsmessage.TypeNS:
		var r dnsmessage.NSResource
		if r, err = d.in.NSResource(); err == nil {
			err = d.out.NSResource(h, r)
		}
	case h.Type == dnsmessage.TypePTR:
		var r dnsmessage.PTRResource
		if r, err = d.in.PTRResource(); err == nil {
			err = d.out.PTRResource(h, r)
		}
	case h.Type == dnsmessage.TypeMX:
		var r dnsmessage.MXResource
		if r, err = d.in.MXResource(); err == nil {
			err = d.out.MXResource(h, r)
		}
	case h.Type == dnsmessage.TypeSRV:
		var r dnsmessage.SRVResource
		if r, err = d.in.SRVResource(); err == nil {
			err = d.out.SRVResource(h, r)
		}
	case h.Type == dnsmessage.TypeSOA:
		var r dnsmessage.SOAResource
		if r, err = d.in.SOAResource(); err == nil {
			err = d.out.SOAResource(h, r)
		}
	case h.Type == dnsmessage.TypeOPT, compressed[h.Type]:
		d.changed = true
		return false, nil
	default:
		var r dnsmessage.UnknownResource
		if r, err = d.in.UnknownResource(); err != nil {
			return true, err
		}
		if h.Type == typeDNAME && !d.follow(dnameTarget(r.Data)) {
			return true, nil
		}
		err = d.out.UnknownResource(h, r)
	}
	return true, err
}

// dnameTarget is the name that a DNAME record leads to; "" if it is none.
func dnameTarget(data []byte) string {
	if nameSize(data) != len(data) || len(data) == 0 {
		return ""
	}
	return text(data)
}

// rest is what follows the answers: who says that there is nothing, for how long,
// and signatures. Addresses of other names are left out.
func (d *digester) rest() error {
	negative := !d.found
	limit := uint32(0) // without an SOA record nothing is kept (RFC 2308 section 5)
	if err := d.out.StartAuthorities(); err != nil {
		return err
	}
	err := d.section(d.in.AuthorityHeader, d.in.SkipAuthority, func(h dnsmessage.ResourceHeader) (bool, error) {
		if !negative && !d.q.dnssec {
			return false, nil
		}
		switch h.Type {
		case dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypeCNAME, dnsmessage.TypeSVCB, dnsmessage.TypeHTTPS, typeDNAME:
			return false, nil
		case dnsmessage.TypeSOA:
			r, err := d.in.SOAResource()
			if err != nil {
				return true, err
			}
			limit = min(h.TTL, r.MinTTL, maxNoTTL)
			return true, d.out.SOAResource(h, r)
		}
		return d.plain(h)
	})
	if negative {
		d.ttl = min(d.ttl, limit)
	}
	return err
}
