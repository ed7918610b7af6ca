package dns

import (
	"bytes"
	"errors"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/libcapsa/libcapsa/internal/net/policy"
	"github.com/libcapsa/libcapsa/internal/safe"
)

// flight is a question that name servers are being asked, for everybody who asks the
// same meanwhile.
type flight struct {
	done   chan struct{}
	answer *answer // set before done is closed; nil: none came
}

// question is what a flight asks.
type question struct {
	wire   []byte // the name in its wire form, in lower case
	name   string // the same, with a dot at the end
	kind   dnsmessage.Type
	class  dnsmessage.Class
	dnssec bool
	flags  uint16 // bitAuthentic and bitUnchecked
}

// join takes part in the flight that asks a question, or begins it. It is nil when
// there are too many, or the proxy is closed.
func (p *Proxy) join(q *query, verdict policy.Verdict) *flight {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := q.key[:q.keyLen]
	if f := p.flights[string(key)]; f != nil {
		p.stats.joined.Add(1)
		return f
	}
	if p.closed {
		return nil
	}
	if len(p.flights) >= MaxInFlight {
		p.stats.overloaded.Add(1)
		return nil
	}
	f := &flight{done: make(chan struct{})}
	asked := question{
		wire: bytes.Clone(key[:len(q.name)]), name: text(q.name), kind: q.kind, class: q.class,
		dnssec: q.dnssec, flags: q.flags & (bitAuthentic | bitUnchecked),
	}
	id := string(key)
	p.flights[id] = f
	p.joined.Add(1)
	safe.Go("dns flight", nil, func() {
		defer p.land(id, f)
		f.answer = p.fly(&asked, verdict)
		if f.answer != nil && f.answer.source == Upstream {
			p.cache.put(id, f.answer)
		}
	})
	return f
}

// land ends a flight, however it went.
func (p *Proxy) land(key string, f *flight) {
	p.mu.Lock()
	delete(p.flights, key)
	p.mu.Unlock()
	close(f.done)
	p.joined.Done()
}

// fly asks name servers, one after the other, for an answer that can be read. What a
// policy that changed meanwhile says about the query counts.
func (p *Proxy) fly(q *question, verdict policy.Verdict) *answer {
	var got *answer
	err := p.upstream.exchange(p.ctx, q, func(message []byte) error {
		var err error
		got, err = p.digest(q, message, verdict, p.config.Now())
		return err
	})
	if err != nil {
		return nil
	}
	if now := p.judge(q.name, q.kind); now.Action != policy.Allow {
		return p.refusal(q, now)
	}
	return got
}

// refusal is an answer that says that the policy is against it.
func (p *Proxy) refusal(q *question, verdict policy.Verdict) *answer {
	b, err := begin(q.name, q.kind, q.class, dnsmessage.Header{RCode: dnsmessage.RCodeRefused})
	if err != nil {
		return nil
	}
	message, err := b.Finish()
	if err != nil {
		return nil
	}
	p.stats.refused.Add(1)
	return &answer{
		message: message, rcode: dnsmessage.RCodeRefused, ede: edeBlocked, source: Nowhere,
		name: q.name, verdict: verdict, born: p.config.Now(),
	}
}

// begin is a message with its question.
func begin(name string, kind dnsmessage.Type, class dnsmessage.Class, h dnsmessage.Header) (*dnsmessage.Builder, error) {
	asked, err := dnsmessage.NewName(name)
	if err != nil {
		return nil, err
	}
	h.Response, h.RecursionAvailable = true, true
	b := dnsmessage.NewBuilder(make([]byte, 0, plainSize), h)
	b.EnableCompression()
	err = errors.Join(b.StartQuestions(), b.Question(dnsmessage.Question{Name: asked, Type: kind, Class: class}))
	return &b, err
}
