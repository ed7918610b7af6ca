package capsa_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/guest/agent"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

// agentVariable makes the test program an agent that calls the socket at that path.
const agentVariable = "CAPSA_TEST_AGENT"

func TestMain(m *testing.M) {
	path := os.Getenv(agentVariable)
	if path == "" {
		os.Exit(m.Run())
	}
	a := agent.New(agent.Config{Version: "test", Dial: func() (agent.Conn, error) {
		c, err := net.Dial("unix", path)
		if err != nil {
			os.Exit(0) // the machine is gone
		}
		return c.(*net.UnixConn), nil
	}}, agent.NewReaper())
	if err := a.Run(context.Background()); err != nil {
		os.Exit(1)
	}
}

// socketed is the fake backend with sockets: its guests' connections to the host are
// connections to a unix socket.
type socketed struct {
	*vmtest.Fake
	dir string
}

// socketPath is where a guest finds the agent's port.
func (s *socketed) socketPath() string { return filepath.Join(s.dir, "port") }

func (s *socketed) New(cfg vm.Config, host vm.Host) (vm.Machine, error) {
	cfg.Vsock = vm.VsockConfig{}
	m, err := s.Fake.New(cfg, host)
	if err != nil {
		return nil, err
	}
	return &socketedMachine{Machine: m, s: s}, nil
}

func (s *socketed) Capabilities() (vm.Capabilities, error) {
	caps := s.Caps
	caps.Features = map[vm.Feature]bool{vm.FeatureVsock: true}
	for f, on := range s.Caps.Features {
		caps.Features[f] = on
	}
	return caps, nil
}

type socketedMachine struct {
	vm.Machine
	s *socketed
}

func (m *socketedMachine) VsockListen(_ vm.VsockType, port uint32, _ int) (int, error) {
	if port != vm.AgentPort {
		return -1, vm.Errorf(vm.KindInvalidArg, "listen", "port %d", port)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: m.s.socketPath(), Net: "unix"})
	if err != nil {
		return -1, err
	}
	l.SetUnlinkOnClose(false)
	defer l.Close()
	f, err := l.File()
	if err != nil {
		return -1, err
	}
	fd := int(f.Fd())
	return dup(fd), f.Close()
}

func (m *socketedMachine) VsockConnect(context.Context, vm.VsockType, uint32) (int, error) {
	return -1, vm.Errorf(vm.KindUnsupported, "connect", "nobody listens in this guest")
}

func (m *socketedMachine) VsockUnlisten(uint32) error { return nil }

// sandboxOn is a running machine whose guest is told where the host's socket is.
func sandboxOn(t testing.TB, program vmtest.Program) (*capsa.VM, string) {
	t.Helper()
	vmtest.CheckLeaks(t)
	s := &socketed{Fake: vmtest.NewFake(), dir: t.TempDir()}
	if program != nil {
		s.Programs[vmtest.KernelSpin] = program
	}
	b := capsa.NewSandbox()
	require.NoError(t, b.SetIsolation(capsa.IsolationNone))
	require.NoError(t, b.SetGuest(capsa.GuestConfig{Agent: capsa.AgentInstalled}))
	b.UseBackend(s)
	require.NoError(t, b.SetKernel(vmtest.KernelSpin))
	m := buildFrom(t, b)
	require.NoError(t, m.Start(t.Context()))
	return m, s.socketPath()
}

// sandbox is a machine with an agent that is a process of this host's.
func sandbox(t testing.TB) *capsa.VM {
	t.Helper()
	m, path := sandboxOn(t, nil)
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), agentVariable+"="+path)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	_, err = m.WaitReady(bounded(t))
	require.NoError(t, err)
	return m
}
