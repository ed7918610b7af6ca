package nat

import (
	"context"
	"net"
	"net/netip"
)

// dialStream connects, until the context ends.
func dialStream(ctx context.Context, dst netip.AddrPort) (hostConn, error) {
	d := net.Dialer{KeepAliveConfig: keepAlive}
	conn, err := d.DialContext(ctx, "tcp", dst.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}
