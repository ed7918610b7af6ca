package net

import "sync/atomic"

// drop is why a frame went no further.
type drop uint8

const (
	dropNone   drop = iota
	dropShort       // no whole header of virtio and of Ethernet
	dropLong        // longer than is allowed, or than the receive buffers
	dropHeader      // from the guest: struct virtio_net_hdr makes no sense
	dropFilter      // to the guest: it asked not to get it
	dropDown        // the link is down
	numDrops
)

// Direction are the counters of one way.
type Direction struct {
	Frames uint64 // that were handed on; a long frame to be segmented counts once
	Bytes  uint64 // of Ethernet
	// Frames that were dropped, by reason.
	Short    uint64 // no whole header of virtio and of Ethernet
	Long     uint64 // longer than the MTU allows, or than the driver's buffers
	Header   uint64 // from the guest: a virtio header that makes no sense
	Filtered uint64 // to the guest: of an address or a VLAN that the driver did not ask for
	Down     uint64 // the link was down
}

// Dropped is the sum of the frames that were dropped.
func (d *Direction) Dropped() uint64 { return d.Short + d.Long + d.Header + d.Filtered + d.Down }

// Stats are the counters of one network device, kept over its resets.
type Stats struct {
	Sent     Direction // by the guest
	Received Direction // by the guest
	Stalls   uint64    // times that frames for the guest had to wait for receive buffers
	Commands uint64    // of the driver, through the control queue
	Refused  uint64    // of these, the ones that were answered with an error
}

// way counts one way. Batches are added up before they come here.
type way struct {
	frames, bytes atomic.Uint64
	drops         [numDrops]atomic.Uint64 // by reason; dropNone stays 0
}

// tally is a batch.
type tally struct {
	frames, bytes uint64
	drops         [numDrops]uint64
	dropped       bool // any of drops
}

func (t *tally) drop(why drop) {
	t.drops[why]++
	t.dropped = true
}

func (w *way) add(t *tally) {
	if t.frames > 0 {
		w.frames.Add(t.frames)
		w.bytes.Add(t.bytes)
	}
	if !t.dropped {
		return
	}
	for i, n := range t.drops {
		if n > 0 {
			w.drops[i].Add(n)
		}
	}
}

func (w *way) stats() Direction {
	return Direction{
		Frames:   w.frames.Load(),
		Bytes:    w.bytes.Load(),
		Short:    w.drops[dropShort].Load(),
		Long:     w.drops[dropLong].Load(),
		Header:   w.drops[dropHeader].Load(),
		Filtered: w.drops[dropFilter].Load(),
		Down:     w.drops[dropDown].Load(),
	}
}

// counters are the Stats as they grow.
type counters struct {
	sent, received            way
	stalls, commands, refused atomic.Uint64
}

func (c *counters) stats() Stats {
	return Stats{
		Sent:     c.sent.stats(),
		Received: c.received.stats(),
		Stalls:   c.stalls.Load(),
		Commands: c.commands.Load(),
		Refused:  c.refused.Load(),
	}
}
