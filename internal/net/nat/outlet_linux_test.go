package nat

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/net/link"
)

// slow is a guest that takes so many frames, and then no more.
type slow struct {
	room int
	got  []byte // the first byte of each frame
}

// Receive implements link.Guest.
func (s *slow) Receive(frames []link.Frame) int {
	n := min(s.room, len(frames))
	for i := range frames[:n] {
		s.got = append(s.got, frames[i].Data[0][0])
	}
	s.room -= n
	return n
}

// What the guest has no room for comes later, in order; too much of it is dropped.
func TestOutletWaits(t *testing.T) {
	t.Parallel()
	var c counts
	g := &slow{room: 2}
	o := outlet{counts: &c}
	o.attach(g, offloaded)
	send := func(from, to byte) {
		for i := from; i < to; i++ {
			o.raw(oneFrame([]byte{i, 2}), oneFrame([]byte{i, 3}))
		}
	}
	send(0, 3)
	assert.Equal(t, []byte{0, 0}, g.got)
	g.room = 3
	o.room()
	assert.Equal(t, []byte{0, 0, 1, 1, 2}, g.got)
	g.room = 10
	send(3, 4) // does not overtake
	assert.Equal(t, []byte{0, 0, 1, 1, 2}, g.got)
	o.room()
	assert.Equal(t, []byte{0, 0, 1, 1, 2, 2, 3, 3}, g.got)
	assert.Zero(t, len(o.queue)+o.size)

	g.room = 0
	for range maxWaiting {
		send(9, 10)
	}
	assert.Equal(t, uint64(maxWaiting), c.queueFull.Load())
	g.room = 1 << 20
	g.got = nil
	o.room()
	assert.Len(t, g.got, maxWaiting)
	assert.Zero(t, o.size)

	g.room = 0
	big := make([]byte, 60000)
	for range 1000 {
		o.raw(oneFrame(big))
	}
	assert.LessOrEqual(t, o.size, maxWaitingSize)
	o.detach()
	assert.Zero(t, o.size)
	o.raw(oneFrame(big)) // nobody is there
	o.room()
	assert.Zero(t, o.size)
}

// A guest that says it took what it was not given is not believed.
func TestOutletDistrusts(t *testing.T) {
	t.Parallel()
	var c counts
	o := outlet{counts: &c}
	for _, n := range []int{-5, 100} {
		o.attach(liar(n), offloaded)
		o.raw(oneFrame([]byte{1}), oneFrame([]byte{2}))
		o.room()
		o.detach()
	}
	assert.Equal(t, uint64(2), c.toGuest.Load())
}

type liar int

// Receive implements link.Guest.
func (l liar) Receive([]link.Frame) int { return int(l) }

func TestConfigErrors(t *testing.T) {
	t.Parallel()
	good := Config{GatewayMAC: gatewayMAC, GuestMAC: guestMAC, Gateway4: gateway4, Guest4: guest4, Gateway6: gateway6, Prefix6: prefix6, Guest6: guest6}
	for name, c := range map[string]struct {
		change func(c *Config)
		want   string
	}{
		"policy":    {func(c *Config) { c.Policy = nil }, "no policy"},
		"small MTU": {func(c *Config) { c.MTU = 1279 }, "1280 to 65535"},
		"big MTU":   {func(c *Config) { c.MTU = 65536 }, "1280 to 65535"},
		"one MAC":   {func(c *Config) { c.GuestMAC = gatewayMAC }, "two different ones"},
		"group MAC": {func(c *Config) { c.GuestMAC[0] = 1 }, "single stations"},
		"gateway":   {func(c *Config) { c.Gateway4 = somewhere.Addr() }, "of one network"},
		"guest":     {func(c *Config) { c.Guest4 = prefix6 }, "of one network"},
		"gateway6":  {func(c *Config) { c.Gateway6 = gateway4 }, "not in network"},
		"guest6":    {func(c *Config) { c.Guest6 = gateway6 }, "not in network"},
	} {
		cfg := good
		withPolicy(open)(&cfg, nil)
		c.change(&cfg)
		_, err := New(cfg)
		assert.ErrorContains(t, err, c.want, name)
	}
}

// An observer that does not come back holds up nobody.
func TestObserverLost(t *testing.T) {
	t.Parallel()
	var o observer
	started, proceed := make(chan bool, 1), make(chan bool)
	n := 0
	o.start(func(Event) {
		if n++; n == 1 {
			started <- true
			<-proceed
		}
		panic("an observer's panic is its own")
	})
	o.say(Event{})
	<-started
	for range maxEvents + 10 {
		o.say(Event{})
	}
	require.Equal(t, uint64(10), o.lost.Load())
	close(proceed)
	o.stop()
	assert.Equal(t, maxEvents+1, n)
}
