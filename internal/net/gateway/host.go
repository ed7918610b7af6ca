package gateway

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/safe"
)

// watch follows the host's addresses. The kernel tells of changes (rtnetlink(7), or
// route(4) of Darwin); what has changed is then read anew.
type watch struct {
	socket *os.File
	once   sync.Once // of closing
	done   chan struct{}
}

// watchHost calls changed at once, and whenever the host's addresses have changed, on
// a goroutine of its own.
func watchHost(changed func([]netip.Prefix)) (*watch, error) {
	fd, err := watchSocket()
	if err != nil {
		return nil, err
	}
	w := &watch{socket: os.NewFile(uintptr(fd), "host addresses"), done: make(chan struct{})}
	addrs, err := hostAddrs() // after bind: no change is missed
	if err != nil {
		return nil, errors.Join(err, w.socket.Close())
	}
	changed(addrs)
	safe.Go("gateway host addresses", nil, func() {
		defer close(w.done)
		w.run(changed)
	})
	return w, nil
}

// run reads messages for the sake of their coming.
func (w *watch) run(changed func([]netip.Prefix)) {
	var message [8192]byte
	for {
		_, err := w.socket.Read(message[:])
		if err != nil && !errors.Is(err, unix.ENOBUFS) { // ENOBUFS: there were too many, which is news too
			return
		}
		if addrs, err := hostAddrs(); err == nil {
			changed(addrs)
		}
	}
}

func (w *watch) close() (err error) {
	w.once.Do(func() { err = w.socket.Close() })
	<-w.done
	return err
}

// hostAddrs are the addresses of the host's interfaces, each as a network of one.
func hostAddrs() ([]netip.Prefix, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var out []netip.Prefix
	for _, a := range all {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		if addr, ok := netip.AddrFromSlice(n.IP); ok {
			addr = addr.Unmap()
			out = append(out, netip.PrefixFrom(addr, addr.BitLen()))
		}
	}
	return out, nil
}

// probe knows whether the host has a route to the IPv6 internet.
type probe struct {
	mu    sync.Mutex
	asked time.Time // guarded by mu
	yes   bool      // guarded by mu
}

const (
	// probeAge is how old an answer gets. Ours.
	probeAge = 5 * time.Second
	// probed is an address that every host with a route can route to: that of a root
	// name server. Nothing is sent to it.
	probed = "[2001:503:ba3e::2:30]:53"
)

// ok asks for the route, unless it has done so just now. It does not block.
func (p *probe) ok() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.asked) >= probeAge {
		p.asked = now
		conn, err := net.Dial("udp6", probed)
		if p.yes = err == nil; p.yes {
			_ = conn.Close()
		}
	}
	return p.yes
}
