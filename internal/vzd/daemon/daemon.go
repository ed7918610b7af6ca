package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vzd"
	"github.com/libcapsa/libcapsa/internal/vzd/wire"
)

// control is the descriptor of the control socket.
const control = 3

// exitTime is how long the machine may take to end when the client has died. After
// it the process ends anyway.
const exitTime = 12 * time.Second

// Run is the whole program: it serves one machine of the backend and returns the
// exit status. args are the program's arguments without its name; words for people
// go to log.
func Run(args []string, backend vm.Backend, opts vzd.Options, log io.Writer) int {
	if err := run(args, backend, opts); err != nil {
		_, _ = fmt.Fprintln(log, err) // there is nowhere else to say it
		return 1
	}
	return 0
}

func run(args []string, backend vm.Backend, opts vzd.Options) error {
	if err := unblockSignals(); err != nil {
		return err
	}
	parent, err := parentOf(args)
	if err != nil {
		return err
	}
	if err := checkControl(control); err != nil {
		return fmt.Errorf("this program is started by libcapsa, not by hand: %w", err)
	}
	closeInherited(control)
	unix.CloseOnExec(control)
	for _, resource := range unneeded {
		if err := unix.Setrlimit(resource, &unix.Rlimit{}); err != nil {
			return os.NewSyscallError("setrlimit", err)
		}
	}
	conn, err := wire.NewConn(control)
	if err != nil {
		return err
	}
	ctx, orphaned := context.WithCancel(context.Background())
	defer orphaned()
	stop, err := watchParent(parent, func() {
		time.AfterFunc(exitTime, endNow)
		orphaned()
	})
	if err != nil {
		return err
	}
	defer stop()
	defer removeTemp(os.Getenv("TMPDIR"))
	return vzd.Serve(ctx, conn, backend, opts)
}

// removeTemp removes the directory that the client has made for this process, if
// nothing is in it. The client does so too, unless it has died.
func removeTemp(dir string) {
	if strings.HasPrefix(filepath.Base(dir), wire.TempPrefix) {
		_ = os.Remove(dir)
	}
}

// parentOf is the process that the arguments name.
func parentOf(args []string) (int, error) {
	for _, arg := range args {
		if text, ok := strings.CutPrefix(arg, "--parent="); ok {
			return strconv.Atoi(text)
		}
	}
	return 0, errors.New("this program is started by libcapsa, not by hand: no --parent= is given")
}

// checkControl makes sure that a descriptor is a unix stream socket whose other end
// was made by this user.
func checkControl(fd int) error {
	addr, err := unix.Getsockname(fd)
	if err != nil {
		return fmt.Errorf("descriptor %d: %w", fd, err)
	}
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if _, isUnix := addr.(*unix.SockaddrUnix); err != nil || !isUnix || kind != unix.SOCK_STREAM {
		return fmt.Errorf("descriptor %d is no unix stream socket", fd)
	}
	uid, err := peerUID(fd)
	if err != nil {
		return fmt.Errorf("descriptor %d: %w", fd, err)
	}
	if uid != os.Geteuid() {
		return fmt.Errorf("its peer is user %d, and this is %d", uid, os.Geteuid())
	}
	return nil
}

// closeInherited closes what a program that starts others carelessly has given away
// to this one: all descriptors above the last of ours that are not close-on-exec. Go
// opens its own that way.
func closeInherited(last int) {
	for _, dir := range []string{"/proc/self/fd", "/dev/fd"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			fd, err := strconv.Atoi(e.Name())
			if err != nil || fd <= last {
				continue
			}
			if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
				_ = unix.Close(fd)
			}
		}
		return
	}
}
