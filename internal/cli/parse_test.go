package cli

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/vm"
)

func TestParseSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]uint64{
		"512": 512 << 20, "512M": 512 << 20, "1.5G": 3 << 29, "2GiB": 2 << 30, "64kb": 64 << 10, "1t": 1 << 40, "0": 0,
	} {
		got, err := parseSize("size", text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "M", "x", "-1", "1P", "1e99T", "NaN", "1 M x"} {
		_, err := parseSize("size", text)
		require.ErrorIs(t, err, vm.KindInvalidArg, text)
	}
}

func TestParseForward(t *testing.T) {
	t.Parallel()
	at := netip.MustParseAddrPort
	for text, want := range map[string]capsa.Forward{
		"80":              {Protocol: capsa.ForwardTCP, Host: at("127.0.0.1:80"), Guest: 80},
		"8080:80":         {Protocol: capsa.ForwardTCP, Host: at("127.0.0.1:8080"), Guest: 80},
		"0:80/tcp":        {Protocol: capsa.ForwardTCP, Host: at("127.0.0.1:0"), Guest: 80},
		"0.0.0.0:8080:80": {Protocol: capsa.ForwardTCP, Host: at("0.0.0.0:8080"), Guest: 80},
		"[::1]:53:53/udp": {Protocol: capsa.ForwardUDP, Host: at("[::1]:53"), Guest: 53},
		"/run/x.sock:80":  {Protocol: capsa.ForwardTCP, Path: "/run/x.sock", Guest: 80},
	} {
		got, err := parseForward(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "x", "80:0", "80:70000", "1:2:3", ":80", "80/sctp"} {
		_, err := parseForward(text)
		require.ErrorIs(t, err, vm.KindInvalidArg, text)
	}
}

func TestParseVolume(t *testing.T) {
	t.Parallel()
	share, target, err := parseVolume("/data:/mnt:ro")
	require.NoError(t, err)
	require.Equal(t, "/mnt", target)
	require.Equal(t, "/data", share.Path)
	require.True(t, share.ReadOnly)
	share, _, err = parseVolume(".:/work")
	require.NoError(t, err)
	require.True(t, filepath.IsAbs(share.Path))
	for _, text := range []string{"", "/x", ":/x", "/x:y", "/x:/y:rx", "a:b:/c:ro"} {
		_, _, err := parseVolume(text)
		require.ErrorIs(t, err, vm.KindInvalidArg, text)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("CAPSA_TEST_OWN", "mine")
	path := filepath.Join(t.TempDir(), "env")
	require.NoError(t, os.WriteFile(path, []byte("# a comment\nA=from file\n\nCAPSA_TEST_OWN\n"), 0o600))
	got, err := environment([]string{"B=b=c", "CAPSA_TEST_ABSENT"}, []string{path})
	require.NoError(t, err)
	require.Equal(t, []string{"A=from file", "CAPSA_TEST_OWN=mine", "B=b=c"}, got)
	_, err = environment([]string{"=x"}, nil)
	require.ErrorIs(t, err, vm.KindInvalidArg)
}

func TestGuestPath(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]string{
		"web:/etc": {"web", "/etc"}, "web:etc": {"web", "/etc"}, "web:": {"web", "/"},
	} {
		name, path, ok := guestPath(text)
		require.True(t, ok, text)
		require.Equal(t, want, [2]string{name, path}, text)
	}
	for _, text := range []string{"/a:b", "./a:b", "../a:b", "a", "-"} {
		_, _, ok := guestPath(text)
		require.False(t, ok, text)
	}
}

func TestClean(t *testing.T) {
	t.Parallel()
	require.Equal(t, "a[31mb\nc\tdü", clean("a\x1b[31mb\nc\td\x00ü\u009b"))
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 256 << 20: "256 MiB", 5 << 40: "5.0 TiB"} {
		require.Equal(t, want, size(n))
	}
}
