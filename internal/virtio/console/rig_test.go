package console

import (
	"bytes"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libcapsa/libcapsa/internal/guestmem"
	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/mmio"
	"github.com/libcapsa/libcapsa/internal/virtio/virtiotest"
)

// backing lends what a machine lends, within the process.
type backing struct{ irq *virtiotest.IRQ }

func (b backing) NewKick(int) (virtio.StoppableKick, error) { return virtio.NewLocalKick(), nil }
func (b backing) Interrupt()                                { b.irq.Raise() }

// input is a Source that never refuses, so that tests can see what the device
// takes.
type input struct {
	mu     sync.Mutex
	bytes  []byte
	notify func()
	calls  int // of TryRead
	taken  int // bytes
}

func (s *input) TryRead(p []byte) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := copy(p, s.bytes)
	s.bytes = s.bytes[n:]
	s.calls++
	s.taken += n
	return n
}

func (s *input) SetNotify(notify func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notify = notify
}

func (s *input) put(p []byte) {
	s.mu.Lock()
	wasEmpty, notify := len(s.bytes) == 0, s.notify
	s.bytes = append(s.bytes, p...)
	s.mu.Unlock()
	if wasEmpty && notify != nil {
		notify()
	}
}

func (s *input) counts() (calls, taken int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls, s.taken
}

// output keeps what it gets, and can refuse.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return 0, o.err
	}
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// rig is a console behind an MMIO transport, with a driver.
type rig struct {
	*virtiotest.Driver
	dev       *Device
	transport *mmio.Transport
	in        *input
	out       *output
	mem       *guestmem.Memory
	irq       *virtiotest.IRQ
}

// newRig makes a console whose driver has not started. change may be nil.
func newRig(t testing.TB, change func(*Config)) *rig {
	r := &rig{in: &input{}, out: &output{}, mem: virtiotest.NewMemory(t), irq: virtiotest.NewIRQ()}
	cfg := Config{Output: r.out, Input: r.in}
	if change != nil {
		change(&cfg)
	}
	r.dev = New(cfg)
	r.transport = mmio.New(r.dev, r.mem, backing{r.irq})
	t.Cleanup(r.transport.Close)
	r.Driver = virtiotest.NewDriver(t, virtiotest.Config{Bus: r.transport, Mem: r.mem, IRQ: r.irq})
	return r
}

// features a driver may ask for; the hostile and the plain tests run with and
// without the ring's own.
const ringFeatures = virtiotest.FeatureIndirect | virtiotest.FeatureEventIdx

func startRig(t testing.TB, change func(*Config)) *rig {
	r := newRig(t, change)
	r.Start(FeatureSize | ringFeatures)
	return r
}

// receive posts one buffer of n bytes and returns what it comes back with.
func (r *rig) receive(n int) string {
	return string(r.Queue(queueReceive).Do(nil, n))
}

// send sends one request and waits until it is used.
func (r *rig) send(t testing.TB, text string) {
	require.Empty(t, r.Queue(queueTransmit).Do([]byte(text), 0))
}
