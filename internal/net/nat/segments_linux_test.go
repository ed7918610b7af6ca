package nat

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/link"
)

// answers is a guest that keeps the SYN-ACKs it gets.
type answers struct{ synAck chan uint32 }

// Receive implements link.Guest.
func (a *answers) Receive(frames []link.Frame) int {
	for i := range frames {
		var p frame.Packet
		if p.Parse(&frames[i]) == frame.OK && p.Proto == frame.TCP && p.Flags&frame.FlagSYN != 0 {
			select {
			case a.synAck <- binary.BigEndian.Uint32(p.Head[p.L4+4:]):
			default:
			}
		}
	}
	return len(frames)
}

// pair is a connection to an echo server that needs no port.
func pair(wg *sync.WaitGroup) (net.Conn, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	var conns [2]net.Conn
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "pair")
		conns[i], err = net.FileConn(file)
		_ = file.Close()
		if err != nil {
			return nil, err
		}
	}
	wg.Go(func() {
		_, _ = io.Copy(conns[1], conns[1])
		_ = conns[1].Close()
	})
	return conns[0], nil
}

// segment makes one of a connection from a port of the guest.
func segment(port uint16, seq, ack uint32, flags uint8, window uint16, options, payload []byte) link.Frame {
	l4 := make([]byte, 20, 60+len(payload))
	binary.BigEndian.PutUint16(l4, port)
	binary.BigEndian.PutUint16(l4[2:], somewhere.Port())
	binary.BigEndian.PutUint32(l4[4:], seq)
	binary.BigEndian.PutUint32(l4[8:], ack)
	options = options[:min(len(options), 40)&^3]
	l4[12], l4[13] = byte(5+len(options)/4)<<4, flags
	binary.BigEndian.PutUint16(l4[14:], window)
	return rawFrame(guest4.Addr(), somewhere.Addr(), frame.TCP, append(append(l4, options...), payload...), 16)
}

// segmentSize is how many bytes of the input are one segment: flags, sequence number
// and acknowledgement relative to what is right, window, lengths of options and
// payload.
const segmentSize = 9

// A guest that has opened a connection sends whatever it likes on it: netstack lives
// on, and nothing is left in the end.
func FuzzSegments(f *testing.F) {
	f.Add([]byte{0x10, 0, 0, 0, 0, 0xff, 0xff, 0, 200, 0x11, 0, 200, 0, 0, 0xff, 0xff, 0, 0}, []byte{2, 4, 5, 180, 1, 3, 3, 14})
	f.Add([]byte{0x38, 0, 0, 0, 0, 0, 0, 3, 9, 0x04, 0, 9, 0, 0, 0, 0, 0, 0}, []byte{4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0})
	f.Add([]byte{0x10, 0xff, 0xf0, 0x7f, 0xff, 0, 1, 3, 255, 0x12, 0, 0, 0, 0, 1, 1, 1, 0}, []byte{5, 10, 0, 0, 0, 9, 0, 0, 0, 5, 1, 1})
	var wg sync.WaitGroup
	cfg := Config{GatewayMAC: gatewayMAC, GuestMAC: guestMAC, Gateway4: gateway4, Guest4: guest4}
	withPolicy(open)(&cfg, nil)
	cfg.Dial = func(context.Context, netip.AddrPort) (net.Conn, error) { return pair(&wg) }
	e, err := New(cfg)
	require.NoError(f, err)
	f.Cleanup(func() { _ = e.Close(); wg.Wait() })
	port := uint16(1024)
	f.Fuzz(func(t *testing.T, in, options []byte) {
		g := &answers{synAck: make(chan uint32, 1)}
		if port++; port < 1024 {
			port = 1024
		}
		e.Attach(g, offloaded)
		e.Send([]link.Frame{segment(port, 0x7fffff00, 0, frame.FlagSYN, 0xffff, options, nil)})
		seq, ack := uint32(0x7fffff01), uint32(0)
		if e.Stats().TCP.Open == 0 { // its options are broken
			e.Detach()
			return
		}
		select {
		case ack = <-g.synAck:
			ack++
		case <-time.After(tooLong):
			t.Fatal("a SYN was not answered")
		}
		e.Send([]link.Frame{segment(port, seq, ack, frame.FlagACK, 0xffff, nil, nil)})
		for range 64 {
			if len(in) < segmentSize {
				break
			}
			d := func(i int) uint32 { return uint32(int32(int16(binary.BigEndian.Uint16(in[i:])))) }
			payload := make([]byte, int(in[8])*5)
			e.Send([]link.Frame{segment(port, seq+d(1), ack+d(3), in[0], binary.BigEndian.Uint16(in[5:]), options[:min(len(options), int(in[7])*4)], payload)})
			in = in[segmentSize:]
		}
		e.Detach()
		for deadline := time.Now().Add(tooLong); e.Stats().TCP.Open > 0; runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatal("a flow outlives its guest")
			}
		}
	})
}
