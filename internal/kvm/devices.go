//go:build linux

package kvm

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/console"
	"github.com/libcapsa/libcapsa/internal/virtio/mmio"
	"github.com/libcapsa/libcapsa/internal/virtio/rng"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// deviceSpec is a virtio device that a machine shall have.
type deviceSpec struct {
	place layout.Device
	// build makes the device. What it needs of the host it opens itself, and
	// the device's Close releases it.
	build func(m *machine) (virtio.Device, error)
	// in is the payload from guest to host so far, in bytes; nil for devices
	// that only give.
	in func(m *machine) uint64
	// fill adds counters that only this kind of device has; nil: there are none.
	fill func(m *machine, s *vm.DeviceStats)
}

// plan lists a machine's virtio devices in the order in which the guest finds
// them. This is the place to add one: its package makes it of cfg and host, its
// address and interrupt are in layout.
func plan(cfg vm.Config) []deviceSpec {
	specs := []deviceSpec{
		{place: layout.Console, build: (*machine).buildConsole, in: func(m *machine) uint64 { return m.consoleIn.n.Load() }},
		{place: layout.Entropy, build: func(*machine) (virtio.Device, error) { return rng.New(rng.Config{}), nil }},
	}
	specs = append(specs, netSpecs(cfg)...)
	specs = append(specs, vsockSpecs(cfg)...)
	specs = append(specs, shareSpecs(cfg)...)
	specs = append(specs, diskSpecs(cfg)...)
	return append(specs, balloonSpecs(cfg)...)
}

// device is a virtio device on the machine's bus.
type device struct {
	*mmio.Transport
	id    virtio.DeviceID
	place layout.Device
	slot  *transportSlot
	in    func() uint64 // payload from guest to host, bytes; nil: none
	fill  func(s *vm.DeviceStats)
}

// makeDevices puts the devices on their buses and connects their interrupts.
func (m *machine) makeDevices() error {
	for _, spec := range plan(m.cfg) {
		if err := m.addDevice(spec); err != nil {
			return stepError(fmt.Errorf("%s: %w", spec.place.Name, err))
		}
	}
	return stepError(m.addPlatform())
}

func (m *machine) addDevice(spec deviceSpec) error {
	line := &irqLine{vm: m.vm, gsi: spec.place.IRQ}
	m.undo.add(line.close)
	dev, err := spec.build(m)
	if err != nil {
		return err
	}
	slot := &transportSlot{
		vm: m.vm, place: spec.place, line: line, kicks: make(map[*queueKick]struct{}),
		activated: func() { m.timeline.driversUp.mark(m.born) },
	}
	name := spec.place.Name
	d := &device{
		Transport: mmio.New(dev, m.mem, slot, mmio.WithLog(func(text string) { m.log(name, text) })),
		id:        dev.ID(),
		place:     spec.place,
		slot:      slot,
	}
	if spec.in != nil {
		d.in = func() uint64 { return spec.in(m) }
	}
	if spec.fill != nil {
		d.fill = func(s *vm.DeviceStats) { spec.fill(m, s) }
	}
	m.undo.add(func() error { d.Close(); return nil })
	if err := m.mmio.add(name, spec.place.Addr(), layout.MMIODeviceSize, d); err != nil {
		return err
	}
	m.devices = append(m.devices, d)
	return nil
}

// stats are the device's counters.
func (d *device) stats() vm.DeviceStats {
	s := d.Stats()
	var in uint64
	if d.in != nil {
		in = min(d.in(), s.Bytes) // read later than s.Bytes was
	}
	out := vm.DeviceStats{
		Name: d.place.Name, VirtioID: uint32(d.id), Kicks: s.Kicks, Interrupts: s.Interrupts, Requests: s.Requests,
		BytesIn: in, BytesOut: s.Bytes - in, Errors: s.Errors, Faults: s.Faults, Resets: s.Resets,
	}
	if d.fill != nil {
		d.fill(&out)
	}
	return out
}

// buildConsole makes the console between the guest and the host's writer and
// pipe.
func (m *machine) buildConsole() (virtio.Device, error) {
	m.consoleIn.to = m.host.Console
	m.consoleScan = m.scanner(&m.consoleIn)
	cfg := console.Config{
		Output:      m.consoleScan,
		Cols:        m.cfg.Console.Cols,
		Rows:        m.cfg.Console.Rows,
		FirstOutput: func() { m.timeline.consoleOpen.mark(m.born) },
	}
	if m.host.Input != nil {
		cfg.Input = m.host.Input
	}
	m.console = console.New(cfg)
	return m.console, nil
}

// meter counts what is written on its way to a writer, which may be nil.
type meter struct {
	to io.Writer
	n  atomic.Uint64
}

// Write implements io.Writer.
func (w *meter) Write(p []byte) (int, error) {
	w.n.Add(uint64(len(p)))
	if w.to == nil {
		return len(p), nil
	}
	return w.to.Write(p)
}

// scanner listens for the kernel's last words on the way to a writer of the
// host, which may be nil.
func (m *machine) scanner(to io.Writer) *vm.PanicScanner {
	return vm.NewPanicScanner(to, m.panicSaid, nil)
}

// panicText is what the guest's kernel said when it panicked, or "".
func (m *machine) panicText() string {
	for _, s := range []*vm.PanicScanner{m.serialScan, m.consoleScan} {
		if s == nil {
			continue
		}
		if text := s.Panic(); text != "" {
			return text
		}
	}
	return ""
}

// drainTime bounds how long a machine's end waits for devices to finish what
// the guest handed over before. Devices in order need microseconds; only one
// whose host is stuck, or whose guest broke the rules, takes it all.
const drainTime = 250 * time.Millisecond

// drain lets the devices serve everything that is in their queues, so that a
// guest that prints and powers off is heard.
//
// Preconditions: no vCPU runs.
func (m *machine) drain() {
	var kicks []*queueKick
	for _, d := range m.devices {
		kicks = append(kicks, d.slot.last()...)
	}
	if len(kicks) == 0 {
		return // before a timer wakes the network poller's thread
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	targets := make([]uint64, len(kicks))
	for i, k := range kicks {
		targets[i] = k.poke()
	}
	for i, k := range kicks {
		k.served(ctx, targets[i])
	}
}
