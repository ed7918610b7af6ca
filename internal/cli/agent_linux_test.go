package cli

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/guest/agent"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
)

// agentEnv makes the test's program a guest's agent, which calls the socket at that path.
const agentEnv = "CAPSA_TEST_AGENT"

func runAgent() {
	path := os.Getenv(agentEnv)
	if path == "" {
		return
	}
	_ = os.Unsetenv(agentEnv)
	a := agent.New(agent.Config{Version: "test", Dial: func() (agent.Conn, error) {
		c, err := net.Dial("unix", path)
		if err != nil {
			os.Exit(0) // the machine is gone
		}
		return c.(*net.UnixConn), nil
	}}, agent.NewReaper())
	_ = a.Run(context.Background())
	os.Exit(1)
}

// socketed is the fake backend with sockets, whose guests' agents are processes of this host: a program "in the guest"
// is one here.
type socketed struct{ *vmtest.Fake }

func fakeBackend() vm.Backend { return socketed{vmtest.NewFake()} }

func (s socketed) Capabilities() (vm.Capabilities, error) {
	caps, err := s.Fake.Capabilities()
	features := map[vm.Feature]bool{vm.FeatureVsock: true}
	for f, on := range caps.Features {
		features[f] = features[f] || on
	}
	caps.Features = features
	return caps, err
}

func (s socketed) New(cfg vm.Config, host vm.Host) (vm.Machine, error) {
	on := cfg.Vsock.On
	cfg.Vsock = vm.VsockConfig{}
	m, err := s.Fake.New(cfg, host)
	if err != nil || !on {
		return m, err
	}
	dir, err := os.MkdirTemp("", "port")
	if err != nil {
		return nil, err
	}
	return &socketedMachine{Machine: m, dir: dir}, nil
}

type socketedMachine struct {
	vm.Machine
	dir   string
	agent *exec.Cmd
}

func (m *socketedMachine) VsockListen(_ vm.VsockType, _ uint32, _ int) (int, error) {
	path := filepath.Join(m.dir, "port")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return -1, err
	}
	l.SetUnlinkOnClose(false)
	defer l.Close()
	f, err := l.File()
	if err != nil {
		return -1, err
	}
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	m.agent = exec.Command("/proc/self/exe")
	m.agent.Env = []string{agentEnv + "=" + path}
	return fd, m.agent.Start()
}

func (m *socketedMachine) VsockConnect(context.Context, vm.VsockType, uint32) (int, error) {
	return -1, vm.Errorf(vm.KindUnsupported, "connect", "nobody listens in this guest")
}

func (m *socketedMachine) VsockUnlisten(uint32) error { return nil }

func (m *socketedMachine) Close() error {
	err := m.Machine.Close()
	if m.agent != nil && m.agent.Process != nil {
		_ = m.agent.Process.Kill()
		_ = m.agent.Wait()
		m.agent = nil
	}
	_ = os.RemoveAll(m.dir)
	return err
}
