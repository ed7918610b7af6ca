//go:build linux

package kvm

import (
	"time"

	"github.com/libcapsa/libcapsa/internal/kvm/layout"
	"github.com/libcapsa/libcapsa/internal/virtio"
	"github.com/libcapsa/libcapsa/internal/virtio/balloon"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// balloonSpecs is the balloon as a device, if the machine has one.
func balloonSpecs(cfg vm.Config) []deviceSpec {
	if cfg.Balloon.Off {
		return nil
	}
	return []deviceSpec{{place: layout.Balloon, build: (*machine).buildBalloon}}
}

func (m *machine) buildBalloon() (virtio.Device, error) {
	m.balloon = balloon.New(balloon.Config{
		Memory: m.mem, Reporting: !m.cfg.Balloon.NoReporting, DeflateOnOOM: !m.cfg.Balloon.NoDeflateOnOOM,
	})
	return m.balloon, nil
}

// SetMemoryTarget implements vm.Machine.
func (m *machine) SetMemoryTarget(target uint64) error {
	const op = "set memory target"
	m.targetMu.Lock()
	defer m.targetMu.Unlock()
	m.mu.Lock()
	closed, ended := m.closed, m.ending != nil
	m.mu.Unlock()
	switch {
	case closed:
		return closedError(op)
	case ended:
		return vm.Errorf(vm.KindState, op, "the machine has ended").WithComponent(component)
	}
	if err := m.cfg.CheckMemoryTarget(op, target); err != nil {
		return err
	}
	if target == 0 {
		target = m.cfg.Memory
	}
	// A balloon takes single pages out of huge ones, and khugepaged would fill
	// the holes to make the pages huge again. Free page reports have no part in
	// that: they are of huge pages, whole.
	m.mem.AdviseHuge(target == m.cfg.Memory)
	m.balloon.SetSize(m.cfg.Memory - target)
	return nil
}

// balloonStats also asks the guest for fresh ones.
func (m *machine) balloonStats() *vm.BalloonStats {
	if m.balloon == nil {
		return nil
	}
	s := m.balloon.Stats()
	m.balloon.Refresh()
	out := &vm.BalloonStats{
		Driver: s.Driver, Reporting: s.Reporting,
		Target:   m.cfg.Memory - s.Target,
		Current:  m.cfg.Memory - min(s.Actual, m.cfg.Memory),
		Inflated: s.Inflated, Deflated: s.Deflated, Reported: s.Reported,
	}
	if !s.GuestAt.IsZero() {
		g := s.Guest
		out.Guest = &vm.GuestMemory{
			Age:   time.Since(s.GuestAt),
			Total: g.Total, Free: g.Free, Available: g.Available, Caches: g.Caches,
			SwapIn: g.SwapIn, SwapOut: g.SwapOut, MajorFaults: g.MajorFaults, MinorFaults: g.MinorFaults,
			OOMKills: g.OOMKills,
		}
	}
	return out
}
