package dns

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libcapsa/libcapsa/internal/net/policy"
)

// Limits, ours. The first two are of one machine.
const (
	MaxCached   = 4096    // answers
	MaxInFlight = 256     // queries that wait, and questions that name servers were asked
	maxCache    = 4 << 20 // bytes of cached answers
	maxHosts    = 4096
	maxServers  = 8
)

// Port is where a gateway is asked, over UDP and TCP.
const Port = 53

// Zone is the name below which the host and other machines are.
const Zone = "capsa.internal"

// Config is how a proxy answers.
type Config struct {
	// Policy of the machine; nil: everything is allowed.
	Policy *policy.Engine
	// ResolvConf is the file with the name servers; empty: /etc/resolv.conf.
	ResolvConf string
	// Servers are used instead of that file's, if there are any.
	Servers []netip.AddrPort
	// Host are the addresses of host.capsa.internal; none: there is no such name.
	Host []netip.Addr
	// Hosts are other static names.
	Hosts map[string][]netip.Addr
	// Names returns the addresses of a machine of the network, by a name that is in
	// lower case and has no dot at the end, and Reverse the name of an address. They
	// must not block. nil: there are none.
	Names   func(name string) ([]netip.Addr, bool)
	Reverse func(addr netip.Addr) (string, bool)
	// IPv6 tells whether the host has a route to the IPv6 internet; where it has not,
	// names have no IPv6 addresses. nil: it has.
	IPv6 func() bool
	// Observe gets every query, when it has been answered, on the goroutine that
	// answers. It must not block. nil: nobody does.
	Observe func(Event)
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Proxy answers the queries of one machine.
type Proxy struct {
	config   Config
	static   static
	cache    cache
	upstream *upstream
	stats    counters
	waiting  atomic.Int64

	ctx    context.Context // of flights; it ends with Close
	cancel context.CancelFunc

	mu      sync.Mutex
	flights map[string]*flight // by key; guarded by mu
	closed  bool               // guarded by mu
	joined  sync.WaitGroup     // of flights
}

// New makes a proxy; Close ends it. It opens nothing before it is asked.
func New(config Config) (*Proxy, error) {
	hosts, err := newStatic(&config)
	if err != nil {
		return nil, err
	}
	if len(config.Servers) > maxServers {
		return nil, fmt.Errorf("dns: %d name servers: at most %d", len(config.Servers), maxServers)
	}
	for _, s := range config.Servers {
		if !s.IsValid() || s.Port() == 0 {
			return nil, fmt.Errorf("dns: name server %v: want an address and a port", s)
		}
	}
	if config.ResolvConf == "" {
		config.ResolvConf = "/etc/resolv.conf"
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	p := &Proxy{config: config, static: hosts, flights: map[string]*flight{}}
	p.cache.init()
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.upstream = newUpstream(&p.config, &p.stats)
	return p, nil
}

// Close ends what is under way: who waits gets SERVFAIL. It returns when nothing of
// the proxy runs any more. A closed proxy still answers what needs no name server.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.upstream.close()
	p.joined.Wait()
	return nil
}

// canonical is how names are looked up here: lower case, no dot at the end.
func canonical(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, "."))
}
