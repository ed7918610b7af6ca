package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"time"
)

const (
	// udpBuffer is more than is asked for; what does not fit comes over TCP.
	udpBuffer = 4096
	// maxStrays is how many messages may come that are no answer, until the question
	// is asked over TCP, where nobody can put in a word.
	maxStrays = 16
)

// errTCP: the answer is to be had over TCP.
var errTCP = errors.New("ask over TCP")

// overUDP sends a query from a socket of its own, whose port the kernel picks at
// random, and which takes messages of that server only.
func (u *upstream) overUDP(ctx context.Context, s netip.AddrPort, out *outgoing, patience time.Duration) ([]byte, error) {
	conn, err := u.dial(ctx, "udp", s, patience)
	if err != nil {
		return nil, err
	}
	defer u.untrack(conn)
	if _, err := conn.Write(out.message); err != nil {
		return nil, timeout(err)
	}
	u.stats.sent.Add(1)
	b := make([]byte, udpBuffer+1)
	for range maxStrays {
		n, err := conn.Read(b)
		if err != nil {
			return nil, timeout(err)
		}
		switch out.match(b[:n]) {
		case exact:
			if n > udpBuffer || binary.BigEndian.Uint16(b[2:])&bitTruncated != 0 {
				return nil, errTCP
			}
			return b[:n], nil
		case complaint:
			return b[:n], nil
		case sameName:
			// A server that writes names its own way, or somebody who guesses.
			u.stats.mismatched.Add(1)
			return nil, errTCP
		default:
			u.stats.mismatched.Add(1)
		}
	}
	return nil, errTCP
}

// overTCP asks on a connection of its own. The case of letters does not matter: the
// handshake was protection enough.
func (u *upstream) overTCP(ctx context.Context, s netip.AddrPort, out *outgoing) ([]byte, error) {
	conn, err := u.dial(ctx, "tcp", s, u.timing.tcp)
	if err != nil {
		return nil, err
	}
	defer u.untrack(conn)
	framed := binary.BigEndian.AppendUint16(nil, uint16(len(out.message)))
	if _, err := conn.Write(append(framed, out.message...)); err != nil {
		return nil, timeout(err)
	}
	u.stats.sent.Add(1)
	var head [2]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return nil, timeout(err)
	}
	b := make([]byte, binary.BigEndian.Uint16(head[:]))
	if _, err := io.ReadFull(conn, b); err != nil {
		return nil, timeout(err)
	}
	switch out.match(b) {
	case stray:
		u.stats.mismatched.Add(1)
		return nil, errAnswer
	case complaint:
		return b, nil
	}
	if binary.BigEndian.Uint16(b[2:])&bitTruncated != 0 {
		return nil, errAnswer
	}
	return b, nil
}

// dial connects, and ends everything on the connection after a time.
func (u *upstream) dial(ctx context.Context, network string, s netip.AddrPort, patience time.Duration) (net.Conn, error) {
	deadline := time.Now().Add(patience)
	dialer := net.Dialer{Deadline: deadline}
	conn, err := dialer.DialContext(ctx, network, s.String())
	if err != nil {
		return nil, timeout(err)
	}
	if err := conn.SetDeadline(deadline); err != nil {
		conn.Close()
		return nil, err
	}
	if !u.track(conn) {
		return nil, net.ErrClosed
	}
	return conn, nil
}

// timeout tells a server that is silent from one that cannot be reached.
func timeout(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errTimeout
	}
	if t, ok := errors.AsType[net.Error](err); ok && t.Timeout() {
		return errTimeout
	}
	return err
}
