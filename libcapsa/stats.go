package main

/*
#include "priv.h"
*/
import "C"

import "github.com/libcapsa/libcapsa/capsa"

//export goVMStatsJSON
func goVMStatsJSON(h C.uintptr_t, out **C.char, c *C.priv_call) C.capsa_status {
	return onVM(h, c, "vm.stats_json", func(m *machine) error { return giveJSON(out, m.Stats()) })
}

//export goVMStats
func goVMStats(h C.uintptr_t, out *C.capsa_stats, c *C.priv_call) C.capsa_status {
	return onVM(h, c, "vm.stats", func(m *machine) error {
		stats := m.Stats()
		out.state = C.uint32_t(m.State())
		out.cpus = C.uint32_t(stats.CPUs)
		out.devices = C.uint32_t(len(stats.Devices))
		out.memory_bytes = C.uint64_t(stats.Memory)
		storeMemory(out, &stats)
		storeExits(out, stats.Exits)
		out.oom_kills = C.uint64_t(stats.OOMKills)
		out.events_lost = C.uint64_t(m.EventsLost())
		line := stats.Timeline
		out.created_ns = C.uint64_t(line.Created)
		out.started_ns = C.uint64_t(line.Started)
		out.first_instruction_ns = C.uint64_t(line.FirstInstruction)
		out.first_exit_ns = C.uint64_t(line.FirstExit)
		out.drivers_up_ns = C.uint64_t(line.DriversUp)
		out.console_open_ns = C.uint64_t(line.ConsoleOpen)
		out.ended_ns = C.uint64_t(line.Ended)
		return nil
	})
}

// storeExits encodes the exits by reason.
func storeExits(out *C.capsa_stats, exits map[string]uint64) {
	for reason, n := range exits {
		out.exits += C.uint64_t(n)
		switch reason {
		case "io":
			out.exits_io += C.uint64_t(n)
		case "mmio":
			out.exits_mmio += C.uint64_t(n)
		default:
			out.exits_other += C.uint64_t(n)
		}
	}
}

//export goVMDeviceStats
func goVMDeviceStats(h C.uintptr_t, index C.uint32_t, out *C.capsa_device_stats, c *C.priv_call) C.capsa_status {
	return onVM(h, c, "vm.device_stats", func(m *machine) error {
		devices := m.Stats().Devices
		if uint64(index) >= uint64(len(devices)) {
			return errorf(capsa.KindNotFound, "vm.device_stats", "device %d of a machine that has %d", uint32(index), len(devices))
		}
		storeDevice(out, &devices[index])
		return nil
	})
}

func storeDevice(out *C.capsa_device_stats, d *capsa.DeviceStats) {
	for i := range min(len(d.Name), len(out.name)-1) {
		out.name[i] = C.char(d.Name[i])
	}
	out.virtio_id = C.uint32_t(d.VirtioID)
	out.kicks = C.uint64_t(d.Kicks)
	out.interrupts = C.uint64_t(d.Interrupts)
	out.requests = C.uint64_t(d.Requests)
	out.bytes_in = C.uint64_t(d.BytesIn)
	out.bytes_out = C.uint64_t(d.BytesOut)
	out.errors = C.uint64_t(d.Errors)
	out.faults = C.uint64_t(d.Faults)
	out.resets = C.uint64_t(d.Resets)
	if d.Disk == nil {
		return
	}
	out.reads = C.uint64_t(d.Disk.Reads)
	out.writes = C.uint64_t(d.Disk.Writes)
	out.flushes = C.uint64_t(d.Disk.Flushes)
	out.discards = C.uint64_t(d.Disk.Discards)
	out.write_zeroes = C.uint64_t(d.Disk.WriteZeroes)
	out.refused = C.uint64_t(d.Disk.Refused)
	out.stalls = C.uint64_t(d.Disk.Stalls)
	out.throttled = C.uint64_t(d.Disk.Throttled)
}

//export goVMMetrics
func goVMMetrics(h C.uintptr_t, out **C.char, c *C.priv_call) C.capsa_status {
	return onVM(h, c, "vm.metrics", func(m *machine) error { return newText(out, m.Metrics()) })
}

//export goMetrics
func goMetrics(out **C.char, c *C.priv_call) C.capsa_status {
	return guard(c, "metrics", func() error { return newText(out, capsa.Metrics()) })
}
