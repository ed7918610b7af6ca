//go:build linux

package kvm

import (
	"sync/atomic"
	"time"

	"github.com/libcapsa/libcapsa/internal/kvm/kvmsys"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// moment is when something happened first, as nanoseconds since the machine
// was born; 0: not yet.
type moment struct{ ns atomic.Int64 }

// mark sets the moment to now, once.
func (t *moment) mark(born time.Time) {
	if t.ns.Load() == 0 {
		t.ns.CompareAndSwap(0, max(1, int64(time.Since(born))))
	}
}

func (t *moment) get() time.Duration { return time.Duration(t.ns.Load()) }

// timeline has a machine's moments.
type timeline struct {
	created, started, firstInstruction, firstExit, driversUp, consoleOpen, ended moment
}

// Stats implements vm.Machine.
func (m *machine) Stats() vm.Stats {
	return vm.Stats{
		Exits:   m.exitStats(),
		Devices: m.deviceStats(),
		Timeline: vm.Timeline{
			Created:          m.timeline.created.get(),
			Started:          m.timeline.started.get(),
			FirstInstruction: m.timeline.firstInstruction.get(),
			FirstExit:        m.timeline.firstExit.get(),
			DriversUp:        m.timeline.driversUp.get(),
			ConsoleOpen:      m.timeline.consoleOpen.get(),
			Ended:            m.timeline.ended.get(),
		},
		Memory:   m.cfg.Memory,
		Resident: m.mem.Resident(),
		CPUs:     m.cfg.CPUs,
		Balloon:  m.balloonStats(),
	}
}

// exitStats sums the exits of all vCPUs by reason.
func (m *machine) exitStats() map[string]uint64 {
	sums := make(map[string]uint64)
	for _, c := range m.vcpus {
		for r := range c.exits {
			n := c.exits[r].Load()
			switch {
			case n == 0:
			case r == kvmsys.ExitReasonCount:
				sums["other"] += n
			default:
				sums[kvmsys.ExitReason(r).String()] += n
			}
		}
	}
	return sums
}

// deviceStats has the devices of both buses in the order of their addresses,
// ports first. Accesses of devices without queues count as requests.
func (m *machine) deviceStats() []vm.DeviceStats {
	var all []vm.DeviceStats
	for _, w := range m.ports.windows {
		all = append(all, vm.DeviceStats{Name: w.name, Requests: w.reads.Load() + w.writes.Load()})
	}
	for _, w := range m.mmio.windows {
		if d, ok := w.dev.(*device); ok {
			all = append(all, d.stats())
		}
	}
	return all
}
