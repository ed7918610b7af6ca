package mmio

import "github.com/libcapsa/libcapsa/internal/virtio"

// The steps of a driver's initialisation, virtio 1.2 section 3.1.1.
const (
	stepAcknowledged = virtio.StatusAcknowledge
	stepDriver       = stepAcknowledged | virtio.StatusDriver
	stepFeatures     = stepDriver | virtio.StatusFeaturesOK
	stepRunning      = stepFeatures | virtio.StatusDriverOK
)

// transitions are all the steps a driver may take, besides a reset (writing 0)
// and giving up (setting FAILED), which it may do at any time. enter decides
// whether the step is taken; nil takes it.
var transitions = []struct {
	from, to virtio.Status
	enter    func(*Transport) bool
}{
	{from: 0, to: stepAcknowledged},
	{from: stepAcknowledged, to: stepDriver},
	{from: stepDriver, to: stepFeatures, enter: (*Transport).acceptFeatures},
	{from: stepFeatures, to: stepRunning, enter: (*Transport).driverOK},
}

// writeStatus takes a driver's step through the status field. A step that is
// not in the table is ignored: bits cannot be cleared but by a reset (virtio
// 1.2 section 2.1.1), nor set out of order. Preconditions: mu is held.
func (t *Transport) writeStatus(to virtio.Status) {
	if to == 0 {
		t.reset()
		return
	}
	// NEEDS_RESET is the device's to set; drivers write back what they read.
	to &^= virtio.StatusNeedsReset
	from := t.status
	if to == from {
		return
	}
	if to == from|virtio.StatusFailed {
		t.status = to
		t.line.log.printf("the driver gave up on the device (status %#x)", uint32(from))
		return
	}
	for _, step := range transitions {
		if step.from == from && step.to == to {
			if step.enter == nil || step.enter(t) {
				t.status = to
			}
			return
		}
	}
	t.line.log.printf("ignored status %#x after %#x", uint32(to), uint32(from))
}

// writeDriverFeatures stores half of the features a driver asks for. Only the
// time between DRIVER and FEATURES_OK is for that (virtio 1.2 section 3.1.1).
// Preconditions: mu is held.
func (t *Transport) writeDriverFeatures(v uint32) {
	if t.status != stepDriver {
		t.line.log.printf("ignored driver features at status %#x", uint32(t.status))
		return
	}
	switch t.driverFeaturesSel {
	case 0:
		t.driverFeatures = t.driverFeatures&^0xffff_ffff | uint64(v)
	case 1:
		t.driverFeatures = t.driverFeatures&0xffff_ffff | uint64(v)<<32
	default:
		t.driverBeyond = t.driverBeyond || v != 0
	}
}

// acceptFeatures decides on FEATURES_OK: the driver reads the bit back to
// learn (virtio 1.2 section 3.1.1 step 6). A driver must accept VERSION_1
// (section 6.1), nothing that was not offered (section 2.2.1), and what belongs
// together.
func (t *Transport) acceptFeatures() bool {
	switch {
	case t.driverBeyond || t.driverFeatures&^t.offered != 0:
		t.line.log.printf("driver features %#x are not among %#x", t.driverFeatures, t.offered)
		return false
	case t.driverFeatures&virtio.FeatureVersion1 == 0:
		t.line.log.printf("driver does not accept VERSION_1")
		return false
	}
	if dev, ok := t.dev.(virtio.Negotiating); ok {
		if err := dev.AcceptFeatures(t.driverFeatures); err != nil {
			t.line.log.printf("driver features %#x: %v", t.driverFeatures, err)
			return false
		}
	}
	return true
}

// driverOK brings the device to life. The bit is set even if that fails: the
// driver then reads NEEDS_RESET beside it, as after a fault that comes later.
func (t *Transport) driverOK() bool {
	if err := t.activate(); err != nil {
		t.line.current().Fail(err)
	}
	return true
}

// reset brings the transport and its device back to how they were made.
// Preconditions: mu is held. Postconditions: no worker of the device runs, and
// no signal of one arrives any more.
func (t *Transport) reset() {
	if t.status != 0 {
		t.counters.AddReset()
	}
	t.deactivate()
	t.status = 0
	t.deviceFeaturesSel, t.driverFeaturesSel = 0, 0
	t.driverFeatures, t.driverBeyond = 0, false
	t.queueSel, t.shmSel = 0, 0
	clear(t.queues)
}
