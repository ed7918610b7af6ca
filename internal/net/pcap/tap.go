package pcap

import (
	"sync/atomic"
	"time"

	"github.com/libcapsa/libcapsa/internal/net/link"
)

// Tap is a [link.Host] that captures what passes and hands it on. Without a
// Writer it costs a load.
type Tap struct {
	host   link.Host
	writer atomic.Pointer[Writer]
}

// NewTap makes a tap in front of host, with no Writer.
func NewTap(host link.Host) *Tap { return &Tap{host: host} }

// Capture has w, nil for none, capture from now on, and returns the Writer that
// did before, which its owner then closes. It may be called from anywhere.
func (t *Tap) Capture(w *Writer) (old *Writer) { return t.writer.Swap(w) }

// Attach implements [link.Host].
func (t *Tap) Attach(guest link.Guest, offloads link.Offloads) {
	t.host.Attach(&tappedGuest{tap: t, guest: guest}, offloads)
}

// Detach implements [link.Host].
func (t *Tap) Detach() { t.host.Detach() }

// Send implements [link.Host].
func (t *Tap) Send(frames []link.Frame) {
	if w := t.writer.Load(); w != nil {
		w.Write(Sent, frames)
	}
	t.host.Send(frames)
}

// Room implements [link.Host].
func (t *Tap) Room() { t.host.Room() }

type tappedGuest struct {
	tap   *Tap
	guest link.Guest
}

// Receive implements [link.Guest]. Only what was taken is captured, once, with
// the time of before: an answer may stand before its question in the file, but
// never has an earlier time.
func (g *tappedGuest) Receive(frames []link.Frame) int {
	w := g.tap.writer.Load()
	if w == nil {
		return g.guest.Receive(frames)
	}
	when := w.now()
	n := g.guest.Receive(frames)
	w.WriteAt(when, Received, frames[:n])
	return n
}

func (w *Writer) now() time.Time { return w.cfg.Now() }

var (
	_ link.Host  = (*Tap)(nil)
	_ link.Guest = (*tappedGuest)(nil)
)
