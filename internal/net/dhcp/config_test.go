package dhcp_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/net/dhcp"
	"github.com/libcapsa/libcapsa/internal/net/ether"
)

func TestConfig(t *testing.T) {
	reserve := func(mac ether.MAC, addr, host string) func(*dhcp.Config) {
		return func(c *dhcp.Config) {
			c.Reservations = map[ether.MAC]dhcp.Reservation{mac: {Addr: ip(addr), Hostname: host}}
		}
	}
	for _, tt := range []struct {
		change func(*dhcp.Config)
		want   string
	}{
		{func(c *dhcp.Config) { c.Network = netip.Prefix{} }, "network"},
		{func(c *dhcp.Config) { c.Network = netip.MustParsePrefix("10.0.2.2/31") }, "at most 30 bits"},
		{func(c *dhcp.Config) { c.Network = netip.MustParsePrefix("fd00::/64") }, "network"},
		{func(c *dhcp.Config) { c.Server = ip("10.0.3.1") }, "server 10.0.3.1"},
		{func(c *dhcp.Config) { c.Server = ip("10.0.2.255") }, "server"},
		{func(c *dhcp.Config) { c.Router = ip("10.0.2.0") }, "router"},
		{func(c *dhcp.Config) { c.First = ip("10.0.2.20") }, "range"},
		{func(c *dhcp.Config) { c.Last = netip.Addr{} }, "range"},
		{func(c *dhcp.Config) {
			c.Network = netip.MustParsePrefix("10.0.0.0/16")
			c.First, c.Last = ip("10.0.0.1"), ip("10.0.16.1")
		}, "at most 4096"},
		{reserve(ether.Broadcast, "10.0.2.9", ""), "not the address of one interface"},
		{reserve(guest, "10.0.2.2", ""), "not an address of a client"},
		{reserve(guest, "10.0.9.2", ""), "not an address of a client"},
		{reserve(guest, "10.0.2.9", "a b"), "hostname"},
		{func(c *dhcp.Config) {
			c.Reservations = map[ether.MAC]dhcp.Reservation{guest: {Addr: ip("10.0.2.9")}, other: {Addr: ip("10.0.2.9")}}
		}, "it is 02:ca:95:a0:00:01's"},
		{func(c *dhcp.Config) { c.MTU = 20 }, "MTU"},
		{func(c *dhcp.Config) { c.Lease = time.Second }, "lease"},
		{func(c *dhcp.Config) { c.DNS = []netip.Addr{ip("::1")} }, "DNS server"},
		{func(c *dhcp.Config) { c.DNS = make([]netip.Addr, 9) }, "at most"},
		{func(c *dhcp.Config) { c.Domain = "a..b" }, "domain"},
		{func(c *dhcp.Config) { c.Search = []string{strings.Repeat("a", 64)} }, "search"},
		{func(c *dhcp.Config) { c.Search = []string{strings.Repeat("a.", 127) + "b"} }, "search"},
		{func(c *dhcp.Config) { c.Routes = []dhcp.Route{{}} }, "route"},
	} {
		config := network()
		tt.change(&config)
		_, err := dhcp.New(config)
		require.ErrorContains(t, err, tt.want)
	}
	_, err := dhcp.New(network())
	require.NoError(t, err)
}

// TestOnlyReservations: without a range nobody else is served.
func TestOnlyReservations(t *testing.T) {
	s := server(t, func(c *dhcp.Config) {
		c.First, c.Last = netip.Addr{}, netip.Addr{}
		c.Reservations = map[ether.MAC]dhcp.Reservation{guest: {Addr: ip("10.0.2.9")}}
	})
	require.Equal(t, ip("10.0.2.9"), lease(t, s, guest, start))
	_, ok := ask(t, s, sent{kind: dhcp.Discover, mac: other}, start)
	require.False(t, ok)
}
