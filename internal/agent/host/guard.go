package host

import (
	"encoding/binary"
	"fmt"
	"net"
	"sync"

	"github.com/libcapsa/libcapsa/internal/agent/wire"
)

// The frames of ttrpc (its PROTOCOL.md): length of the payload, stream, type, flags.
const (
	frameHeaderSize = 10
	frameRequest    = 1
	frameResponse   = 2
)

// guard stands between the guest and ttrpc's client, which would take 4 MiB from
// anyone, write to the process's standard error of answers that nobody waits for, and
// let one stream's data hold up the others. It lets through what a correct guest sends:
// one answer, not too long, to each request that has none yet. All else ends the
// connection.
type guard struct {
	net.Conn

	in, out frames

	mu   sync.Mutex
	open map[uint32]bool // streams of requests without an answer; guarded by mu
	bad  error           // what the guest has done wrong; guarded by mu
}

func newGuard(conn net.Conn) *guard {
	g := &guard{Conn: conn, open: map[uint32]bool{}}
	g.in.each, g.out.each = g.answer, g.request
	return g
}

// Read passes on what the guest sends. ttrpc's client reads on one goroutine.
func (g *guard) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if bad := g.in.pass(p[:n]); bad != nil {
		g.mu.Lock()
		g.bad = bad
		g.mu.Unlock()
		_ = g.Close()
		return 0, bad
	}
	return n, err
}

// Write takes down what is asked. ttrpc's client writes one frame after the other.
func (g *guard) Write(p []byte) (int, error) {
	if err := g.out.pass(p); err != nil {
		return 0, err
	}
	return g.Conn.Write(p)
}

// fault is what the guest has done wrong, or nil.
func (g *guard) fault() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.bad
}

func (g *guard) request(h frame) error {
	if h.kind == frameRequest {
		g.mu.Lock()
		g.open[h.stream] = true
		g.mu.Unlock()
	}
	return nil
}

func (g *guard) answer(h frame) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case h.kind != frameResponse || h.flags != 0:
		return fmt.Errorf("the guest sent a frame of type %d with flags %#x", h.kind, h.flags)
	case h.size > wire.MaxReply:
		return fmt.Errorf("the guest announced an answer of %d bytes; at most %d are taken", h.size, wire.MaxReply)
	case !g.open[h.stream]:
		return fmt.Errorf("the guest answered what nobody has asked (%d)", h.stream)
	}
	delete(g.open, h.stream)
	return nil
}

// frame is the header of one frame.
type frame struct {
	size, stream uint32
	kind, flags  byte
}

// frames finds the headers in a stream of bytes.
type frames struct {
	each   func(frame) error
	header [frameHeaderSize]byte
	have   int    // of header
	skip   uint32 // bytes of payload that are still to come
}

// pass looks at the next bytes.
func (f *frames) pass(p []byte) error {
	for len(p) > 0 {
		if f.skip > 0 {
			n := min(uint64(f.skip), uint64(len(p)))
			f.skip -= uint32(n)
			p = p[n:]
			continue
		}
		n := copy(f.header[f.have:], p)
		f.have += n
		p = p[n:]
		if f.have < frameHeaderSize {
			return nil
		}
		f.have = 0
		h := frame{
			size: binary.BigEndian.Uint32(f.header[0:]), stream: binary.BigEndian.Uint32(f.header[4:]),
			kind: f.header[8], flags: f.header[9],
		}
		if err := f.each(h); err != nil {
			return err
		}
		f.skip = h.size
	}
	return nil
}
