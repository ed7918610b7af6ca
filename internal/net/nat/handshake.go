package nat

import (
	"context"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"

	"github.com/libcapsa/libcapsa/internal/safe"
)

// handshakeRetry is how long an ended flow waits for its handshake to notice.
const handshakeRetry = 5 * time.Millisecond

// handshake completes the guest's handshake. Netstack waits for it without a way to
// give up, and hands out no endpoint before. A flow that ends meanwhile looks the
// endpoint up and aborts it; it may not be registered yet, so that is done until the
// waiting is over.
// (To notify the queue that netstack waits on would wake it too, but with its endpoint
// half open, on which its dispatcher panics.)
func (f *flow) handshake(r *tcp.ForwarderRequest, wq *waiter.Queue) (tcpip.Endpoint, tcpip.Error) {
	done := make(chan struct{})
	proto := protocolOf(f.asked.Dst.Addr())
	f.e.tasks.Add(1) // this goroutine is counted, so nobody has stopped waiting
	stop := context.AfterFunc(f.ctx, func() {
		defer f.e.tasks.Done()
		_ = safe.Run("nat handshake", func() {
			for {
				if ep := f.e.stack.FindTransportEndpoint(proto, tcp.ProtocolNumber, f.id, nicID); ep != nil {
					ep.Abort()
				}
				select {
				case <-done:
					return
				case <-time.After(handshakeRetry):
				}
			}
		})
	})
	defer func() {
		close(done)
		if stop() {
			f.e.tasks.Done()
		}
	}()
	return r.CreateEndpoint(wq)
}
