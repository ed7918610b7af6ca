package dns

import (
	"bufio"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"sync"
)

// maxFile is how much of resolv.conf is read, in bytes.
const maxFile = 64 << 10

// resolvConf is the host's list of name servers (resolv.conf(5)).
type resolvConf struct {
	path string

	mu      sync.Mutex
	seen    fs.FileInfo      // of the file that was read; guarded by mu
	servers []netip.AddrPort // guarded by mu; replaced, not changed
}

// nameservers reads the file if it is another than last time. One that has gone is
// taken for one that is being replaced: the old list stays. Without a list it is the
// local host, as in the C library.
func (r *resolvConf) nameservers() []netip.AddrPort {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now, err := os.Stat(r.path); err == nil && !same(r.seen, now) {
		if servers, err := readServers(r.path); err == nil {
			r.servers, r.seen = servers, now
		}
	}
	if len(r.servers) == 0 {
		return []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), Port)}
	}
	return r.servers
}

func same(a, b fs.FileInfo) bool {
	return a != nil && os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

func readServers(path string) ([]netip.AddrPort, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return parseServers(io.LimitReader(file, maxFile))
}

// parseServers takes the addresses of "nameserver" lines; others, and what is no
// address, are passed over as the C library does.
func parseServers(r io.Reader) ([]netip.AddrPort, error) {
	var servers []netip.AddrPort
	lines := bufio.NewScanner(r)
	for lines.Scan() && len(servers) < maxServers {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if addr, err := netip.ParseAddr(fields[1]); err == nil {
			servers = append(servers, netip.AddrPortFrom(addr.Unmap(), Port))
		}
	}
	return servers, lines.Err()
}
