package nat

import (
	"sync"

	"github.com/libcapsa/libcapsa/internal/net/link"
)

// incomingBatch is how many messages are received, and handed to the guest, at once.
const incomingBatch = 16

// messageRoom is a buffer's length: headers and the longest message.
const messageRoom = udpRoom + 65536

// messages are what was received from one socket.
type messages struct {
	buf    [incomingBatch][]byte
	size   [incomingBatch]int // with the room before the payload
	each   [incomingBatch]int // bytes of one datagram, of a message that holds several; 0: one
	n      int
	frames []link.Frame
}

// incomings are for whoever has something to receive: a session holds none while it
// waits.
var incomings = sync.Pool{New: func() any {
	in := new(incoming)
	all := make([]byte, incomingBatch*messageRoom)
	for i := range in.buf {
		in.buf[i] = all[i*messageRoom : (i+1)*messageRoom]
	}
	return in
}}
