package virtiotest

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Subject is one queue of one device under attack.
type Subject struct {
	// Driver of the device, over the memory of NewMemory.
	Driver *Driver
	// Queue is the index of the queue to attack.
	Queue int
	// Request is the device-readable part of a request that the device serves; empty for receive queues and the like.
	Request []byte
	// Reply is the size of the device-writable part, bytes; 0 when there is none.
	Reply int
	// Provoke makes the device look at the queue from the host's side and use a chain, for queues that a kick alone
	// does not make it look at: it feeds one input to a receive queue. Nil: a kick is enough.
	Provoke func()
	// Check proves that the started device works. Nil: one request is posted and comes back.
	Check func(t testing.TB, d *Driver)
}

// row is one bad input. run starts the device, does its worst and waits for the expected outcome; the suite then requires that
// a reset brings the device back.
type row struct {
	name string
	run  func(a *attack)
}

// HostileQueue attacks a queue in every way a guest can, and requires what the project promises for each: the device is marked
// DEVICE_NEEDS_RESET with a configuration change notification, or goes on unharmed; nothing hangs or panics; and after a
// reset by the driver the device works. Names are the classes A1 to A15 of the catalogue of bad virtqueue inputs.
//
// newSubject makes a new device for each input, and closes it with t.Cleanup.
func HostileQueue(t *testing.T, newSubject func(t *testing.T) *Subject) {
	t.Helper()
	for _, rows := range [][]row{ringRows(), chainRows(), indirectRows(), setupRows(), statusRows(), lifeRows(), raceRows()} {
		for _, r := range rows {
			t.Run(r.name, func(t *testing.T) {
				a := &attack{t: t, s: newSubject(t)}
				a.d = a.s.Driver
				r.run(a)
				a.recovers()
			})
		}
	}
}

// attack is one run of one row.
type attack struct {
	t *testing.T
	s *Subject
	d *Driver
	q *Queue // under attack
	r *Raw   // its ring

	used uint16 // the used index when the device was last provoked
}

// start initialises the device. Without EVENT_IDX every used chain interrupts, which the rows count on.
func (a *attack) start(features uint64) {
	a.t.Helper()
	a.d.Start(features)
	a.q = a.d.Queue(a.s.Queue)
	a.r = a.q.Raw
}

// recovers resets the device and requires that it works again.
func (a *attack) recovers() {
	a.t.Helper()
	a.start(FeatureIndirect | FeatureEventIdx)
	a.works()
}

// works requires that the started device serves a correct driver.
func (a *attack) works() {
	a.t.Helper()
	if a.s.Check != nil {
		a.s.Check(a.t, a.d)
		return
	}
	head := a.q.Post(a.s.Request, a.s.Reply)
	a.provoke()
	u := a.q.Wait()
	require.Equal(a.t, head, u.Head, "another chain came back")
	require.False(a.t, a.d.needsReset(), "device needs a reset after a correct request")
}

func (a *attack) provoke() {
	if a.r != nil {
		a.used = a.r.UsedIdx()
	}
	if a.s.Provoke != nil {
		a.s.Provoke()
	}
}

// kick notifies the device, and provokes it.
func (a *attack) kick() {
	a.q.Notify()
	a.provoke()
}

// until waits, and provokes the device again whenever it has used a chain.
func (a *attack) until(what string, done func() bool) {
	a.t.Helper()
	a.d.WaitFor(what, func() bool {
		if done() {
			return true
		}
		if a.r.UsedIdx() != a.used {
			a.provoke()
		}
		return false
	})
}

// refused kicks and requires DEVICE_NEEDS_RESET and its notification.
func (a *attack) refused() {
	a.t.Helper()
	a.kick()
	a.until("DEVICE_NEEDS_RESET", a.d.needsReset)
	a.d.WaitNeedsReset()
}

// refusedUnused is refused for inputs of which nothing may be served.
func (a *attack) refusedUnused() {
	a.t.Helper()
	a.refused()
	require.Zero(a.t, a.r.UsedIdx(), "the device served what it had to refuse")
}

// usedOrRefused kicks and waits until n chains have come back, or the device refuses.
func (a *attack) usedOrRefused(n uint16) {
	a.t.Helper()
	a.kick()
	a.until("used chains or DEVICE_NEEDS_RESET", func() bool { return a.r.UsedIdx() == n || a.d.needsReset() })
}

// served kicks and requires that n chains have come back.
func (a *attack) served(n uint16) {
	a.t.Helper()
	a.usedOrRefused(n)
	require.False(a.t, a.d.needsReset(), "the device refused what is allowed")
}

// direction is the WRITE flag that a single buffer of this queue has.
func (a *attack) direction() uint16 {
	if len(a.s.Request) == 0 {
		return DescWrite
	}
	return 0
}

// bufferSize is the size of buffers whose contents do not matter.
const bufferSize = 64

// buffer is a descriptor of a fresh buffer in the queue's usual direction.
func (a *attack) buffer() Desc {
	a.t.Helper()
	return Desc{Addr: a.d.Alloc(bufferSize), Len: bufferSize, Flags: a.direction()}
}

// request is the descriptors of a correct request, with buffers from alloc, linked through the table's entries from first on.
func (a *attack) request(first uint16, alloc func(size uint64) uint64) []Desc {
	a.t.Helper()
	var descs []Desc
	if n := len(a.s.Request); n > 0 {
		d := Desc{Addr: alloc(uint64(n)), Len: uint32(n)}
		require.NoError(a.t, a.d.Mem().WriteAt(a.s.Request, d.Addr))
		descs = append(descs, d)
	}
	if a.s.Reply > 0 {
		descs = append(descs, Desc{Addr: alloc(uint64(a.s.Reply)), Len: uint32(a.s.Reply), Flags: DescWrite})
	}
	for i := range descs[:len(descs)-1] {
		descs[i].Flags |= DescNext
		descs[i].Next = first + uint16(i) + 1
	}
	return descs
}

// expose writes descriptors 0, 1, … and makes chain 0 available.
func (a *attack) expose(descs ...Desc) {
	for i, d := range descs {
		a.r.SetDesc(uint16(i), d)
	}
	a.r.Expose(0)
}
