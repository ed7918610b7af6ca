package cable

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/net/link"
)

// inNamespace runs the test again, as root of namespaces of its own, and says whether
// this is that run.
func inNamespace(t *testing.T) bool {
	t.Helper()
	const mark = "CABLE_TEST_NAMESPACE"
	if os.Getenv(mark) != "" {
		return true
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), mark+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if _, isExit := err.(*exec.ExitError); err != nil && !isExit { //nolint:errorlint // as exec returns it
		missing(t, "no namespaces for users here: "+err.Error())
	}
	require.NoError(t, err, "%s", out)
	t.Logf("%s", out)
	return false
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	require.NoError(t, err, "ip %v: %s", args, out)
}

// A TAP by its name and by a descriptor: the kernel's stack talks through it, with long
// frames and partial checksums.
func TestTAP(t *testing.T) {
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		missing(t, "no /dev/net/tun here")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		missing(t, "no ip(8) here (Debian: iproute2)")
	}
	if !inNamespace(t) {
		return
	}
	_, err := OpenTAP("tap7")
	require.ErrorIs(t, err, ErrNotThere)
	ip(t, "tuntap", "add", "tap7", "mode", "tap")
	ip(t, "addr", "add", "10.7.0.1/24", "dev", "tap7")
	ip(t, "link", "set", "tap7", "up")
	ip(t, "neigh", "add", "10.7.0.2", "lladdr", "02:00:00:00:00:02", "dev", "tap7")
	file, err := OpenTAP("tap7")
	require.NoError(t, err)
	copied, err := unix.Dup(file)
	require.NoError(t, err)
	header, err := PrepareTAP(copied) // as one that a caller brings
	require.NoError(t, err)
	require.True(t, header)
	require.NoError(t, unix.Close(copied))
	h, g := newHost(t, Config{File: file, Header: true}, nil), newGuest(-1)
	h.Attach(g, all)

	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.MustParseAddrPort("10.7.0.2:9")))
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	stop := make(chan struct{})
	defer close(stop)
	go func() { // again and again: the kernel drops frames until it has seen the carrier
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			_, _ = conn.Write([]byte("to the guest"))
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	var f link.Frame
	for !bytes.HasSuffix(flat(f), []byte("to the guest")) { // IPv6 has things to say as well
		f = g.await(1)[0]
	}
	require.Equal(t, link.NeedsChecksum, f.Header.Flags&link.NeedsChecksum)
	// Back to where it came from.
	b := flat(f)
	back := append([]byte{}, b...)
	copy(back[0:6], b[6:12])
	copy(back[6:12], b[0:6])
	copy(back[26:30], b[30:34])
	copy(back[30:34], b[26:30])
	copy(back[34:36], b[36:38])
	copy(back[36:38], b[34:36])
	h.Send([]link.Frame{{Header: f.Header, Data: [][]byte{back}}})
	got := make([]byte, 100)
	n, err := conn.Read(got)
	require.NoError(t, err)
	require.Equal(t, "to the guest", string(got[:n]))
}

func TestNoTAP(t *testing.T) {
	t.Parallel()
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	defer func() { _ = unix.Close(null) }()
	_, err = PrepareTAP(null)
	require.ErrorIs(t, err, ErrNoTAP)
}

func flat(f link.Frame) []byte { return bytes.Join(f.Data, nil) }

// missing skips a test for want of something, or fails it where CAPSA_REQUIRE has the
// word "namespaces".
func missing(t *testing.T, why string) {
	t.Helper()
	if strings.Contains(os.Getenv("CAPSA_REQUIRE"), "namespaces") {
		t.Fatal(why)
	}
	t.Skip(why)
}
