package nat

import (
	"errors"
	"io"
	"syscall"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/libcapsa/libcapsa/internal/net/policy"
)

// pump carries the bytes of one flow: straight from netstack's buffers into the
// socket, and from the socket into netstack's buffers. System calls are tried
// within the runtime's poller's callbacks, which keep the descriptor open and lose
// no wake-up; there they must not block.
type pump struct {
	f      *flow
	ep     tcpip.Endpoint
	host   syscall.RawConn
	wq     *waiter.Queue
	readyR chan struct{} // the endpoint has something to read
	readyW chan struct{} // or room
	entryR waiter.Entry
	entryW waiter.Entry
	held   []byte // the first flight, while it is held
}

func newPump(f *flow, ep tcpip.Endpoint, wq *waiter.Queue) *pump {
	p := &pump{f: f, ep: ep, wq: wq}
	p.host, _ = f.host.SyscallConn() // no error: it was just opened
	p.entryR, p.readyR = waiter.NewChannelEntry(waiter.ReadableEvents | waiter.EventHUp | waiter.EventErr)
	p.entryW, p.readyW = waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventHUp | waiter.EventErr)
	wq.EventRegister(&p.entryR)
	wq.EventRegister(&p.entryW)
	return p
}

func (p *pump) close() {
	p.wq.EventUnregister(&p.entryR)
	p.wq.EventUnregister(&p.entryW)
}

// socketWriter writes what netstack reads out, as far as the socket has room.
type socketWriter struct {
	fd  int
	n   uint64
	err error
}

func (w *socketWriter) Write(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		k, err := unix.SendmsgN(w.fd, b[n:], nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			w.err = err
			break
		}
		n += k
	}
	w.n += uint64(n)
	if n < len(b) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

// fromGuest carries the guest's direction to its end.
func (p *pump) fromGuest() {
	p.f.mu.Lock()
	want := p.f.verdict.WantName && p.f.asked.Said == policy.SaidUnknown
	p.f.mu.Unlock()
	if want && !p.firstFlight(false) {
		p.f.end(errDenied)
		return
	}
	if !p.release() {
		p.f.end(errReset)
		return
	}
	w := new(socketWriter)
	var stop tcpip.Error
	step := func(fd uintptr) bool {
		for {
			w.fd, w.n, w.err = int(fd), 0, nil
			_, stop = p.ep.Read(w, tcpip.ReadOptions{})
			p.f.fromGuest.Add(w.n)
			switch {
			case w.err == unix.EAGAIN:
				return false
			case w.err != nil || stop != nil:
				return true
			}
		}
	}
	for {
		if err := p.host.Write(step); err != nil {
			p.f.end(errReset)
			return
		}
		if w.err != nil {
			p.f.end(errReset)
			return
		}
		switch stop.(type) {
		case *tcpip.ErrWouldBlock:
			<-p.readyR
		case *tcpip.ErrClosedForReceive:
			p.closeWrite()
			return
		default:
			p.f.end(errReset)
			return
		}
	}
}

// closeWrite passes the guest's FIN on.
func (p *pump) closeWrite() {
	if p.f.ended() == nil {
		_ = p.f.host.CloseWrite()
	}
}

// smallRead is how many bytes are read before it is asked how many there are: most
// messages of programs that answer each other are shorter.
const smallRead = 1024

// socketReader is a tcpip.Payloader of exactly so many bytes as the socket has: what
// was read of them already, and what is read straight into netstack's buffers.
type socketReader struct {
	fd    int
	small []byte // read, not taken
	left  int    // bytes that the socket still has
	bulk  bool   // there was more than smallRead the last time
	err   error
	room  [smallRead]byte
}

// Len implements tcpip.Payloader.
func (r *socketReader) Len() int { return len(r.small) + r.left }

// Read implements io.Reader. Netstack also reads nothing, to see whether that is the
// end; the socket would then say so.
func (r *socketReader) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if len(r.small) > 0 {
		n := copy(b, r.small)
		r.small = r.small[n:]
		return n, nil
	}
	n, err := receiveStream(r.fd, b)
	if err != nil || n == 0 {
		r.err = errors.Join(errReset, err)
		return 0, io.ErrUnexpectedEOF
	}
	r.left -= n
	return n, nil
}

// receiveStream reads without waiting; 0 bytes are the end.
func receiveStream(fd int, b []byte) (int, error) {
	for {
		n, _, err := unix.Recvfrom(fd, b, unix.MSG_DONTWAIT)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

// fill looks for more. eof: nothing will come. again: nothing is there now.
func (r *socketReader) fill() (eof, again bool) {
	if r.bulk && r.ask() {
		return false, false
	}
	n, err := receiveStream(r.fd, r.room[:])
	switch {
	case err == unix.EAGAIN:
		return false, true
	case err != nil:
		r.err = err
		return false, false
	}
	r.small = r.room[:n]
	r.bulk = n == smallRead
	if r.bulk {
		r.ask()
	}
	return n == 0, false
}

// ask sets how much the socket has.
func (r *socketReader) ask() bool {
	n, err := readable(r.fd)
	r.left = 0
	if err == nil {
		r.left = max(n, 0)
	}
	return r.left > 0
}

// toGuest carries the other direction to its end.
func (p *pump) toGuest() {
	r := new(socketReader)
	var stop tcpip.Error
	var eof bool
	step := func(fd uintptr) bool {
		r.fd = int(fd)
		for {
			if r.Len() == 0 {
				var again bool
				if eof, again = r.fill(); again {
					return false
				}
				if eof || r.err != nil {
					return true
				}
			}
			var n int64
			n, stop = p.ep.Write(r, tcpip.WriteOptions{})
			p.f.toGuest.Add(uint64(n))
			if stop != nil {
				return true
			}
		}
	}
	for {
		err := p.host.Read(step)
		switch {
		case err != nil || r.err != nil:
			p.f.end(errReset)
			return
		case eof:
			p.f.ours.Store(true)
			p.ep.Shutdown(tcpip.ShutdownWrite)
			return
		}
		if _, ok := stop.(*tcpip.ErrWouldBlock); !ok {
			p.f.end(errReset)
			return
		}
		<-p.readyW
	}
}
