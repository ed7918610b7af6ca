package virtio

import "sync/atomic"

// Counters are the statistics of one device, kept over its resets. Every
// method may be called from every goroutine, and on nil, where it does
// nothing.
type Counters struct {
	kicks      atomic.Uint64
	interrupts atomic.Uint64
	requests   atomic.Uint64
	errors     atomic.Uint64
	bytes      atomic.Uint64
	resets     atomic.Uint64
	faults     atomic.Uint64
}

// Stats is a snapshot of [Counters].
type Stats struct {
	Kicks      uint64 // times a worker was woken; kicks that coalesced count once
	Interrupts uint64 // used buffer and configuration notifications sent
	Requests   uint64 // descriptor chains served
	Errors     uint64 // requests the host could not serve
	Bytes      uint64 // payload moved, both directions
	Resets     uint64 // resets by the driver
	Faults     uint64 // times the device was marked DEVICE_NEEDS_RESET
}

// AddKick counts a wake-up of a worker.
func (c *Counters) AddKick() {
	if c != nil {
		c.kicks.Add(1)
	}
}

// AddInterrupt counts a notification of the driver.
func (c *Counters) AddInterrupt() {
	if c != nil {
		c.interrupts.Add(1)
	}
}

// AddRequests counts n chains that moved bytes of payload.
func (c *Counters) AddRequests(n, bytes uint64) {
	if c != nil {
		c.requests.Add(n)
		c.bytes.Add(bytes)
	}
}

// AddError counts a request the host could not serve.
func (c *Counters) AddError() {
	if c != nil {
		c.errors.Add(1)
	}
}

// AddReset counts a reset by the driver.
func (c *Counters) AddReset() {
	if c != nil {
		c.resets.Add(1)
	}
}

// AddFault counts a DEVICE_NEEDS_RESET.
func (c *Counters) AddFault() {
	if c != nil {
		c.faults.Add(1)
	}
}

// Stats returns the values of this moment. They are read one by one: a
// request in progress may be in one and not yet in another.
func (c *Counters) Stats() Stats {
	if c == nil {
		return Stats{}
	}
	return Stats{
		Kicks:      c.kicks.Load(),
		Interrupts: c.interrupts.Load(),
		Requests:   c.requests.Load(),
		Errors:     c.errors.Load(),
		Bytes:      c.bytes.Load(),
		Resets:     c.resets.Load(),
		Faults:     c.faults.Load(),
	}
}
