package vsock

import "github.com/libcapsa/libcapsa/internal/vsock/packet"

// Budget is the most that all connections of one machine together may have on
// their way from the guest in memory of ours, in bytes: the sum of their
// credits.
const Budget = 128 << 20

// tiers are the credits that new connections get, by how much of the budget is
// given out already: few connections get much, a thousand still get something.
// The first is twice what Linux's own host side gives
// (VIRTIO_VSOCK_DEFAULT_BUF_SIZE), so that it is told of free room half as
// often; the others hold some packets of the largest size, or of a page.
var tiers = []struct{ upTo, credit uint32 }{
	{32 << 20, 512 << 10},
	{64 << 20, 256 << 10},
	{112 << 20, 64 << 10},
	{Budget, 16 << 10},
}

// Messages go to the host's socket whole, so their size is bounded by the
// credit and by the socket: with net.core.wmem_max as Linux has it by default,
// 212,992 bytes, a unix socket takes up to 425,952 (twice that less 32, see
// unix_dgram_sendmsg). A credit that small messages only fit in would be a trap.
const (
	maxMessageCredit = 256 << 10
	minMessageCredit = packet.MaxPayload
	messageOverhead  = 32
)

// budget is what is given out.
type budget struct{ given uint32 }

// take returns the credit of a new connection; 0: there is none left.
func (b *budget) take(t packet.Type) uint32 {
	for _, tier := range tiers {
		credit := tier.credit
		if t == packet.SeqPacket {
			credit = max(min(credit, maxMessageCredit), minMessageCredit)
		}
		if b.given+credit <= tier.upTo {
			b.given += credit
			return credit
		}
	}
	return 0
}

// put takes a credit back.
func (b *budget) put(credit uint32) { b.given -= credit }
