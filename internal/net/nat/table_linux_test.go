package nat

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/net/frame"
)

// Limits of the table that is fuzzed: small ones, which are reached.
const fuzzDatagrams, fuzzPings = 5, 3

// FuzzTable does to the table of sessions what guests, timers and policies do, in any
// order: it holds what it should, and no more than the limits.
func FuzzTable(f *testing.F) {
	f.Add([]byte{0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 1, 3, 0, 8, 2, 4, 3, 5, 4, 0, 5, 0, 6, 0})
	f.Add([]byte{0, 128, 0, 129, 0, 130, 0, 131, 2, 130, 0, 132, 7, 1, 4, 0})
	f.Add([]byte{0, 1, 0, 1, 3, 1, 3, 1, 0, 1, 5, 0, 0, 1})
	cfg := Config{GatewayMAC: gatewayMAC, GuestMAC: guestMAC, Gateway4: gateway4, Guest4: guest4}
	cfg.Limits.Datagrams, cfg.Limits.Pings = fuzzDatagrams, fuzzPings
	withPolicy(open)(&cfg, nil)
	e, err := New(cfg)
	require.NoError(f, err)
	f.Cleanup(func() { _ = e.Close() })
	f.Fuzz(func(t *testing.T, ops []byte) {
		d := &e.datagrams
		d.endAll()
		var all []*session
		for ; len(ops) >= 2; ops = ops[2:] {
			tableOp(e, ops[0]%8, ops[1], &all)
			checkTable(t, d, all)
		}
		d.endAll()
		checkTable(t, d, all)
		require.Empty(t, d.sessions)
		require.Empty(t, d.mappings)
	})
}

// tableOp does one thing; what is a key, or chooses one of the sessions there were.
func tableOp(e *Engine, op, what byte, all *[]*session) {
	d := &e.datagrams
	var one *session
	if n := len(*all); n > 0 {
		one = (*all)[int(what)%n]
	}
	switch {
	case op == 0:
		key := sessionKey{frame.UDP, netip.AddrPortFrom(guest4.Addr(), uint16(what/16)), netip.AddrPortFrom(somewhere.Addr(), uint16(what%16))}
		counts := &e.counts.udp
		if what >= 128 {
			key.proto, counts = frame.ICMPv4, &e.counts.ping
		}
		s := &session{e: e, key: key, counts: counts}
		if key.proto == frame.UDP {
			s.mapped = d.take(key.guest)
		}
		if !d.add(s) {
			d.release(s)
			return
		}
		*all = append(*all, s)
	case one == nil:
	case op == 1:
		one.replied.Store(true)
		one.touch()
	case op == 2:
		one.used.Store(one.used.Load() + int64(what)) // a later datagram
	case op == 3:
		d.remove(one)
	case op == 4:
		one.used.Store(0) // long ago
		d.sweep()
	case op == 5:
		d.dropIf(func(s *session) bool { return s.key.remote.Port()%2 == uint16(what)%2 })
	case op == 6:
		d.reevaluate()
	case op == 7:
		d.endAll()
	}
}

func checkTable(t *testing.T, d *datagrams, all []*session) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	require.LessOrEqual(t, d.recent.Len(), fuzzDatagrams)
	require.LessOrEqual(t, d.pings.Len(), fuzzPings)
	require.Len(t, d.sessions, d.recent.Len()+d.pings.Len())
	require.Equal(t, [2]int{d.recent.Len(), d.pings.Len()}, [2]int{int(d.e.counts.udp.open.Load()), int(d.e.counts.ping.open.Load())})
	flows := 0
	for _, s := range all {
		there := d.sessions[s.key] == s
		require.Equal(t, there, !s.ended.Load(), "a session is in the table or over")
		if there && s.mapped != nil {
			require.Same(t, d.mappings[s.key.guest], s.mapped)
			flows++
		}
	}
	for _, m := range d.mappings {
		require.Positive(t, m.flows)
		flows -= m.flows
	}
	require.Zero(t, flows)
}
