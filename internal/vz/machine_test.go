package vz_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vmtest"
	"github.com/libcapsa/libcapsa/internal/vz"
	"github.com/libcapsa/libcapsa/internal/vz/plan"
	"github.com/libcapsa/libcapsa/internal/vz/vztest"
)

const (
	panicText = "Kernel panic - not syncing: sysrq triggered crash"
	panicLine = "[    1.0] " + panicText + "\n"
	panicEnd  = "[    1.0] ---[ end " + panicText + " ]---\n"
)

// programs are the guests of the conformance suite.
var programs = map[string]vztest.Program{
	"spin":     func(g *vztest.Guest) { <-g.Ended() },
	"poweroff": func(*vztest.Guest) {},
	"print":    func(g *vztest.Guest) { g.Print("hello from the guest\n"); <-g.Ended() },
	"panic":    func(g *vztest.Guest) { g.Print(panicLine + panicEnd); <-g.Ended() },
	"polite":   func(g *vztest.Guest) { g.Print("ready\n"); g.AwaitButton() },
	"fail":     func(g *vztest.Guest) { g.Print("so far\n"); g.Fail() },
	"echo": func(g *vztest.Guest) {
		buf := make([]byte, 4096)
		for {
			g.Print(string(buf[:g.Read(buf)]))
		}
	},
}

// framework is one on a Mac with everything.
func framework() *vztest.Framework {
	return &vztest.Framework{Host: vztest.Mac(plan.Version{Major: 15}, "arm64"), Programs: programs}
}

// guest makes the file of a kernel that is one of the programs.
func guest(t *testing.T, program string) *vm.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), program)
	require.NoError(t, os.WriteFile(path, vztest.Kernel("arm64"), 0o600))
	cfg := vmtest.Config(path)
	return &cfg
}

func TestConformance(t *testing.T) {
	f := framework()
	vmtest.Conformance(t, vz.New(f), vmtest.Guests{
		Spin: guest(t, "spin"), PowerOff: guest(t, "poweroff"), Panic: guest(t, "panic"), Echo: guest(t, "echo"),
		Print: guest(t, "print"), PrintText: "hello from the guest", Polite: guest(t, "polite"), PoliteText: "ready",
		// A guest that reboots, or triple-faults, starts again inside of the framework.
	})
	require.Zero(t, f.Live(), "a test left a guest behind")
}

// made makes a machine, which is closed at the end of the test.
func made(t *testing.T, f *vztest.Framework, cfg vm.Config, host vm.Host) vm.Machine {
	t.Helper()
	m, err := vz.New(f).New(cfg, host)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// TestFaults: every fault of the framework is what the call returns, and nothing is left.
func TestFaults(t *testing.T) {
	vmtest.CheckLeaks(t)
	fault := errors.New("injected")
	f := framework()
	f.MacErr = fault
	_, err := vz.New(f).Capabilities()
	require.ErrorIs(t, err, fault)
	_, err = vz.New(f).New(*guest(t, "spin"), vm.Host{})
	require.ErrorIs(t, err, fault)

	f = framework()
	f.NewErr = fault
	cfg := *guest(t, "spin")
	cfg.Vsock.Ports = []vm.VsockPort{{Port: 9, Mode: vm.VsockListen, Path: filepath.Join(t.TempDir(), "s")}}
	cfg.Network = vm.NetworkConfig{Mode: vm.NetworkUser}
	_, err = vz.New(f).New(cfg, vm.Host{})
	require.ErrorIs(t, err, fault)
	require.NoFileExists(t, cfg.Vsock.Ports[0].Path)

	f = framework()
	f.StartErr = fault
	m := made(t, f, *guest(t, "spin"), vm.Host{})
	require.ErrorIs(t, m.Start(), fault)
	<-m.Done()
	require.Equal(t, vm.CauseVMMCrash, m.Exit().Cause)
	require.ErrorIs(t, m.Exit().Err, fault)

	f = framework()
	f.PauseErr, f.MemoryErr, f.CloseErr = fault, fault, fault
	m, err = vz.New(f).New(*guest(t, "spin"), vm.Host{})
	require.NoError(t, err)
	require.NoError(t, m.SetMemoryTarget(vm.MiB), "which Start passes on")
	require.NoError(t, m.Start())
	require.ErrorIs(t, m.Pause(), fault)
	require.ErrorIs(t, m.SetMemoryTarget(vm.MiB), fault)
	require.NoError(t, m.Kill(vm.CauseKilled))
	require.ErrorIs(t, m.Close(), fault)
	require.Zero(t, f.Live())
}

// TestInternalError: the framework gives a machine up.
func TestInternalError(t *testing.T) {
	vmtest.CheckLeaks(t)
	out := vmtest.NewRecorder()
	m := made(t, framework(), *guest(t, "fail"), vm.Host{Console: out})
	require.NoError(t, m.Start())
	<-m.Done()
	require.Equal(t, vm.CauseVMMCrash, m.Exit().Cause)
	require.ErrorContains(t, m.Exit().Err, "internal error")
	require.Equal(t, "so far\n", out.String(), "all output comes before the end")
}

// TestOutputBeforeTheEnd: nothing that the guest has printed is lost.
func TestOutputBeforeTheEnd(t *testing.T) {
	vmtest.CheckLeaks(t)
	f := framework()
	text := strings.Repeat("x", 50_000)
	f.Programs = map[string]vztest.Program{"talk": func(g *vztest.Guest) { g.Print(text) }}
	for range 20 {
		out := vmtest.NewRecorder()
		m := made(t, f, *guest(t, "talk"), vm.Host{Console: out})
		require.NoError(t, m.Start())
		<-m.Done()
		require.Equal(t, len(text), out.Len())
		require.Equal(t, uint64(len(text)), m.Stats().Devices[0].BytesIn)
	}
}

// TestPanics: a kernel that has panicked ends its machine, and a text that is only
// printed does not.
func TestPanics(t *testing.T) {
	vmtest.CheckLeaks(t)
	f := framework()
	f.Programs = map[string]vztest.Program{
		"panic": func(g *vztest.Guest) { g.Print(panicLine); g.Print(panicEnd[:20]); g.Print(panicEnd[20:]); <-g.Ended() },
		"oom": func(g *vztest.Guest) {
			g.Print(strings.ReplaceAll(panicLine+panicEnd, "sysrq", "Out of memory: sysrq"))
			<-g.Ended()
		},
		"prompt":  func(g *vztest.Guest) { g.Print(panicLine + panicEnd + "# "); g.AwaitButton() },
		"goes on": func(g *vztest.Guest) { g.Print(panicLine + panicEnd); g.Print("# "); g.AwaitButton() },
	}
	for program, cause := range map[string]vm.Cause{
		"panic": vm.CausePanic, "oom": vm.CauseOutOfMemory, "prompt": vm.CauseGuestShutdown, "goes on": vm.CauseGuestShutdown,
	} {
		out := vmtest.NewRecorder()
		m := made(t, f, *guest(t, program), vm.Host{Console: out})
		require.NoError(t, m.Start())
		if cause == vm.CauseGuestShutdown {
			<-out.Seen("# ")
			require.NoError(t, m.PowerButton())
		}
		<-m.Done()
		require.Equal(t, cause, m.Exit().Cause, program)
		if cause == vm.CauseGuestShutdown {
			require.Contains(t, m.Exit().Detail, "had panicked")
		} else {
			require.Contains(t, m.Exit().PanicText, "Kernel panic - not syncing")
		}
	}
}

// TestInitrd: it may be removed once the machine is made, and nothing is left of it.
func TestInitrd(t *testing.T) {
	vmtest.CheckLeaks(t)
	t.Setenv("TMPDIR", t.TempDir())
	for _, dir := range []string{t.TempDir(), "/dev/shm"} { // linked, and copied
		cfg := *guest(t, "spin")
		f, err := os.CreateTemp(dir, "initrd")
		require.NoError(t, err)
		require.NoError(t, f.Close())
		cfg.Boot.Initrd = f.Name()
		m := made(t, framework(), cfg, vm.Host{})
		require.NoError(t, os.Remove(f.Name()))
		require.NoError(t, m.Start())
		require.NoError(t, m.Close())
		left, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "initrd-*"))
		require.NoError(t, err)
		require.Empty(t, left)
	}
}

func TestTimeout(t *testing.T) {
	vmtest.CheckLeaks(t)
	cfg := *guest(t, "spin")
	cfg.Timeout = time.Millisecond
	m := made(t, framework(), cfg, vm.Host{})
	require.NoError(t, m.Start())
	<-m.Done()
	require.Equal(t, vm.CauseTimedOut, m.Exit().Cause)
}

// TestMemory: a target from before the start is passed on then, in whole MiB.
func TestMemory(t *testing.T) {
	vmtest.CheckLeaks(t)
	f := framework()
	m := made(t, f, *guest(t, "spin"), vm.Host{})
	require.NoError(t, m.SetMemoryTarget(64*vm.MiB+5))
	require.Equal(t, 256*vm.MiB, f.Last().Memory())
	require.NoError(t, m.Start())
	require.Equal(t, 64*vm.MiB, f.Last().Memory())
	require.NoError(t, m.SetMemoryTarget(0))
	require.Equal(t, 256*vm.MiB, f.Last().Memory())
}

// TestSaveAndRestore: another machine goes on from what was saved, with the same
// identifier.
func TestSaveAndRestore(t *testing.T) {
	vmtest.CheckLeaks(t)
	f := framework()
	cfg := *guest(t, "print")
	path := filepath.Join(t.TempDir(), "state")
	m := made(t, f, cfg, vm.Host{})
	saver := m.(vm.Saver)
	require.ErrorIs(t, saver.Save(path), vm.KindState, "it is not paused")
	require.NoError(t, m.Start())
	require.ErrorIs(t, saver.Save(path), vm.KindState)
	require.NoError(t, m.Pause())
	require.NoError(t, saver.Save(path))
	require.ErrorIs(t, saver.Save(path), vm.KindExists)
	require.NoError(t, m.Resume())
	require.NoError(t, m.Close())

	cfg.Restore = path
	out := vmtest.NewRecorder()
	again := made(t, f, cfg, vm.Host{Console: out})
	require.NoError(t, again.Start())
	<-out.Seen("hello from the guest")
	plans := f.Plans()
	require.Equal(t, []byte("identifier"), plans[len(plans)-1].Identifier)

	f.SaveErr = os.NewSyscallError("write", os.ErrPermission)
	require.NoError(t, again.Pause())
	second := filepath.Join(t.TempDir(), "second")
	require.ErrorIs(t, again.(vm.Saver).Save(second), vm.KindPermission)
	require.NoFileExists(t, plan.IdentifierPath(second), "no half of it is left")

	f = framework()
	f.Host.Version.Major = 13
	old := made(t, f, *guest(t, "spin"), vm.Host{})
	require.NoError(t, old.Start())
	require.NoError(t, old.Pause())
	require.EqualError(t, old.(vm.Saver).Save(second), `save: backend vz lacks the capability "save" (it needs macOS 14 or later)`)

	f = framework()
	f.RestoreErr = errors.New("from another Mac")
	other := made(t, f, cfg, vm.Host{})
	require.ErrorContains(t, other.Start(), "from another Mac")
}

// request asks for an address: an Ethernet frame with a DHCPDISCOVER (RFC 2131).
func discover(mac net.HardwareAddr) []byte {
	dhcp := make([]byte, 240)
	dhcp[0], dhcp[1], dhcp[2] = 1, 1, 6
	copy(dhcp[4:], "xid!")
	copy(dhcp[28:], mac)
	copy(dhcp[236:], "\x63\x82\x53\x63")
	dhcp = append(dhcp, 53, 1, 1, 255)
	udp := binary.BigEndian.AppendUint16([]byte{0, 68, 0, 67}, uint16(8+len(dhcp)))
	udp = append(append(udp, 0, 0), dhcp...)
	ip := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255}
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)+len(udp)))
	sum := uint32(0)
	for i := 0; i < len(ip); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum+sum>>16))
	frame := append([]byte{255, 255, 255, 255, 255, 255}, mac...)
	return append(append(append(frame, 8, 0), ip...), udp...)
}

// TestNetwork: frames of the guest reach its network, and answers the guest; while the
// link is down nothing does.
func TestNetwork(t *testing.T) {
	vmtest.CheckLeaks(t)
	f := framework()
	offers := make(chan []byte, 16)
	f.Programs = map[string]vztest.Program{"net": func(g *vztest.Guest) {
		file := g.Network()
		mac := net.HardwareAddr{2, 0, 0x5e, 0x10, 0, 1}
		buf := make([]byte, 4096)
		for {
			g.AwaitButton()
			_, _ = file.Write(make([]byte, 3000)) // too long: it is dropped
			_, _ = file.Write(discover(mac))
			for { // what the gateway sends by itself comes too
				n, err := file.Read(buf)
				if err != nil {
					return
				}
				if n > 42 && buf[12] == 8 && buf[23] == 17 && buf[37] == 68 {
					offers <- append([]byte{}, buf[:n]...)
					break
				}
			}
		}
	}}
	cfg := *guest(t, "net")
	cfg.Network = vm.NetworkConfig{Mode: vm.NetworkUser, MAC: "02:00:5e:10:00:01"}
	m := made(t, f, cfg, vm.Host{})
	require.NoError(t, m.Start())
	require.NoError(t, m.PowerButton())
	offer := <-offers
	require.Equal(t, "10.0.2.15", net.IP(offer[14+20+8+16:][:4]).String(), "yiaddr")
	stats := m.Stats().Devices[1]
	require.Equal(t, "network", stats.Name)
	require.Positive(t, stats.Net.FramesIn)
	require.Positive(t, stats.Net.DroppedIn)

	require.NoError(t, m.(vm.Networked).SetLink(false))
	require.NoError(t, m.PowerButton())
	for m.Stats().Devices[1].Net.DroppedIn < stats.Net.DroppedIn+2 {
		time.Sleep(time.Millisecond)
	}
	require.Empty(t, offers)
	require.Positive(t, m.Stats().Devices[1].Net.FramesOut)
}

// TestSockets: in both directions, by descriptors and by paths.
func TestSockets(t *testing.T) {
	vmtest.CheckLeaks(t)
	t.Setenv("TMPDIR", t.TempDir())
	f := framework()
	upper := func(c *net.UnixConn) {
		defer c.Close()
		b, _ := io.ReadAll(c)
		_, _ = c.Write([]byte(strings.ToUpper(string(b))))
	}
	dialled := make(chan string, 16)
	call := func(g *vztest.Guest, port uint32) {
		c, err := g.Dial(port)
		if err != nil {
			dialled <- err.Error()
			return
		}
		defer c.Close()
		_, _ = c.Write([]byte("from the guest"))
		_ = c.CloseWrite()
		b, _ := io.ReadAll(c)
		dialled <- string(b)
	}
	f.Programs = map[string]vztest.Program{"socks": func(g *vztest.Guest) {
		call(g, 9)
		call(g, 10)
		<-g.Ended()
	}}
	f.Services = map[uint32]func(*net.UnixConn){80: upper}
	dir := t.TempDir()
	cfg := *guest(t, "socks")
	cfg.Vsock.Ports = []vm.VsockPort{
		{Port: 80, Mode: vm.VsockListen, Path: filepath.Join(dir, "web")},
		{Port: 9, Mode: vm.VsockConnect, Path: filepath.Join(dir, "log")},
	}
	logs, err := net.Listen("unix", filepath.Join(dir, "log"))
	require.NoError(t, err)
	defer logs.Close()
	go func() {
		for {
			c, err := logs.Accept()
			if err != nil {
				return
			}
			go upper(c.(*net.UnixConn))
		}
	}()
	m := made(t, f, cfg, vm.Host{})
	sockets := m.(vm.Sockets)
	ask := func(c net.Conn) string {
		_, err := c.Write([]byte("hello"))
		require.NoError(t, err)
		require.NoError(t, c.(*net.UnixConn).CloseWrite())
		b, err := io.ReadAll(c)
		require.NoError(t, err)
		require.NoError(t, c.Close())
		return string(b)
	}
	early, err := net.Dial("unix", cfg.Vsock.Ports[0].Path)
	require.NoError(t, err, "a client may be there before the guest")
	info, err := os.Stat(cfg.Vsock.Ports[0].Path)
	require.NoError(t, err)
	require.Zero(t, info.Mode()&0o077, "only this user may connect")
	fd, err := sockets.VsockListen(vm.VsockStream, 10, 5)
	require.NoError(t, err)
	_, err = sockets.VsockListen(vm.VsockStream, 10, 5)
	require.ErrorIs(t, err, vm.KindExists)
	_, err = sockets.VsockListen(vm.VsockSeqPacket, 11, 5)
	require.ErrorContains(t, err, "vsock-seqpacket")
	listener := fromFD(t, fd, net.FileListener)
	require.NoError(t, m.Start())
	require.Equal(t, "HELLO", ask(early))
	require.Equal(t, "FROM THE GUEST", <-dialled)
	c, err := listener.Accept()
	require.NoError(t, err)
	upper(c.(*net.UnixConn))
	require.Equal(t, "FROM THE GUEST", <-dialled)

	fd, err = sockets.VsockConnect(t.Context(), vm.VsockStream, 80)
	require.NoError(t, err)
	require.Equal(t, "HELLO", ask(fromFD(t, fd, net.FileConn)))
	_, err = sockets.VsockConnect(t.Context(), vm.VsockStream, 81)
	require.ErrorIs(t, err, vm.KindIO)
	require.ErrorContains(t, err, "connection refused")
	require.NoError(t, sockets.VsockUnlisten(10))
	require.ErrorIs(t, sockets.VsockUnlisten(10), vm.KindNotFound)
	require.NoError(t, listener.Close())

	open, err := net.Dial("unix", cfg.Vsock.Ports[0].Path)
	require.NoError(t, err)
	defer open.Close()
	require.NoError(t, m.Close())
	_, _ = io.ReadAll(open) // returns: it has ended with the machine
	require.NoFileExists(t, cfg.Vsock.Ports[0].Path)
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	for _, e := range left {
		require.False(t, strings.HasPrefix(e.Name(), "v"), e.Name())
	}
}

// fromFD makes a connection or listener of a descriptor.
func fromFD[T any](t *testing.T, fd int, from func(*os.File) (T, error)) T {
	t.Helper()
	f := os.NewFile(uintptr(fd), "test")
	c, err := from(f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	return c
}

// TestCallRefusals: a call for what this Mac cannot do says what it would take, and one
// for what it can does it.
func TestCallRefusals(t *testing.T) {
	vmtest.CheckLeaks(t)
	for _, mac := range []plan.Mac{
		vztest.Mac(plan.Version{Major: 13}, "arm64"), vztest.Mac(plan.Version{Major: 15}, "arm64"), vztest.Mac(plan.Version{Major: 15}, "amd64"),
	} {
		f := framework()
		f.Host = mac
		path := filepath.Join(t.TempDir(), "spin")
		require.NoError(t, os.WriteFile(path, vztest.Kernel(mac.Arch), 0o600))
		cfg := vmtest.Config(path)
		cfg.Vsock.On, cfg.Network = true, vm.NetworkConfig{Mode: vm.NetworkUser}
		m := made(t, f, cfg, vm.Host{})
		caps, err := mac.Capabilities()
		require.NoError(t, err)
		require.NoError(t, m.Start())
		require.NoError(t, m.Pause())
		dir := t.TempDir()
		for feature, call := range map[vm.Feature]func() error{
			vm.FeatureConsoleResize: func() error { return m.ResizeConsole(80, 24) },
			vm.FeatureSave:          func() error { return m.(vm.Saver).Save(filepath.Join(dir, "state")) },
			vm.FeatureBalloon:       func() error { return m.SetMemoryTarget(0) },
			vm.FeatureVsockSeqPacket: func() error {
				_, err := m.(vm.Sockets).VsockListen(vm.VsockSeqPacket, 9, 1)
				return err
			},
			vm.FeatureNetworkLimit:   func() error { return m.(vm.Networked).SetLimits(vm.NetworkLimits{}) },
			vm.FeatureNetworkCapture: func() error { return m.(vm.Networked).SetCapture(vm.Capture{}) },
			vm.FeatureNetworkFD:      func() error { return m.(vm.Networked).SetCable(-1) },
		} {
			if err := call(); caps.Has(feature) {
				require.NoError(t, err, feature)
			} else {
				require.ErrorIs(t, err, vm.KindUnsupported, feature)
				require.ErrorContains(t, err, "it needs "+caps.Needs[feature])
			}
		}
	}
}

// TestConnectWaits: for the start, or the end of the wait, or of the machine.
func TestConnectWaits(t *testing.T) {
	vmtest.CheckLeaks(t)
	cfg := *guest(t, "spin")
	cfg.Vsock.On = true
	m := made(t, framework(), cfg, vm.Host{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := m.(vm.Sockets).VsockConnect(ctx, vm.VsockStream, 1)
	require.ErrorIs(t, err, vm.KindCancelled)
	got := make(chan error, 1)
	go func() {
		_, err := m.(vm.Sockets).VsockConnect(context.Background(), vm.VsockStream, 1)
		got <- err
	}()
	require.NoError(t, m.Kill(vm.CauseKilled))
	require.ErrorIs(t, <-got, vm.KindState)
	_, err = vz.New(framework()).New(func() vm.Config {
		cfg.Vsock.Ports = []vm.VsockPort{
			{Port: 1, Mode: vm.VsockListen, Path: "/does/not/exist/a"}, {Port: 2, Mode: vm.VsockListen, Path: cfg.Boot.Kernel},
		}
		return cfg
	}(), vm.Host{})
	require.ErrorContains(t, err, "vsock.ports[0]")
	require.ErrorContains(t, err, "vsock.ports[1]")
}
