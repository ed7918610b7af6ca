package sniff

import (
	"bufio"
	"bytes"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What crypto/tls wants of a net.Conn besides its bytes.

func (flight) Close() error                     { return nil }
func (flight) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (flight) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (flight) SetDeadline(time.Time) error      { return nil }
func (flight) SetReadDeadline(time.Time) error  { return nil }
func (flight) SetWriteDeadline(time.Time) error { return nil }

// FuzzRequest compares with Go's own server: when both find a host, it is the same.
func FuzzRequest(f *testing.F) {
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nHost: a.example:80\r\nX: y\r\n\r\n",
		"GET http://a.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n",
		"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n",
		"\r\nPOST /x HTTP/1.0\nhost: a.example\n b\n\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		res := Request(b)
		checkName(t, res)
		checkFinal(t, b, Request)
		if res.Status != Named {
			return
		}
		theirs, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(bytes.TrimLeft(b, "\r\n"))))
		if err != nil {
			return
		}
		host, _, _ := strings.Cut(theirs.Host, ":")
		require.True(t, strings.EqualFold(res.Name, host), "%q and %q", res.Name, theirs.Host)
	})
}

func FuzzSniff(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add(hello(sni("a.example")))
	f.Fuzz(func(t *testing.T, b []byte) {
		checkName(t, Sniff(b))
		checkFinal(t, b, Sniff)
	})
}
