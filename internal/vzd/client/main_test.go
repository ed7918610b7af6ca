package client

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/sockpair"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
	"github.com/libcapsa/libcapsa/internal/vzd"
	vzdaemon "github.com/libcapsa/libcapsa/internal/vzd/daemon"
	"github.com/libcapsa/libcapsa/internal/vzd/wire"
)

// patience is how long a step of a test may take before it counts as hanging.
const patience = time.Minute

// roles are what this test's program is besides a test, by its first argument.
var roles = map[string]func(args []string) int{
	"daemon":   func(args []string) int { return vzdaemon.Run(args, testBackend(), vzd.Options{}, os.Stderr) },
	"holder":   func([]string) int { _, _ = io.Copy(io.Discard, os.Stdin); return 0 },
	"exit":     func([]string) int { return 0 },
	"words":    func([]string) int { fmt.Fprintln(os.Stderr, "first\nno such luck"); return 7 },
	"hang":     func([]string) int { select {} },
	"garbage":  func([]string) int { return raw([]byte("<html>this is no daemon</html>")) },
	"huge":     func([]string) int { return raw([]byte{0, 0, 0, 0x80, 2, 0, 0x56, 0x5a, 1, 0, 0, 0, 0, 0, 0, 0}) },
	"half":     func([]string) int { return raw([]byte{9, 0, 0, 0, 2, 0, 0x56, 0x5a, 1, 0, 0, 0, 0, 0, 0, 0, '{'}) },
	"old":      func([]string) int { return answer(wire.KindResponse, `{"result":{"proto":0,"backend":"fake"}}`) },
	"refuser":  func([]string) int { return answer(wire.KindResponse, `{"error":{"kind":18,"op":"hello"}}`) },
	"stranger": func([]string) int { return answer(wire.KindResponse, `{"result":{"proto":2,"backend":"other"}}`) },
	"mad":      func([]string) int { return answer(wire.KindRequest, `{}`) },
}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if role := roles[os.Args[1]]; role != nil {
			syscall.Exit(role(os.Args[2:])) // os.Exit takes a second under the race detector
		}
	}
	os.Exit(m.Run())
}

// raw is a daemon that sends bytes and ends.
func raw(b []byte) int {
	_, _ = unix.Write(3, b)
	return 0
}

// answer is a daemon that answers every call the same.
func answer(kind wire.Kind, body string) int {
	conn, err := wire.NewConn(3)
	if err != nil {
		return 1
	}
	for {
		f, err := conn.Receive()
		if err != nil {
			return 0
		}
		if err := conn.Send(wire.Frame{Kind: kind, ID: f.ID, Body: []byte(body)}); err != nil {
			return 1
		}
	}
}

// backend is a client of a daemon that is this program in a role.
func backend(t testing.TB, role string) *Backend {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	return New(Config{Name: "fake", Path: exe, Args: []string{role}})
}

// withSockets is a fake machine with sockets: port 1 answers what it is sent, port
// 2 gives a file that is no socket, and others never answer.
type withSockets struct {
	vm.Machine
	vm.Networked
	lent vm.Host
	made []vm.VsockPort
}

func (m withSockets) Close() error {
	for _, p := range m.made {
		_ = os.Remove(p.Path)
	}
	return m.Machine.Close()
}

func (m withSockets) VsockConnect(ctx context.Context, _ vm.VsockType, port uint32) (int, error) {
	switch port {
	case 1:
		ours, theirs, err := sockpair.New()
		if err != nil {
			return -1, err
		}
		go func() {
			f := os.NewFile(uintptr(ours), "echo")
			defer f.Close()
			_, _ = io.Copy(f, f)
		}()
		return theirs, nil
	case 2:
		return unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	}
	m.lent.Event(vm.Event{Type: vm.EventLog, Message: "connecting"})
	<-ctx.Done()
	m.lent.Event(vm.Event{Type: vm.EventLog, Message: "gave up"})
	return -1, vm.ContextError(ctx, "connect")
}

func (m withSockets) VsockListen(vm.VsockType, uint32, int) (int, error) {
	return -1, vm.Errorf(vm.KindExists, "listen", "the port is taken")
}

func (m withSockets) VsockUnlisten(uint32) error { return vm.Errorf(vm.KindNotFound, "unlisten", "no") }

// socketBackend gives machines withSockets, and binds their paths.
type socketBackend struct{ *vmtest.Fake }

func (b socketBackend) New(cfg vm.Config, host vm.Host) (vm.Machine, error) {
	without := cfg
	without.Vsock = vm.VsockConfig{} // which the fake has not
	m, err := b.Fake.New(without, host)
	if err != nil {
		return nil, err
	}
	for _, p := range cfg.Vsock.Ports {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err == nil {
			err = unix.Bind(fd, &unix.SockaddrUnix{Name: p.Path})
		}
		if err != nil {
			return nil, err
		}
	}
	return withSockets{m, m.(vm.Networked), host, cfg.Vsock.Ports}, nil
}

// testBackend is what the daemons of the tests serve.
func testBackend() vm.Backend {
	fake := vmtest.NewFake()
	fake.Programs["/events"] = func(g *vmtest.Guest) {
		g.Print("before")
		g.Event(vm.Event{Type: vm.EventDiskError, Component: "disk", Message: "bad\xff"})
		g.Serial("early")
		g.Event(vm.Event{Type: vm.EventReady})
		g.End(vm.Exit{Cause: vm.CauseMainExited, Code: 3, Detail: "d\xff"})
	}
	fake.Programs["/flood"] = func(g *vmtest.Guest) {
		for range 3 * 1024 {
			g.Event(vm.Event{Type: vm.EventLog, Message: strings.Repeat("x", 1000)})
		}
		g.Print("flooded")
		vmtest.Spin(g)
	}
	fake.Programs["/crash"] = func(g *vmtest.Guest) {
		g.Print("last words of the guest")
		go panic("the monitor is broken") // not contained
		vmtest.Spin(g)
	}
	fake.Programs["/failure"] = func(g *vmtest.Guest) {
		g.Crash(vm.Errorf(vm.KindIO, "run", "%w", os.NewSyscallError("ioctl", unix.EFAULT)).WithHint("h"))
	}
	return socketBackend{fake}
}
