//go:build linux

// Command ours puts the network that machines get on a tap of a namespace, whose
// kernel is the guest: what a virtio device does with rings, the tap does by system
// calls.
//
//	ours -ns /run/netns/guest -tap tap0 -mtu 1500
//
// The tap's address is to be 02:00:5e:10:00:01, the guest's 10.0.2.15.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	_ "net/http/pprof" // at -pprof
	"net/netip"
	"os"

	"github.com/libcapsa/libcapsa/internal/net/gateway"
	"github.com/libcapsa/libcapsa/internal/net/link"
	"github.com/libcapsa/libcapsa/internal/vm"
)

func main() {
	ns := flag.String("ns", "", "the guest's namespace, a `FILE`")
	name := flag.String("tap", "tap0", "the guest's interface")
	mtu := flag.Int("mtu", vm.DefaultMTU, "of IP packets, in `BYTES`")
	profile := flag.String("pprof", "", "serve profiles at `ADDRESS`")
	flag.Parse()
	if *profile != "" {
		go func() { fmt.Fprintln(os.Stderr, "ours:", http.ListenAndServe(*profile, nil)) }()
	}
	fmt.Fprintln(os.Stderr, "ours:", run(*ns, *name, *mtu))
	os.Exit(1)
}

// everything lets the guest reach the servers, which are on the host itself.
const everything = `{"default": "allow-all", "unlock": ["host", "loopback"]}`

// run returns why it ended.
func run(ns, name string, mtu int) error {
	t, err := openTap(ns, name)
	if err != nil {
		return err
	}
	cfg := vm.NetworkConfig{
		Mode: vm.NetworkUser, MTU: mtu, IPv4: netip.MustParsePrefix("10.0.2.0/24"), Policy: json.RawMessage(everything),
	}
	g, err := gateway.New(gateway.Config{Network: cfg.WithDefaults(), MAC: [6]byte{0x02, 0, 0x5e, 0x10, 0, 1}})
	if err != nil {
		return err
	}
	g.Attach(t, link.Offloads{Checksum: true, TSO4: true, TSO6: true, USO4: t.uso, USO6: t.uso})
	return t.serve(g)
}
