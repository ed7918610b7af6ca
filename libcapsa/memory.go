package main

/*
#include "priv.h"
*/
import "C"

import "github.com/libcapsa/libcapsa/capsa"

//export goBuilderSetBalloon
func goBuilderSetBalloon(h C.uintptr_t, flags C.uint32_t, c *C.priv_call) C.capsa_status {
	return builder(h, c, "builder.set_balloon", func(b *capsa.Builder) error {
		const known = C.CAPSA_BALLOON_OFF | C.CAPSA_BALLOON_NO_REPORTING | C.CAPSA_BALLOON_NO_DEFLATE_ON_OOM
		if flags&^known != 0 {
			return errorf(capsa.KindInvalidArg, "builder.set_balloon", "flags %#x are not known", uint32(flags&^known))
		}
		return b.SetBalloon(capsa.BalloonConfig{
			Off:            flags&C.CAPSA_BALLOON_OFF != 0,
			NoReporting:    flags&C.CAPSA_BALLOON_NO_REPORTING != 0,
			NoDeflateOnOOM: flags&C.CAPSA_BALLOON_NO_DEFLATE_ON_OOM != 0,
		})
	})
}

//export goVMSetMemoryTarget
func goVMSetMemoryTarget(h C.uintptr_t, bytes C.uint64_t, c *C.priv_call) C.capsa_status {
	return onVM(h, c, "vm.set_memory_target", func(m *machine) error { return m.SetMemoryTarget(uint64(bytes)) })
}

// What capsa_stats says of the balloon.
const (
	noDriver   = 0
	driverUp   = 1
	reportsToo = 2
)

// storeMemory encodes what is known of a machine's memory.
func storeMemory(out *C.capsa_stats, stats *capsa.Stats) {
	out.resident_bytes = C.uint64_t(stats.Resident)
	b := stats.Balloon
	if b == nil { // nothing can be asked of it
		out.target_bytes, out.current_bytes = C.uint64_t(stats.Memory), C.uint64_t(stats.Memory)
		return
	}
	switch {
	case b.Driver && b.Reporting:
		out.balloon = reportsToo
	case b.Driver:
		out.balloon = driverUp
	default:
		out.balloon = noDriver
	}
	out.target_bytes = C.uint64_t(b.Target)
	out.current_bytes = C.uint64_t(b.Current)
	out.inflated_bytes = C.uint64_t(b.Inflated)
	out.deflated_bytes = C.uint64_t(b.Deflated)
	out.reported_bytes = C.uint64_t(b.Reported)
	if g := b.Guest; g != nil {
		out.guest_free_bytes = C.uint64_t(g.Free)
		out.guest_available_bytes = C.uint64_t(g.Available)
		out.guest_said_ns = C.uint64_t(max(1, g.Age))
	}
}
