package vm

import "time"

// BalloonConfig is the memory balloon: how memory that the guest does without goes
// back to the host. The zero value is everything there is.
type BalloonConfig struct {
	Off            bool // there is none: the host keeps all that the guest has ever touched
	NoReporting    bool // the guest gives back what it is asked for, and not by itself what is free
	NoDeflateOnOOM bool // the guest kills programs rather than take back what it was asked for
}

// CheckMemoryTarget is the error of a SetMemoryTarget that can never be, or nil.
func (c Config) CheckMemoryTarget(op string, target uint64) error {
	switch {
	case c.Balloon.Off:
		return Errorf(KindUnsupported, op, "the machine has no balloon").WithHint("build it with one")
	case target > c.Memory:
		return Errorf(KindInvalidArg, op, "%d bytes are more than the machine's %d", target, c.Memory)
	}
	return nil
}

// BalloonStats say how far the guest is with what SetMemoryTarget asked for, and what
// it has given back. All but Target is the guest's word. Sizes are bytes.
type BalloonStats struct {
	Driver    bool   `json:"driver"`    // the guest has a driver for the balloon, and it is up
	Reporting bool   `json:"reporting"` // which reports free memory
	Target    uint64 `json:"target"`    // memory that the guest shall make do with
	Current   uint64 `json:"current"`   // memory that it makes do with: on its way to Target
	Inflated  uint64 `json:"inflated"`  // given back because of a target, so far
	Deflated  uint64 `json:"deflated"`  // taken again, so far
	Reported  uint64 `json:"reported"`  // given back because it was free, so far

	Guest *GuestMemory `json:"guest,omitempty"` // nil: the guest has said nothing yet
}

// GuestMemory is what the guest's kernel says of its memory. What it does not say is 0.
// Sizes are bytes.
type GuestMemory struct {
	Age         time.Duration `json:"age_ns"`       // since it said so
	Total       uint64        `json:"total"`        // known to the kernel
	Free        uint64        `json:"free"`         // used for nothing
	Available   uint64        `json:"available"`    // programs could have without swapping
	Caches      uint64        `json:"caches"`       // of files; could be had back at once
	SwapIn      uint64        `json:"swap_in"`      // since boot, and so on
	SwapOut     uint64        `json:"swap_out"`     // as above
	MajorFaults uint64        `json:"major_faults"` // page faults that waited for a disk
	MinorFaults uint64        `json:"minor_faults"` // page faults that did not
	OOMKills    uint64        `json:"oom_kills"`    // programs killed for want of memory
}

// The JSON form of a BalloonConfig, in terms of what is there.
//
//	{"enabled": true, "reporting": true, "deflate_on_oom": true}
type balloonJSON struct {
	Enabled      *bool `json:"enabled,omitempty"`
	Reporting    *bool `json:"reporting,omitempty"`
	DeflateOnOOM *bool `json:"deflate_on_oom,omitempty"`
}

// encodeBalloon is nil for the default.
func encodeBalloon(b BalloonConfig) *balloonJSON {
	if b == (BalloonConfig{}) {
		return nil
	}
	enabled, reporting, deflate := !b.Off, !b.NoReporting, !b.NoDeflateOnOOM
	return &balloonJSON{Enabled: &enabled, Reporting: &reporting, DeflateOnOOM: &deflate}
}

// apply puts what is given into b.
func (j *balloonJSON) apply(b *BalloonConfig) {
	if j == nil {
		return
	}
	for _, f := range []struct {
		to   *bool
		from *bool
	}{{&b.Off, j.Enabled}, {&b.NoReporting, j.Reporting}, {&b.NoDeflateOnOOM, j.DeflateOnOOM}} {
		if f.from != nil {
			*f.to = !*f.from
		}
	}
}
