package pcap

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/net/link"
)

// network is a link.Host that counts.
type network struct {
	guest           link.Guest
	offloads        link.Offloads
	sent            int
	detached, rooms int
}

func (n *network) Attach(g link.Guest, o link.Offloads) { n.guest, n.offloads = g, o }
func (n *network) Detach()                              { n.detached++ }
func (n *network) Send(frames []link.Frame)             { n.sent += len(frames) }
func (n *network) Room()                                { n.rooms++ }

// machine is a link.Guest that takes a number of frames.
type machine struct{ room, got int }

func (m *machine) Receive(frames []link.Frame) int {
	n := min(m.room, len(frames))
	m.room -= n
	m.got += n
	return n
}

func TestTap(t *testing.T) {
	host, guest := &network{}, &machine{room: 3}
	tap := NewTap(host)
	offloads := link.Offloads{Checksum: true, TSO6: true}
	tap.Attach(guest, offloads)
	require.Equal(t, offloads, host.offloads)
	frames := []link.Frame{frameOf("one"), frameOf("two"), frameOf("three")}

	tap.Send(frames[:1])
	require.Equal(t, 1, host.guest.Receive(frames[:1]))
	var out bytes.Buffer
	w, err := New(Config{Out: &out, Now: ticking()})
	require.NoError(t, err)
	require.Nil(t, tap.Capture(w))
	tap.Send(frames)
	require.Equal(t, 2, host.guest.Receive(frames), "the guest has no room for all")
	require.Zero(t, host.guest.Receive(frames[2:]))
	tap.Room()
	require.Same(t, w, tap.Capture(nil))
	tap.Send(frames)
	tap.Detach()
	require.NoError(t, w.Close())

	require.Equal(t, network{guest: host.guest, offloads: offloads, sent: 7, detached: 1, rooms: 1}, *host)
	require.Equal(t, 3, guest.got)
	f, err := parse(out.Bytes())
	require.NoError(t, err)
	type way struct {
		dir  Direction
		data string
	}
	var got []way
	for _, p := range f.packets {
		got = append(got, way{p.dir, p.data})
	}
	require.Equal(t, []way{{Sent, "one"}, {Sent, "two"}, {Sent, "three"}, {Received, "one"}, {Received, "two"}}, got)
}
