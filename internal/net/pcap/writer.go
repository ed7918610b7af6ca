package pcap

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/libcapsa/libcapsa/internal/net/link"
	"github.com/libcapsa/libcapsa/internal/safe"
)

const (
	// MaxSnapLen is the most of a frame that readers take: libpcap's
	// MAXIMUM_SNAPLEN.
	MaxSnapLen = 262144
	// DefaultBuffer is the size of the buffer where none is given. One as large
	// is being written at the same time.
	DefaultBuffer = 1 << 20
	// MinBuffer holds one frame of each length.
	MinBuffer = MaxSnapLen + 4096
	// maxName bounds the name of the interface; Linux has 15 bytes.
	maxName = 255
)

// closeGrace is how long Close waits for a reader that does not read.
const closeGrace = time.Second

// ErrClosed is the error of a Writer that was closed.
var ErrClosed = errors.New("pcap: closed")

// Config is what a Writer is made from.
type Config struct {
	// Out gets the file, in writes of at most the buffer's size. It stays the
	// caller's, who closes it after the Writer. Where it has SetWriteDeadline,
	// as pipes and sockets have, Close does not wait for its reader for ever.
	Out io.Writer
	// Interface is the interface's name in the file, up to 255 bytes; it may be
	// empty.
	Interface string
	// SnapLen is how many bytes of a frame are written at most; 0 is
	// MaxSnapLen, which is every frame whole.
	SnapLen int
	// Buffer is how many bytes wait to be written at most; 0 is DefaultBuffer.
	Buffer int
	// Limit ends the capture before the file becomes longer, bytes; 0 is no
	// limit. The blocks at its beginning and end count too.
	Limit uint64
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Stats are the counters of a Writer.
type Stats struct {
	Frames  uint64 // written, or in the buffer
	Bytes   uint64 // of the file, of these and of the blocks around them
	Dropped uint64 // frames that found the buffer full or the file at its limit, or came after an error
}

// Writer writes frames to a file.
type Writer struct {
	cfg   Config
	start time.Time
	tail  uint64        // bytes of the end of the file
	wake  chan struct{} // one pending at most: there is something in fill, or closed is set
	done  chan struct{}

	mu     sync.Mutex
	fill   []byte // waits to be written; guarded by mu
	lost   uint64 // since the last frame that was not; guarded by mu
	stats  Stats  // guarded by mu
	closed bool   // guarded by mu
	err    error  // of Out; guarded by mu

	once sync.Once
}

// New begins a file. Errors are about cfg; what Out says comes from Err and
// Close.
func New(cfg Config) (*Writer, error) {
	if cfg.SnapLen == 0 {
		cfg.SnapLen = MaxSnapLen
	}
	if cfg.Buffer == 0 {
		cfg.Buffer = DefaultBuffer
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	switch {
	case cfg.Out == nil:
		return nil, errors.New("pcap: nothing to write to")
	case len(cfg.Interface) > maxName:
		return nil, fmt.Errorf("pcap: an interface's name of %d bytes: up to %d are possible", len(cfg.Interface), maxName)
	case cfg.SnapLen < 0 || cfg.SnapLen > MaxSnapLen:
		return nil, fmt.Errorf("pcap: snap length %d: between 1 and %d is possible", cfg.SnapLen, MaxSnapLen)
	case cfg.Buffer < MinBuffer:
		return nil, fmt.Errorf("pcap: a buffer of %d bytes: at least %d are needed", cfg.Buffer, MinBuffer)
	}
	w := &Writer{cfg: cfg, start: cfg.Now(), wake: make(chan struct{}, 1), done: make(chan struct{})}
	w.fill = appendHeader(nil, cfg.Interface, cfg.SnapLen)
	w.stats.Bytes = uint64(len(w.fill))
	w.tail = uint64(len(appendStatistics(nil, w.start, w.start, Stats{})))
	if least := w.stats.Bytes + w.tail; cfg.Limit != 0 && cfg.Limit < least {
		return nil, fmt.Errorf("pcap: a limit of %d bytes: a file without frames has %d", cfg.Limit, least)
	}
	w.wake <- struct{}{}
	safe.Go("pcap", w.fail, w.run)
	return w, nil
}

// Write captures frames that go dir, at the time of the Writer's clock. It copies
// what it keeps, never waits for Out, and may be called from anywhere.
func (w *Writer) Write(dir Direction, frames []link.Frame) {
	w.WriteAt(w.cfg.Now(), dir, frames)
}

// WriteAt is Write at a time that was taken before.
func (w *Writer) WriteAt(when time.Time, dir Direction, frames []link.Frame) {
	w.mu.Lock()
	idle := len(w.fill) == 0
	for i := range frames {
		w.add(packet{when: when, dir: dir, snap: w.cfg.SnapLen}, &frames[i])
	}
	wake := idle && len(w.fill) > 0
	w.mu.Unlock()
	if wake {
		w.poke()
	}
}

// add puts a frame into the buffer, or counts it. Preconditions: mu is held.
func (w *Writer) add(p packet, f *link.Frame) {
	n := f.Len()
	size := min(n, p.snap) + packetOverhead // no less than it will be
	if w.closed || w.err != nil || len(w.fill)+size > w.cfg.Buffer || w.full(size) {
		w.stats.Dropped++
		w.lost++
		return
	}
	before := len(w.fill)
	p.lost = w.lost
	w.fill = appendPacket(w.fill, p, f, n)
	w.lost = 0
	w.stats.Frames++
	w.stats.Bytes += uint64(len(w.fill) - before)
}

// full says whether the limit is reached with size bytes more. Preconditions: mu
// is held.
func (w *Writer) full(size int) bool {
	return w.cfg.Limit != 0 && w.stats.Bytes+uint64(size)+w.tail > w.cfg.Limit
}

func (w *Writer) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run is the Writer's goroutine.
func (w *Writer) run() {
	defer close(w.done)
	var out []byte
	for range w.wake {
		for {
			last := false
			out, last = w.swap(out[:0])
			if len(out) > 0 {
				if err := w.flush(out); err != nil {
					w.fail(err)
				}
			}
			if last {
				return
			}
			if len(out) == 0 {
				break
			}
		}
	}
}

// swap takes what waits, and leaves an empty buffer. The last time it adds the
// end of the file.
func (w *Writer) swap(empty []byte) (out []byte, last bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		w.fill = nil
		return empty, w.closed
	}
	out, w.fill = w.fill, empty
	if w.closed {
		before := len(out)
		out = appendStatistics(out, w.start, w.cfg.Now(), w.stats)
		w.stats.Bytes += uint64(len(out) - before)
	}
	return out, w.closed
}

// flush is one write.
func (w *Writer) flush(b []byte) error {
	n, err := w.cfg.Out.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("pcap: %w", err)
	}
	return nil
}

// fail ends the capture, but not the Writer.
func (w *Writer) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	w.fill = nil
}

// Err is why nothing is written any more, nil while it is.
func (w *Writer) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil && w.closed {
		return ErrClosed
	}
	return w.err
}

// Stats returns the counters.
func (w *Writer) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stats
}

// Close writes what is left and the end of the file, and returns the first error
// of Out. Frames that come later are dropped. Idempotent.
func (w *Writer) Close() error {
	w.once.Do(func() {
		w.mu.Lock()
		w.closed = true
		w.mu.Unlock()
		w.poke()
		if out, ok := w.cfg.Out.(interface{ SetWriteDeadline(time.Time) error }); ok {
			// Files on disks have none, and need none.
			_ = out.SetWriteDeadline(time.Now().Add(closeGrace))
			<-w.done
			_ = out.SetWriteDeadline(time.Time{})
		}
	})
	<-w.done
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}
