// Package cable carries the frames of a network device over a descriptor: a stream
// socket with QEMU's framing, as passt speaks it, a datagram or seqpacket socket, a
// TAP.
//
// A [Host] is the network behind a device: it hands frames of the guest to the
// descriptor, and what comes from there to the guest. A [Remote] is its counterpart at
// the other end: a device that is in another process, as a network sees it.
//
// What the other end sends is not trusted more than what a guest sends: lengths are
// bounded before anything is copied, virtio's headers are checked, and a stream that
// breaks the framing ends, since nobody could say where its next frame begins.
//
// # Back-pressure
//
// Frames are written at once, from where they lie. When the descriptor takes no more,
// a Host keeps some MiB and drops what comes beyond, as a wire does; a Remote says
// that there is no room, so that its network waits. Nothing is read while the guest has
// no room. Nothing polls: an idle cable wakes nobody.
package cable
