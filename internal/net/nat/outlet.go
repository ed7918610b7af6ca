package nat

import (
	"encoding/binary"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/libcapsa/libcapsa/internal/net/frame"
	"github.com/libcapsa/libcapsa/internal/net/link"
)

// What waits for a guest that has no room, at most. Beyond it frames are dropped,
// which slows TCP down as it should.
const (
	maxWaiting     = 4096    // frames
	maxWaitingSize = 8 << 20 // bytes
)

// batchSize is how many of the waiting frames are offered to the guest at once.
const batchSize = 64

// waiting is a frame that the guest had no room for: netstack's packet or a copy.
type waiting struct {
	header link.Header
	packet *stack.PacketBuffer
	data   []byte
	size   int
}

// outlet is the way to the guest. All frames pass under its lock, which keeps
// their order; Receive copies them and does not block.
type outlet struct {
	counts *counts

	mu       sync.Mutex
	guest    link.Guest // nil: none
	offloads link.Offloads
	queue    []waiting // [head:]
	head     int
	size     int  // bytes of queue
	stalled  bool // the guest had no room, and has not said since that there is
	batch    batch
}

// batch are frames while they are put together. Its arrays are used again.
type batch struct {
	frames  []link.Frame
	owners  []*stack.PacketBuffer // nil where the frame is bytes of ours
	data    [][]byte
	scratch []byte
	flat    []byte
}

func (o *outlet) attach(guest link.Guest, offloads link.Offloads) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.guest, o.offloads = guest, offloads
}

// detach drops what waits. Postconditions: the guest is not called any more.
func (o *outlet) detach() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.guest = nil
	for _, w := range o.queue[o.head:] {
		w.release()
	}
	o.queue, o.head, o.size, o.stalled = nil, 0, 0, false
	o.batch = batch{}
}

func (w *waiting) release() {
	if w.packet != nil {
		w.packet.DecRef()
	}
}

// packets sends what netstack has made. It keeps its own references.
func (o *outlet) packets(list []*stack.PacketBuffer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.guest == nil {
		return
	}
	b := &o.batch
	for _, p := range list {
		o.add(b, headerOf(p), p, nil)
	}
	o.flush(b)
}

// later keeps a packet of netstack's for whoever sends next, or calls drain.
func (o *outlet) later(p *stack.PacketBuffer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.guest == nil {
		return
	}
	b := &o.batch
	o.add(b, headerOf(p), p, nil)
	for i := range b.frames {
		o.wait(&b.frames[i], b.owners[i])
	}
	b.reset()
}

// raw sends frames of ours, which are borrowed. The checksums of their transports
// are as the header says.
func (o *outlet) raw(frames ...link.Frame) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.guest == nil {
		return
	}
	b := &o.batch
	for i := range frames {
		o.add(b, frames[i].Header, nil, frames[i].Data)
	}
	o.flush(b)
}

// headerOf says in virtio's words what netstack left to be done.
func headerOf(p *stack.PacketBuffer) (h link.Header) {
	g := &p.GSOOptions
	if g.Type == stack.GSONone || !g.NeedsCsum {
		return h
	}
	h.Flags = link.NeedsChecksum
	h.CSumStart, h.CSumOffset = frame.EtherSize+g.L3HdrLen, g.CsumOffset
	if p.Data().Size() > int(g.MSS) {
		h.GSOType = link.GSOTCPv4
		if g.Type == stack.GSOTCPv6 {
			h.GSOType = link.GSOTCPv6
		}
		h.GSOSize, h.HdrLen = g.MSS, uint16(p.HeaderSize())
	}
	return h
}

// uso says whether the guest's driver takes long UDP frames.
func (o *outlet) uso(v6 bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.takes(&link.Header{Flags: link.NeedsChecksum, GSOType: link.GSOUDPL4}, v6)
}

// takes says whether the guest's driver takes a frame as it is.
func (o *outlet) takes(h *link.Header, v6 bool) bool {
	if h.Flags&link.NeedsChecksum != 0 && !o.offloads.Checksum {
		return false
	}
	if h.GSOType&link.GSOECN != 0 && !o.offloads.ECN {
		return false
	}
	switch h.GSOType &^ link.GSOECN {
	case link.GSOTCPv4:
		return o.offloads.TSO4
	case link.GSOTCPv6:
		return o.offloads.TSO6
	case link.GSOUDPL4:
		return v6 && o.offloads.USO6 || !v6 && o.offloads.USO4
	}
	return true
}

// add puts one frame into the batch, done by software as far as the guest needs it.
func (o *outlet) add(b *batch, h link.Header, p *stack.PacketBuffer, data [][]byte) {
	from := len(b.data)
	if p != nil {
		b.views(p)
	} else {
		b.data = append(b.data, data...)
	}
	if o.takes(&h, isIPv6(b.data[from:])) {
		b.push(h, p, b.data[from:])
		return
	}
	b.flat = b.flat[:0]
	for _, d := range b.data[from:] {
		b.flat = append(b.flat, d...)
	}
	b.data = b.data[:from]
	if h.GSOType == link.GSONone {
		frame.Complete(b.flat, int(h.CSumStart), int(h.CSumOffset))
		b.pushBytes(link.Header{}, len(b.flat), func(dst []byte) int { return copy(dst, b.flat) })
		return
	}
	cut, ok := frame.NewCut(b.flat, h, !o.offloads.Checksum)
	for ok {
		ok = b.pushCut(&cut)
	}
}

// isIPv6 says what a frame holds; its headers are one piece, those of netstack two.
func isIPv6(data [][]byte) bool {
	return len(data) > 0 && len(data[0]) >= frame.EtherSize && binary.BigEndian.Uint16(data[0][12:]) == frame.TypeIPv6
}

func (b *batch) views(p *stack.PacketBuffer) {
	list, skip := p.AsViewList()
	for v := list.Front(); v != nil; v = v.Next() {
		s := v.AsSlice()
		if skip >= len(s) {
			skip -= len(s)
			continue
		}
		b.data = append(b.data, s[skip:])
		skip = 0
	}
}

func (b *batch) push(h link.Header, p *stack.PacketBuffer, data [][]byte) {
	b.frames = append(b.frames, link.Frame{Header: h, Data: data[:len(data):len(data)]})
	b.owners = append(b.owners, p)
}

// pushBytes pushes bytes that fill writes into the scratch buffer.
func (b *batch) pushBytes(h link.Header, size int, fill func(dst []byte) int) {
	if cap(b.scratch)-len(b.scratch) < size { // frames keep what they point to
		b.scratch = make([]byte, 0, max(128<<10, size))
	}
	at := len(b.scratch)
	n := fill(b.scratch[at : at+size])
	b.scratch = b.scratch[:at+n]
	b.data = append(b.data, b.scratch[at:at+n])
	b.push(h, nil, b.data[len(b.data)-1:])
}

func (b *batch) pushCut(c *frame.Cut) bool {
	if cap(b.scratch)-len(b.scratch) < c.FrameSize() {
		b.scratch = make([]byte, 0, max(128<<10, c.FrameSize()))
	}
	at := len(b.scratch)
	n, h := c.Next(b.scratch[at : at+c.FrameSize()])
	if n == 0 {
		return false
	}
	b.scratch = b.scratch[:at+n]
	b.data = append(b.data, b.scratch[at:at+n])
	b.push(h, nil, b.data[len(b.data)-1:])
	return true
}

func (b *batch) reset() {
	clear(b.frames)
	clear(b.owners)
	clear(b.data)
	b.frames, b.owners, b.data, b.scratch = b.frames[:0], b.owners[:0], b.data[:0], b.scratch[:0]
}

// flush offers the batch to the guest, and lets wait what it does not take.
// Preconditions: o.mu is held.
func (o *outlet) flush(b *batch) {
	defer b.reset()
	taken := 0
	if o.head == len(o.queue) {
		taken = o.receive(b.frames)
	}
	for i := taken; i < len(b.frames); i++ {
		o.wait(&b.frames[i], b.owners[i])
	}
	if o.head < len(o.queue) && !o.stalled {
		b.reset()
		o.offer()
	}
}

func (o *outlet) receive(frames []link.Frame) int {
	n := min(max(o.guest.Receive(frames), 0), len(frames))
	o.counts.toGuest.Add(uint64(n))
	o.stalled = n < len(frames)
	return n
}

// wait keeps one frame for later, or drops it.
func (o *outlet) wait(f *link.Frame, p *stack.PacketBuffer) {
	w := waiting{header: f.Header, size: f.Len()}
	if len(o.queue)-o.head >= maxWaiting || o.size+w.size > maxWaitingSize {
		o.counts.queueFull.Add(1)
		return
	}
	if p != nil {
		w.packet = p.IncRef()
	} else {
		w.data = make([]byte, 0, w.size)
		for _, d := range f.Data {
			w.data = append(w.data, d...)
		}
	}
	o.queue = append(o.queue, w)
	o.size += w.size
}

// room offers what waits: the guest has room.
func (o *outlet) room() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.offer()
}

// drain offers what waits, unless that is for the guest's room.
func (o *outlet) drain() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.stalled {
		o.offer()
	}
}

// offer is room with mu held.
func (o *outlet) offer() {
	for o.guest != nil && o.head < len(o.queue) {
		b := &o.batch
		for _, w := range o.queue[o.head:min(o.head+batchSize, len(o.queue))] {
			from := len(b.data)
			if w.packet != nil {
				b.views(w.packet)
			} else {
				b.data = append(b.data, w.data)
			}
			b.push(w.header, w.packet, b.data[from:])
		}
		offered := len(b.frames)
		taken := o.receive(b.frames)
		b.reset()
		o.forget(taken)
		if taken < offered {
			break
		}
	}
}

// forget drops the first n frames that wait.
func (o *outlet) forget(n int) {
	for i := range o.queue[o.head : o.head+n] {
		w := &o.queue[o.head+i]
		o.size -= w.size
		w.release()
		*w = waiting{}
	}
	o.head += n
	switch {
	case o.head == len(o.queue):
		o.queue, o.head = o.queue[:0], 0
	case o.head > maxWaiting/2:
		n := copy(o.queue, o.queue[o.head:])
		clear(o.queue[n:])
		o.queue, o.head = o.queue[:n], 0
	}
}
