package dns

import (
	"context"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/libcapsa/libcapsa/internal/net/policy"
)

// Local answers a query that needs no name server: one that is refused, known or
// malformed. It never blocks. Without an answer and an error the query is for
// Exchange. The query is not kept. The error is ErrNotQuery: the message gets no
// answer.
func (p *Proxy) Local(message []byte, transport Transport) ([]byte, error) {
	var q query
	reply, _, err := p.local(&q, message, transport, p.config.Now())
	return reply, err
}

// Exchange answers a query, and waits for name servers where it must. It fails with
// ErrNotQuery, or with the context's error; in every other case there is an answer.
// The query is not kept.
func (p *Proxy) Exchange(ctx context.Context, message []byte, transport Transport) ([]byte, error) {
	var q query
	begin := p.config.Now()
	reply, verdict, err := p.local(&q, message, transport, begin)
	if reply != nil || err != nil {
		return reply, err
	}
	p.stats.queries.Add(1)
	if p.waiting.Add(1) > MaxInFlight {
		p.waiting.Add(-1)
		p.stats.overloaded.Add(1)
		return p.failed(&q, verdict, begin), nil
	}
	defer p.waiting.Add(-1)
	f := p.join(&q, verdict)
	if f == nil {
		return p.failed(&q, verdict, begin), nil
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if f.answer == nil {
		p.stats.failed.Add(1)
		return p.failed(&q, verdict, begin), nil
	}
	return p.serve(&q, f.answer, Upstream, begin), nil
}

// local also returns the verdict about a query that it has no answer for.
func (p *Proxy) local(q *query, message []byte, transport Transport, now time.Time) ([]byte, policy.Verdict, error) {
	none := policy.Verdict{Action: policy.Allow, Rule: policy.RuleDefault}
	code, err := q.parse(message, transport)
	if err != nil {
		p.stats.queries.Add(1)
		p.stats.malformed.Add(1)
		return nil, none, err
	}
	if code != dnsmessage.RCodeSuccess {
		p.stats.queries.Add(1)
		p.stats.malformed.Add(1)
		p.observe(q, none, Nowhere, code, 0, now)
		return q.fail(code, edeNone), none, nil
	}
	if a := p.cache.get(q.key[:q.keyLen], now, p.generation()); a != nil {
		p.stats.queries.Add(1)
		p.stats.hits.Add(1)
		if len(a.ttls) == 0 || a.answers == 0 {
			p.stats.negative.Add(1)
		}
		return p.serve(q, a, Cache, now), none, nil
	}
	name := text(q.name)
	verdict := p.judge(name, q.kind)
	a := p.static.find(name, q.kind, &p.config)
	if verdict.Action != policy.Allow && (a == nil || verdict.Rule >= 0) {
		p.stats.queries.Add(1)
		p.stats.refused.Add(1)
		p.observe(q, verdict, Nowhere, dnsmessage.RCodeRefused, 0, now)
		return q.fail(dnsmessage.RCodeRefused, edeBlocked), verdict, nil
	}
	if a != nil {
		p.stats.queries.Add(1)
		p.stats.static.Add(1)
		a.born, a.verdict = now, verdict
		a.pinned = p.config.Policy != nil && len(a.addrs) > 0
		return p.serve(q, a, Static, now), verdict, nil
	}
	if q.kind == dnsmessage.TypeAAAA && p.config.IPv6 != nil && !p.config.IPv6() {
		p.stats.queries.Add(1)
		p.stats.static.Add(1)
		p.observe(q, verdict, Static, dnsmessage.RCodeSuccess, 0, now)
		return q.fail(dnsmessage.RCodeSuccess, edeNone), verdict, nil
	}
	return nil, verdict, nil
}

// serve answers a query with an answer, and pins what it says.
func (p *Proxy) serve(q *query, a *answer, source Source, begin time.Time) []byte {
	now := begin
	if source == Upstream {
		now = p.config.Now()
	}
	if a.pinned {
		p.config.Policy.Learn(a.name, a.addrs, a.ttl-max(now.Sub(a.born), 0), now)
	}
	if source != Cache {
		source = a.source
	}
	reply := a.reply(q, now)
	p.observe(q, a.verdict, source, a.rcode, a.dropped, begin)
	return reply
}

// failed is SERVFAIL.
func (p *Proxy) failed(q *query, verdict policy.Verdict, begin time.Time) []byte {
	p.observe(q, verdict, Nowhere, dnsmessage.RCodeServerFailure, 0, begin)
	return q.fail(dnsmessage.RCodeServerFailure, edeUnreachable)
}

// judge asks the policy about a query.
func (p *Proxy) judge(name string, kind dnsmessage.Type) policy.Verdict {
	if p.config.Policy == nil {
		return policy.Verdict{Action: policy.Allow, Rule: policy.RuleDefault}
	}
	return p.config.Policy.Query(name, uint16(kind))
}

func (p *Proxy) generation() uint64 {
	if p.config.Policy == nil {
		return 0
	}
	return p.config.Policy.Generation()
}

func (p *Proxy) observe(q *query, verdict policy.Verdict, source Source, code dnsmessage.RCode, dropped int, begin time.Time) {
	if p.config.Observe == nil {
		return
	}
	e := Event{
		Type: uint16(q.kind), Transport: q.transport, Verdict: verdict, Source: source,
		RCode: uint16(code), Dropped: dropped, Latency: p.config.Now().Sub(begin),
	}
	if q.question {
		e.Name = canonical(text(q.name))
	}
	p.config.Observe(e)
}
