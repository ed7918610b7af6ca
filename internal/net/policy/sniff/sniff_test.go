package sniff

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// record wraps part of a handshake.
func record(part []byte) []byte {
	return append([]byte{recordHandshake, 3, 1, byte(len(part) >> 8), byte(len(part))}, part...)
}

func ext(id int, data string) string {
	return string([]byte{byte(id >> 8), byte(id), byte(len(data) >> 8), byte(len(data))}) + data
}

func sni(names ...string) string {
	list := ""
	for _, n := range names {
		list += string([]byte{0, byte(len(n) >> 8), byte(len(n))}) + n
	}
	return ext(extServerName, string([]byte{byte(len(list) >> 8), byte(len(list))})+list)
}

// message is a ClientHello with these extensions, each as ext makes it.
func message(extensions ...string) []byte {
	body := "\x03\x03" + strings.Repeat("r", clientRandomSize) + "\x00" + "\x00\x02\x13\x01" + "\x01\x00"
	if all := strings.Join(extensions, ""); extensions != nil {
		body += string([]byte{byte(len(all) >> 8), byte(len(all))}) + all
	}
	return append([]byte{clientHello, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
}

func hello(extensions ...string) []byte { return record(message(extensions...)) }

// spread puts each byte of a message into a record of its own.
func spread(msg []byte) (out []byte) {
	for i := range msg {
		out = append(out, record(msg[i:i+1])...)
	}
	return out
}

// swap replaces the byte at i; negative: from the end.
func swap(b []byte, i int, to byte) []byte {
	if i < 0 {
		i += len(b)
	}
	b[i] = to
	return b
}

func TestClientHello(t *testing.T) {
	t.Parallel()
	other := ext(43, "\x02\x03\x04")
	for _, test := range []struct {
		name   string
		in     []byte
		status Status
		host   string
		ech    bool
	}{
		{"name", hello(other, sni("Example.com"), ext(0x0a0a, "")), Named, "Example.com", false},
		{"dot at the end", hello(sni("example.com.")), Named, "example.com.", false},
		{"punycode", hello(sni("xn--bcher-kva.example")), Named, "xn--bcher-kva.example", false},
		{"many records", spread(message(sni("a.example"))), Named, "a.example", false},
		{"more after it", append(hello(sni("a.example")), 23, 3, 3, 0, 1, 0), Named, "a.example", false},
		{"ECH", hello(sni("outer.example"), ext(extECH, "\x00...")), Named, "outer.example", true},
		{"ECH before", hello(ext(extECH, "\x00..."), sni("outer.example")), Named, "outer.example", true},
		{"ECH without name", hello(ext(extECH, "\x00...")), Unnamed, "", true},
		{"no extensions", hello(), Unnamed, "", false},
		{"no name among extensions", hello(other), Unnamed, "", false},
		{"address", hello(sni("192.0.2.1")), Unnamed, "", false},
		{"nothing", nil, NeedMore, "", false},
		{"half", hello(sni("a.example"))[:40], NeedMore, "", false},
		{"two names", hello(sni("a.example", "b.example")), Malformed, "", false},
		{"two lists", hello(sni("a.example"), sni("a.example")), Malformed, "", false},
		{"another extension twice", hello(other, sni("a.example"), other), Malformed, "", false},
		{"empty name", hello(sni("")), Malformed, "", false},
		{"no names", hello(sni()), Malformed, "", false},
		{"empty extension", hello(ext(extServerName, "")), Malformed, "", false},
		{"NUL", hello(sni("a.example\x00.b.example")), Malformed, "", false},
		{"not ASCII", hello(sni("bücher.example")), Malformed, "", false},
		{"space", hello(sni("a example")), Malformed, "", false},
		{"v6 address in brackets", hello(sni("[::1]")), Malformed, "", false},
		{"too long", hello(sni(strings.Repeat("a.", 128))), Malformed, "", false},
		{"bytes after the list", hello(ext(extServerName, "\x00\x04\x00\x00\x01a.")), Malformed, "", false},
		{"bytes after the extensions", record(func() []byte {
			m := append(message(sni("a.example")), 0)
			m[3]++
			return m
		}()), Malformed, "", false},
		{"length beyond", swap(hello(sni("a.example")), -10, 200), Malformed, "", false},
		{"another handshake message", record([]byte{2, 0, 0, 1, 0}), Malformed, "", false},
		{"endless message", record([]byte{1, 0xFF, 0, 0}), Malformed, "", false},
		{"another record first", []byte{21, 3, 1, 0, 2, 1, 0}, Malformed, "", false},
		{"another record between", append(record([]byte{1, 0, 0, 80}), 21, 3, 1, 0, 2, 1, 0), Malformed, "", false},
		{"empty record", []byte{22, 3, 1, 0, 0}, Malformed, "", false},
		{"long record", []byte{22, 3, 1, 0x40, 1}, Malformed, "", false},
		{"version", []byte{22, 2}, Malformed, "", false},
		{"empty body", record([]byte{1, 0, 0, 0}), Malformed, "", false},
		{"more than is looked at", spread(message(ext(21, strings.Repeat("\x00", 3000)), sni("a.example"))), Malformed, "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := ClientHello(test.in)
			require.Equal(t, test.status, got.Status, got.Status)
			require.Equal(t, test.host, got.Name)
			require.Equal(t, test.ech, got.ECH)
			require.Equal(t, TLS, got.Kind)
			checkFinal(t, test.in, ClientHello)
		})
	}
}

// TestRealClientHello reads what Go's own client sends.
func TestRealClientHello(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = tls.Client(near, &tls.Config{ServerName: "www.example.com"}).Handshake()
	}()
	var got []byte
	res := Result{}
	for buf := make([]byte, 100); res.Status == NeedMore; {
		n, err := far.Read(buf)
		require.NoError(t, err)
		got = append(got, buf[:n]...)
		res = Sniff(got)
	}
	require.NoError(t, far.Close())
	<-done
	require.NoError(t, near.Close())
	require.Equal(t, Result{Status: Named, Kind: TLS, Name: "www.example.com"}, res)
}

func TestRequest(t *testing.T) {
	t.Parallel()
	const end = "\r\n\r\n"
	for _, test := range []struct {
		in     string
		status Status
		kind   Kind
		host   string
	}{
		{"GET / HTTP/1.1\r\nHost: Example.com" + end, Named, HTTP, "Example.com"},
		{"GET / HTTP/1.1\r\nAccept: */*\r\nhOST:\t example.com:8080 \r\nX: host: b" + end + "body", Named, HTTP, "example.com"},
		{"GET / HTTP/1.1\nHost: a.example\n\n", Named, HTTP, "a.example"},
		{"\r\n\r\nGET / HTTP/1.1\r\nHost: a.example" + end, Named, HTTP, "a.example"},
		{"get / HTTP/1.1\r\nHost: a.example" + end, Named, HTTP, "a.example"},
		{"GET / HTTP/1.0\r\nHost: a.example." + end, Named, HTTP, "a.example."},
		{"GET http://a.example/x HTTP/1.1\r\nHost: A.example" + end, Named, HTTP, "a.example"},
		{"GET HTTP://a.example:80?x HTTP/1.0" + end, Named, HTTP, "a.example"},
		{"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443" + end, Named, HTTP, "a.example"},
		{"OPTIONS * HTTP/1.1\r\nHost: a.example:" + end, Named, HTTP, "a.example"},

		{"GET / HTTP/1.0" + end, Unnamed, HTTP, ""},
		{"GET / HTTP/1.1\r\nHost:" + end, Unnamed, HTTP, ""},
		{"GET / HTTP/1.1\r\nHost: 192.0.2.1:80" + end, Unnamed, HTTP, ""},
		{"GET / HTTP/1.1\r\nHost: [2001:db8::1]:80" + end, Unnamed, HTTP, ""},
		{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Unnamed, HTTP, ""},
		{"GET /\r\n", Unnamed, Unknown, ""},
		{"SSH-2.0-OpenSSH_10.0p2 Debian-5\r\n", Unnamed, Unknown, ""},
		{"EHLO me\r\n", Unnamed, Unknown, ""},
		{"\x00\x01", Unnamed, Unknown, ""},
		{" GET / HTTP/1.1\r\n", Unnamed, Unknown, ""},
		{strings.Repeat("A", 33), Unnamed, Unknown, ""},

		{"", NeedMore, Unknown, ""},
		{"GE", NeedMore, Unknown, ""},
		{"GET / HTTP/1.1", NeedMore, HTTP, ""},
		{"GET / HTTP/1.1\r\nHost: a.example\r\n", NeedMore, HTTP, ""},
		{"GET / HTTP/1.1\r\nHost: a.example\r\n\r", NeedMore, HTTP, ""},

		{"GET / HTTP/1.1\r\nHost: a.example\r\nHost: a.example" + end, Malformed, HTTP, ""},
		{"GET / HTTP/1.1\r\nHost : a.example" + end, Malformed, HTTP, ""},
		{"GET / HTTP/1.1\r\nX: 1\r\n Host: a.example" + end, Malformed, HTTP, ""},
		{"GET / HTTP/1.1\r\n: a.example" + end, Malformed, HTTP, ""},
		{"GET / HTTP/1.1\r\nHost" + end, Malformed, HTTP, ""},
		{"GET / HTTP/1.1\r\nHost: a.example\rHost: b.example" + end, Malformed, HTTP, ""},
		{"GET / HTTP/1.1\r\nHost: a.example\x00" + end, Malformed, HTTP, ""},
		{"GET / HTTP/1.1\r\nHost: u@a.example" + end, Malformed, HTTP, ""},
		{"GET / HTTP/1.1\r\nHost: a.example, b.example" + end, Malformed, HTTP, ""},
		{"GET / HTTP/1.1\r\nHost: a.example:x" + end, Malformed, HTTP, ""},
		{"GET / HTTP/1.1\r\nHost: a:1:2" + end, Malformed, HTTP, ""},
		{"GET / HTTP/1.1\r\nHost: [a.example]" + end, Malformed, HTTP, ""},
		{"GET / HTTP/1.1\r\nHost: [::1" + end, Malformed, HTTP, ""},
		{"GET / HTTP/1.1\r\nHost: bücher.example" + end, Malformed, HTTP, ""},
		{"GET http://b.example/ HTTP/1.1\r\nHost: a.example" + end, Malformed, HTTP, ""},
		{"GET http://a.example@b.example/ HTTP/1.1" + end, Malformed, HTTP, ""},
		{"GET http:///x HTTP/1.1\r\nHost: a.example" + end, Malformed, HTTP, ""},
		{"GET ftp://a.example/ HTTP/1.1\r\nHost: a.example" + end, Malformed, HTTP, ""},
		{"GET a.example HTTP/1.1\r\nHost: a.example" + end, Malformed, HTTP, ""},
		{"GET / x HTTP/1.1\r\nHost: a.example" + end, Malformed, HTTP, ""},
		{"GET  / HTTP/1.1\r\nHost: a.example" + end, Malformed, HTTP, ""},
		{"GET / HTTP/1.2\r\nHost: a.example" + end, Malformed, HTTP, ""},
		{"GET / HTTP/1.1\r\nX: " + strings.Repeat("x", MaxFlight) + "\r\nHost: a.example" + end, Malformed, HTTP, ""},
		{strings.Repeat("\r\n", MaxFlight), Malformed, Unknown, ""},
	} {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			got := Sniff([]byte(test.in))
			require.Equal(t, Result{Status: test.status, Kind: test.kind, Name: test.host}, got, "%.80q", test.in)
			checkFinal(t, []byte(test.in), Sniff)
		})
	}
}

// checkFinal: whatever is said about a part of it stays said.
func checkFinal(t *testing.T, b []byte, parse func([]byte) Result) {
	t.Helper()
	whole := parse(b)
	for n := 0; n <= len(b); n += 1 + n/64 {
		if part := parse(b[:n:n]); part.Status != NeedMore {
			require.Equal(t, whole, part, "after %d of %d bytes", n, len(b))
		}
	}
}

func checkName(t *testing.T, res Result) {
	require.Equal(t, res.Status == Named, res.Name != "")
	require.LessOrEqual(t, len(res.Name), maxName)
	require.Empty(t, strings.Trim(strings.ToLower(res.Name), "abcdefghijklmnopqrstuvwxyz0123456789-_."))
}

// FuzzClientHello compares with Go's own server: what it takes a name from, we take
// the same name from or refuse.
func FuzzClientHello(f *testing.F) {
	f.Add(hello(sni("a.example"), ext(43, "\x02\x03\x04")))
	f.Add(hello(ext(extECH, "\x00..."), sni("a.example")))
	f.Add(spread(message(sni("a.example"))))
	f.Add(hello(sni("a.example", "b.example")))
	f.Fuzz(func(t *testing.T, b []byte) {
		res := ClientHello(b)
		checkName(t, res)
		checkFinal(t, b, ClientHello)
		if theirs, took := goServer(b); took && res.Status != Malformed {
			require.Equal(t, strings.TrimSuffix(theirs, "."), strings.TrimSuffix(res.Name, "."))
		}
	})
}

// goServer is the name that crypto/tls finds.
func goServer(b []byte) (name string, took bool) {
	conn := tls.Server(flight{strings.NewReader(string(b))}, &tls.Config{
		GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
			name, took = info.ServerName, true
			return nil, io.ErrUnexpectedEOF
		},
	})
	_ = conn.Handshake()
	return name, took
}

// flight is a connection that says what it has to say and ends.
type flight struct{ io.Reader }

// The rest of a net.Conn.
func (f flight) Read(p []byte) (int, error)  { return f.Reader.Read(p) }
func (f flight) Write(p []byte) (int, error) { return len(p), nil }
