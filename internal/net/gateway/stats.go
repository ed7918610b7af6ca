package gateway

import (
	"github.com/libcapsa/libcapsa/internal/net/dhcp"
	"github.com/libcapsa/libcapsa/internal/net/nat"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// Stats are the counters of this moment, without what the device counts.
func (g *Gateway) Stats() vm.NetStats {
	e, d, leases := g.engine.Stats(), g.dns.Stats(), g.dhcp.Stats()
	s := vm.NetStats{
		MAC: g.guest.String(), Spoofed: e.Spoofed, Stray: e.Misdirected + e.BadChecksum, DroppedOut: e.QueueFull,
		TCP: flows(e.TCP), UDP: flows(e.UDP), Ping: flows(e.Ping), Forward: flows(e.Inbound),
		Leases: leases.Sent[dhcp.ACK],
		DNS:    vm.DNSStats{Queries: d.Queries, Refused: d.Refused, Hits: d.Hits, Failed: d.Failed},
	}
	for _, n := range e.Malformed {
		s.Malformed += n
	}
	return s
}

func flows(f nat.FlowStats) vm.FlowStats {
	return vm.FlowStats{
		Open: uint64(max(f.Open, 0)), Opened: f.Opened, Denied: f.Denied, Failed: f.Failed, Limited: f.Limited,
		BytesIn: f.FromGuest, BytesOut: f.ToGuest,
	}
}
