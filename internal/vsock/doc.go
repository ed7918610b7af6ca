// Package vsock is the host's side of a machine's virtio sockets: it joins the
// guest's connections to unix sockets of the host.
//
// A [Host] belongs to one machine. Its device (internal/virtio/vsock) hands it
// the guest's packets and asks it for packets to the guest; the caller's side
// is file descriptors: [Host.Connect] returns one that is connected to a port
// of the guest, [Host.Listen] one that accept(2) takes the guest's connections
// from, and [Host.Bind] joins ports to paths.
//
// # Data
//
// Payload moves by one sendmsg from the guest's transmit buffers into the
// host's socket, and by one recvmsg from the socket into the guest's receive
// buffers: there is no buffer of ours in between. Two things do not fit that
// and are copied: what a socket has no room for, when it is little or when too
// many of the guest's buffers wait already, and messages (SEQPACKET) that the
// guest sends in pieces.
//
// What unix sockets have and the guest's have not, or the other way round, does
// not pass: descriptors and urgent bytes of the host, empty messages (which read
// like the end), and MSG_EOR. The end of a message always passes.
//
// # Bounds
//
// The guest sends no more than the credit it was given, per connection; the sum
// of all credits is [Budget], the number of connections Config.MaxConnections.
// A host that does not read is thus waited for at the cost of its credit, and
// a guest that does not read at no cost: the bytes stay in the host's socket.
//
// # Goroutines and locks
//
// One goroutine per Host waits for all its sockets, edge-triggered, through the
// runtime's poller. The others are the device's: its transmit worker calls
// [Host.Send], and [Host.Fill] is called by one goroutine at a time. Host.mu
// guards everything but what a connection still owes its socket, which has
// outbound.mu. System calls that move bytes run without Host.mu; a count of
// users keeps the descriptor open meanwhile. Order: outbound.mu before Host.mu.
//
// A connection's states are in state.go, what each packet does in which state
// in machine_linux.go.
package vsock
