package vz

import (
	"encoding/json"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/libcapsa/libcapsa/internal/net/gateway"
	"github.com/libcapsa/libcapsa/internal/net/link"
	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/sockpair"
	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vz/plan"
)

const (
	// frameRoom is room for a frame of MTU 1500, with a VLAN's tag, in bytes. A datagram
	// that fills it was longer.
	frameRoom = 2048
	// frameBatch is how many frames are read before they are handed on.
	frameBatch = 32

	// Sizes of the sockets' buffers, in bytes, as lima and vfkit have them.
	netSendBuffer    = 1 << 20
	netReceiveBuffer = 4 << 20

	// crowded is how long a socket without room is left alone where the system cannot
	// tell when there is room again (ENOBUFS of Darwin).
	crowded = 100 * time.Microsecond
)

// nic joins the framework's network device, which is at the other end of a datagram
// socket, to a network. It implements link.Guest: the device's driver takes no
// offloads.
type nic struct {
	file   *os.File
	raw    syscall.RawConn
	behind link.Host
	report func(error) // of a bug

	up   atomic.Bool
	full chan error    // one token: why there was no room
	quit chan struct{} // closed: no more
	wg   sync.WaitGroup

	framesIn, bytesIn, droppedIn    atomic.Uint64 // of the guest
	framesOut, bytesOut, droppedOut atomic.Uint64 // to it
	network                         *gateway.Gateway
}

var _ link.Guest = (*nic)(nil)

// makeNetwork makes the machine's own network, if it has one.
func (m *machine) makeNetwork(ends *Ends) error {
	cfg := m.cfg.Network
	if cfg.Mode != vm.NetworkUser {
		return nil
	}
	ours, theirs, err := sockpair.Datagrams(netSendBuffer, netReceiveBuffer)
	if err != nil {
		return err
	}
	ends.Network = os.NewFile(uintptr(theirs), "vz network end")
	n, err := newNIC(os.NewFile(uintptr(ours), "vz network"), m.crashed)
	if err != nil {
		return err
	}
	m.undo = append(m.undo, n.close)
	g, err := gateway.New(gateway.Config{Network: cfg, MAC: m.mac(), Event: m.host.Event})
	if err != nil {
		return err
	}
	m.undo = m.undo[:len(m.undo)-1] // the device goes before the network
	m.undo = append(m.undo, func() {
		n.close()
		if err := g.Close(); err != nil {
			m.logf("network: %v", err)
		}
	})
	n.network = g
	n.up.Store(!cfg.LinkDown)
	n.attach(g)
	m.nic = n
	return nil
}

// mac is the address of the plan's network device.
func (m *machine) mac() (mac [6]byte) {
	for _, d := range m.plan.Devices {
		if n, ok := d.(plan.NIC); ok {
			copy(mac[:], n.MAC)
		}
	}
	return mac
}

// newNIC takes over the socket, also when it fails.
func newNIC(file *os.File, report func(error)) (*nic, error) {
	raw, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return &nic{file: file, raw: raw, report: report, full: make(chan error, 1), quit: make(chan struct{})}, nil
}

// attach begins to carry frames.
func (n *nic) attach(behind link.Host) {
	n.behind = behind
	behind.Attach(n, link.Offloads{})
	n.goes("vz network frames", n.takeFrames)
	n.goes("vz network room", n.awaitRoom)
}

func (n *nic) goes(name string, fn func()) {
	n.wg.Add(1)
	safe.Go(name, n.report, func() {
		defer n.wg.Done()
		fn()
	})
}

// close detaches the network and closes the socket.
func (n *nic) close() {
	close(n.quit)
	_ = n.file.Close() // wakes those who wait for it
	n.wg.Wait()
	if n.behind != nil {
		n.behind.Detach()
	}
}

// batch are frames of the guest while they are handed on.
type batch struct {
	room   [frameBatch][frameRoom]byte
	frames [frameBatch]link.Frame
	data   [frameBatch][1][]byte
	n      int
}

// takeFrames hands on what the guest sends, until the end.
func (n *nic) takeFrames() {
	b := new(batch)
	for {
		if err := n.raw.Read(func(fd uintptr) bool { return n.fill(b, int(fd)) }); err != nil {
			return
		}
		if b.n > 0 && n.up.Load() {
			n.behind.Send(b.frames[:b.n])
		} else {
			n.droppedIn.Add(uint64(b.n))
		}
		b.n = 0
	}
}

// fill reads frames without waiting and says whether there were any.
func (n *nic) fill(b *batch, fd int) bool {
	seen := false
	for b.n < frameBatch {
		size, _, err := unix.Recvfrom(fd, b.room[b.n][:], unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			break // none is left; the end is told by close
		}
		seen = true
		if size == frameRoom || size == 0 {
			n.droppedIn.Add(1)
			continue
		}
		n.framesIn.Add(1)
		n.bytesIn.Add(uint64(size))
		b.data[b.n][0] = b.room[b.n][:size]
		b.frames[b.n] = link.Frame{Data: b.data[b.n][:]}
		b.n++
	}
	return seen
}

// Receive implements link.Guest.
func (n *nic) Receive(frames []link.Frame) int {
	if !n.up.Load() {
		n.droppedOut.Add(uint64(len(frames)))
		return len(frames)
	}
	taken := 0
	_ = n.raw.Control(func(fd uintptr) { // after close it is not called: nothing is taken
		for ; taken < len(frames); taken++ {
			if err := n.write(int(fd), &frames[taken]); err != nil {
				select {
				case n.full <- err:
				default:
				}
				return
			}
		}
	})
	return taken
}

// write sends one frame. The error says that there is no room; a frame that cannot be
// sent at all is dropped.
func (n *nic) write(fd int, f *link.Frame) error {
	for {
		size, err := unix.SendmsgBuffers(fd, f.Data, nil, nil, sockpair.SendFlags)
		switch {
		case err == nil:
			n.framesOut.Add(1)
			n.bytesOut.Add(uint64(size))
			return nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOBUFS):
			return err
		default:
			n.droppedOut.Add(1)
			return nil
		}
	}
}

// awaitRoom tells the network when there is room again, until the end.
func (n *nic) awaitRoom() {
	for {
		var why error
		select {
		case why = <-n.full:
		case <-n.quit:
			return
		}
		if errors.Is(why, unix.ENOBUFS) {
			timer := time.NewTimer(crowded)
			select {
			case <-timer.C:
			case <-n.quit:
				timer.Stop()
				return
			}
		} else if n.raw.Write(writable) != nil {
			return
		}
		n.behind.Room()
	}
}

// writable says whether a socket has room.
func writable(fd uintptr) bool {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	n, err := unix.Poll(poll, 0)
	return err != nil || n > 0
}

// virtioNet is the type of a network device (virtio 1.2 section 5.1).
const virtioNet = 1

func (n *nic) stats() vm.DeviceStats {
	s := n.network.Stats()
	s.Link = n.up.Load()
	s.FramesIn, s.FramesOut = n.framesIn.Load(), n.framesOut.Load()
	s.DroppedIn = n.droppedIn.Load()
	s.DroppedOut += n.droppedOut.Load()
	return vm.DeviceStats{
		Name: "network", VirtioID: virtioNet, Requests: s.FramesIn + s.FramesOut,
		BytesIn: n.bytesIn.Load(), BytesOut: n.bytesOut.Load(), Net: &s,
	}
}

// networked is the error of a call for the network that is not possible now, or nil.
func (m *machine) networked(op string) error {
	if err := m.late(op); err != nil {
		return err
	}
	return m.cfg.CheckNetwork(op)
}

// AddForward implements vm.Networked.
func (m *machine) AddForward(f vm.Forward) (vm.Forward, error) {
	if err := m.networked("add forward"); err != nil {
		return vm.Forward{}, err
	}
	return m.nic.network.AddForward(f)
}

// RemoveForward implements vm.Networked.
func (m *machine) RemoveForward(id uint32) error {
	if err := m.networked("remove forward"); err != nil {
		return err
	}
	return m.nic.network.RemoveForward(id)
}

// Forwards implements vm.Networked.
func (m *machine) Forwards() ([]vm.Forward, error) {
	if err := m.networked("forwards"); err != nil {
		return nil, err
	}
	return m.nic.network.Forwards(), nil
}

// SetPolicy implements vm.Networked.
func (m *machine) SetPolicy(policy json.RawMessage) error {
	if err := m.networked("set policy"); err != nil {
		return err
	}
	return m.nic.network.SetPolicy(policy)
}

// SetLink implements vm.Networked. The framework cannot show the guest a cable that is
// pulled out: frames are lost, as behind a switch whose own cable is.
func (m *machine) SetLink(up bool) error {
	if err := m.networked("set link"); err != nil {
		return err
	}
	m.nic.up.Store(up)
	return nil
}

// SetLimits implements vm.Networked.
func (m *machine) SetLimits(vm.NetworkLimits) error {
	return m.lacks("set limits", vm.FeatureNetworkLimit)
}

// SetCapture implements vm.Networked.
func (m *machine) SetCapture(vm.Capture) error {
	return m.lacks("set capture", vm.FeatureNetworkCapture)
}

// SetCable implements vm.Networked.
func (m *machine) SetCable(int) error { return m.lacks("set cable", vm.FeatureNetworkFD) }

// lacks is the error of a call for the network that this backend has not.
func (m *machine) lacks(op string, f vm.Feature) error {
	if err := m.networked(op); err != nil {
		return err
	}
	return m.caps.Refuse(f, op, component)
}
