package vsock

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// names makes automatic names. Host.mu guards it.
type names struct {
	dir  string // "": none yet
	made bool   // dir was made here, and goes with us
}

// bind names a socket by what it is for and something that nobody else has.
func (n *names) bind(fd int, prefix string, port uint32) (*ownName, error) {
	if err := n.prepare(); err != nil {
		return nil, err
	}
	for {
		var unique [4]byte
		_, _ = rand.Read(unique[:]) // never fails, see crypto/rand
		path := filepath.Join(n.dir, fmt.Sprintf("%s-%d-%s.sock", prefix, port, hex.EncodeToString(unique[:])))
		if len(path) > maxPath {
			return nil, vm.Errorf(vm.KindInvalidArg, "vsock", "names of sockets here would have %d bytes, more than %d", len(path), maxPath).
				WithComponent("vsock").WithPath(n.dir).WithHint("choose a directory with a shorter path")
		}
		own, err := bindTo(fd, path)
		if !inUse(err) {
			return own, err
		}
	}
}

// prepare makes the directory, or checks that the caller's is nobody else's to
// enter: a name in it is then enough to connect to nobody but us.
func (n *names) prepare() error {
	if n.dir == "" {
		dir, err := os.MkdirTemp("", "capsa-vsock-") // with mode 0700
		if err != nil {
			return err
		}
		n.dir, n.made = dir, true
		return nil
	}
	if n.made {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Lstat(n.dir, &st); err != nil {
		return &os.PathError{Op: "lstat", Path: n.dir, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Mode&0o077 != 0 || int(st.Uid) != os.Geteuid() {
		return vm.Errorf(vm.KindInvalidArg, "vsock", "not a directory of this user alone").
			WithComponent("vsock").WithPath(n.dir).WithHint("make it with mode 0700")
	}
	return nil
}

// remove removes the directory if it was made here. Its names are gone already.
func (n *names) remove() {
	if n.made {
		_ = os.Remove(n.dir)
		n.dir, n.made = "", false
	}
}
