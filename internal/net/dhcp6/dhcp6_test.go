package dhcp6_test

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/net/dhcp6"
	"github.com/libcapsa/libcapsa/internal/net/ether"
)

func config() dhcp6.Config {
	return dhcp6.Config{
		MAC: ether.MAC{2, 0, 0, 0, 0, 0xfe}, DNS: []netip.Addr{netip.MustParseAddr("fd00:ca::2")},
		Search: []string{"capsa.internal"}, Refresh: time.Hour,
	}
}

func server(t testing.TB) *dhcp6.Server {
	t.Helper()
	s, err := dhcp6.New(config())
	require.NoError(t, err)
	return s
}

const (
	head      = "0b112233"
	clientID  = "0001000a" + "0003000102000000000f"
	serverID  = "0002000a" + "000300010200000000fe"
	replyHead = "07112233"
	dns       = "00170010" + "fd0000ca000000000000000000000002"
	search    = "00180010" + "056361707361" + "08696e7465726e616c" + "00"
	refresh   = "00200004" + "00000e10"
)

func TestHandle(t *testing.T) {
	for _, tt := range []struct{ name, request, reply string }{
		{"everything", head + clientID, replyHead + clientID + serverID + dns + search + refresh},
		{"nobody in particular asks", head, replyHead + serverID + dns + search + refresh},
		{"what is asked for", head + clientID + "00060004" + "00170018", replyHead + clientID + serverID + dns + search},
		{"nothing of it", head + clientID + "00060002" + "0038", replyHead + clientID + serverID},
		{"this server", head + clientID + serverID + "00060002" + "0017", replyHead + clientID + serverID + dns},
		{"elapsed time and others", head + clientID + "000800020000" + "00060002" + "0020", replyHead + clientID + serverID + refresh},

		{"another server", head + clientID + "0002000a" + "00030001020000000001", ""},
		{"solicit", "01112233" + clientID, ""},
		{"addresses", head + clientID + "0003000c" + strings.Repeat("00", 12), ""},
		{"prefixes", head + clientID + "0019000c" + strings.Repeat("00", 12), ""},
		{"two clients", head + clientID + clientID, ""},
		{"short", "0b1122", ""},
		{"empty", "", ""},
		{"half an option", head + "0001", ""},
		{"option beyond the end", head + "0001000affff", ""},
		{"odd list", head + "00060003001700", ""},
		{"short identifier", head + "000100020003", ""},
		{"long identifier", head + "00010083" + strings.Repeat("00", 131), ""},
		{"long", head + strings.Repeat("00ff0000", 400), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			request, err := hex.DecodeString(tt.request)
			require.NoError(t, err)
			reply, ok := server(t).Handle(request)
			require.Equal(t, tt.reply != "", ok)
			require.Equal(t, tt.reply, hex.EncodeToString(reply))
		})
	}
}

func TestConfig(t *testing.T) {
	for _, tt := range []struct {
		change func(*dhcp6.Config)
		want   string
	}{
		{func(c *dhcp6.Config) { c.DNS = []netip.Addr{netip.MustParseAddr("10.0.0.1")} }, "DNS server"},
		{func(c *dhcp6.Config) { c.DNS = make([]netip.Addr, 9) }, "at most 8"},
		{func(c *dhcp6.Config) { c.Search = []string{"a..b"} }, "search domain"},
		{func(c *dhcp6.Config) {
			c.Search = []string{strings.Repeat("a.", 120), strings.Repeat("a.", 120), strings.Repeat("a.", 120)}
		}, "at most 512"},
		{func(c *dhcp6.Config) { c.Refresh = time.Minute }, "ten minutes"},
	} {
		c := config()
		tt.change(&c)
		_, err := dhcp6.New(c)
		require.ErrorContains(t, err, tt.want)
	}
}

func FuzzHandle(f *testing.F) {
	for _, seed := range []string{head, head + clientID + serverID + "00060004" + "00170018", "01112233" + clientID} {
		b, err := hex.DecodeString(seed)
		require.NoError(f, err)
		f.Add(b)
	}
	s := server(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		reply, ok := s.Handle(b)
		if !ok {
			require.Nil(t, reply)
			return
		}
		require.EqualValues(t, 7, reply[0])
		require.Equal(t, b[1:4], reply[1:4])
		require.LessOrEqual(t, len(reply), 400)
	})
}
