package vsock

// The credit of both directions, virtio 1.2 section 5.10.6.3. All counts are
// bytes since the connection began, modulo 2^32; differences of them are exact,
// since no window is larger.

// receiveWindow is the room that the guest was promised for what it sends.
type receiveWindow struct {
	size      uint32 // buf_alloc, as every packet to the guest says
	received  uint32 // what the guest has sent
	forwarded uint32 // what has left for the host's socket: fwd_cnt
	told      uint32 // fwd_cnt of the last packet to the guest
}

// take accepts n more bytes of the guest; false: it has no credit for them.
func (w *receiveWindow) take(n uint32) bool {
	if n > w.size-(w.received-w.forwarded) {
		return false
	}
	w.received += n
	return true
}

// forward notes that n bytes have left.
func (w *receiveWindow) forward(n uint32) { w.forwarded += n }

// tell returns what a packet to the guest says of the window.
func (w *receiveWindow) tell() (bufAlloc, fwdCnt uint32) {
	w.told = w.forwarded
	return w.size, w.forwarded
}

// visible is the free room that the guest knows of.
func (w *receiveWindow) visible() uint32 {
	if used := w.received - w.told; used < w.size {
		return w.size - used
	}
	return 0
}

// due says whether the guest is to be told the window by a packet of its own.
// That is when half of it has become free since, so that large transfers cost
// one such packet for half a window and small ones none: other packets carry
// the same news. messages: a connection that gets whole messages needs it
// earlier, as it does not free a message's room before it is complete. A guest
// that waits within a message then has room for a packet of the largest size,
// or knows of everything that is free.
func (w *receiveWindow) due(messages bool) bool {
	news := w.forwarded - w.told
	return news >= w.size/2 || messages && news > 0 && w.visible() < w.size/2
}

// sendWindow is the room that the guest promised for what it is sent.
type sendWindow struct {
	size  uint32 // buf_alloc of the guest
	acked uint32 // fwd_cnt of the guest
	sent  uint32
}

// free is how much the guest can be sent now. It is 0 when the guest made its
// window smaller than what is on its way.
func (w *sendWindow) free() uint32 {
	if out := w.sent - w.acked; out < w.size {
		return w.size - out
	}
	return 0
}

// send notes that n bytes are on their way. n <= free().
func (w *sendWindow) send(n uint32) { w.sent += n }

// update takes what a packet of the guest says of its window. It is false when
// that cannot be: the guest claims to have read what it was never sent.
//
// A count that went back is ignored together with its size. Linux reads the
// count and queues the packet in two steps, so that packets of two threads may
// overtake each other (net/vmw_vsock/virtio_transport_common.c,
// virtio_transport_inc_tx_pkt).
func (w *sendWindow) update(bufAlloc, fwdCnt uint32) bool {
	ahead := fwdCnt - w.acked
	if ahead <= w.sent-w.acked {
		w.size, w.acked = bufAlloc, fwdCnt
		return true
	}
	return ahead >= 1<<31
}
