//go:build linux

package setup

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/agent/wire"
	"github.com/libcapsa/libcapsa/internal/safe"
)

// dhcpTime is how long the network's server may take to answer.
const dhcpTime = 10 * time.Second

// setUpNetwork sets up loopback, and the first device as told.
func setUpNetwork(n *wire.NetworkSetup, hostname string) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	writeIfMissing("/etc/hosts", "127.0.0.1\tlocalhost "+hostname+"\n::1\tlocalhost ip6-localhost\n")
	if n.GetMode() == "" {
		return nil
	}
	link, err := firstDevice()
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return err
	}
	if n.Mode == "static" {
		if err := static(link, n); err != nil {
			return err
		}
		return writeResolvConf(n.NameServers, n.Search)
	}
	return lease(link, n)
}

// firstDevice is the network device with the lowest index that is not loopback.
func firstDevice() (netlink.Link, error) {
	var first netlink.Link
	err := awaitDevice(func() bool {
		links, err := netlink.LinkList()
		if err != nil {
			return false
		}
		for _, l := range links {
			a := l.Attrs()
			if a.Flags&net.FlagLoopback == 0 && l.Type() == "device" && (first == nil || a.Index < first.Attrs().Index) {
				first = l
			}
		}
		return first != nil
	})
	if err != nil {
		return nil, fmt.Errorf("no network device: %w", err)
	}
	return first, nil
}

func static(link netlink.Link, n *wire.NetworkSetup) error {
	for _, a := range n.Addresses {
		addr, err := netlink.ParseAddr(a)
		if err != nil {
			return err
		}
		if addr.IP.To4() == nil {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrReplace(link, addr); err != nil {
			return fmt.Errorf("address %s: %w", a, err)
		}
	}
	for _, r := range n.Routers {
		if err := route(link, net.ParseIP(r)); err != nil {
			return fmt.Errorf("router %s: %w", r, err)
		}
	}
	return nil
}

// route makes a router that of everything that has no other.
func route(link netlink.Link, router net.IP) error {
	if router == nil {
		return errors.New("not an address")
	}
	return netlink.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: router, Priority: 100})
}

// lease gets an address by DHCP, and keeps it.
func lease(link netlink.Link, n *wire.NetworkSetup) error {
	name := link.Attrs().Name
	client, err := nclient4.New(name, nclient4.WithTimeout(time.Second), nclient4.WithRetry(int(dhcpTime/time.Second)))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), dhcpTime)
	defer cancel()
	l, err := client.Request(ctx)
	if err != nil {
		client.Close()
		return fmt.Errorf("dhcp: %w", err)
	}
	if err := apply(link, l.ACK, n); err != nil {
		client.Close()
		return err
	}
	safe.Go("dhcp", nil, func() {
		defer client.Close()
		renew(link, client, l, n)
	})
	return nil
}

// renew asks for the address again when half of its time is over (RFC 2131 section
// 4.4.5), for as long as the guest lives.
func renew(link netlink.Link, client *nclient4.Client, l *nclient4.Lease, n *wire.NetworkSetup) {
	for {
		time.Sleep(max(l.ACK.IPAddressLeaseTime(time.Hour)/2, 10*time.Second))
		ctx, cancel := context.WithTimeout(context.Background(), dhcpTime)
		next, err := client.Renew(ctx, l)
		if err != nil {
			next, err = client.Request(ctx)
		}
		cancel()
		if err == nil && apply(link, next.ACK, n) == nil {
			l = next
		}
	}
}

// apply does what a lease says.
func apply(link netlink.Link, ack *dhcpv4.DHCPv4, n *wire.NetworkSetup) error {
	mask := ack.SubnetMask()
	if mask == nil {
		mask = ack.YourIPAddr.DefaultMask()
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: ack.YourIPAddr, Mask: mask}}
	if err := netlink.AddrReplace(link, addr); err != nil {
		return fmt.Errorf("address %s: %w", addr, err)
	}
	if mtu, err := dhcpv4.GetUint16(dhcpv4.OptionInterfaceMTU, ack.Options); err == nil && mtu >= 576 {
		_ = netlink.LinkSetMTU(link, int(mtu)) // a device that cannot keeps its own
	}
	for _, r := range ack.Router() {
		if err := route(link, r); err != nil {
			return fmt.Errorf("router %s: %w", r, err)
		}
	}
	servers, search := n.NameServers, n.Search
	if len(servers) == 0 {
		for _, s := range ack.DNS() {
			servers = append(servers, s.String())
		}
	}
	if len(search) == 0 && ack.DomainName() != "" {
		search = []string{ack.DomainName()}
	}
	return writeResolvConf(servers, search)
}

// writeResolvConf writes resolv.conf(5), in place of what the root directory has.
func writeResolvConf(servers, search []string) error {
	if len(servers) == 0 {
		return nil
	}
	var b strings.Builder
	if len(search) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(search, " "))
	}
	for _, s := range servers {
		fmt.Fprintf(&b, "nameserver %s\n", s)
	}
	const path = "/etc/resolv.conf"
	if err := os.MkdirAll("/etc", 0o755); err == nil {
		_ = os.Remove(path) // a link into a service that does not run here
		if os.WriteFile(path, []byte(b.String()), 0o644) == nil {
			return nil
		}
	}
	// The root directory cannot be written.
	const own = "/run/capsa-resolv.conf"
	if err := os.WriteFile(own, []byte(b.String()), 0o644); err != nil {
		return err
	}
	if err := unix.Mount(own, path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
