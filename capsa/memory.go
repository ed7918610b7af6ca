package capsa

import "github.com/libcapsa/libcapsa/internal/vm"

// SetBalloon sets how memory that the guest does without goes back to the host. The
// zero BalloonConfig, which a new builder has, is everything there is.
func (b *Builder) SetBalloon(cfg BalloonConfig) error {
	return b.set("set balloon", func(*vm.Problems) {}, func(c *vm.Config) { c.Balloon = cfg })
}

// SetMemoryTarget asks the guest to make do with that many bytes of its memory; 0, or
// all of it, ends that. It returns at once: Stats().Balloon has the target and how far
// the guest is, and Stats().Resident what the machine takes of the host.
//
// It can be called at any time before the end. A guest whose driver is not up yet is
// asked when it is; one without a driver (Stats().Balloon.Driver is false) never does
// anything. A target that the guest cannot reach makes it use all it has, and try again
// five times a second; under DeflateOnOOM it takes memory back rather than kill a
// program.
//
// Errors: KindInvalidArg (more than the machine has), KindUnsupported (it has no
// balloon), KindState (it has ended).
func (v *VM) SetMemoryTarget(bytes uint64) error {
	const op = "set memory target"
	if s := v.State(); s.Final() {
		return vm.Errorf(vm.KindState, op, "the machine is %s", s)
	}
	err := v.machine.SetMemoryTarget(bytes)
	if ending(err) { // between the two
		err = vm.Errorf(vm.KindState, op, "the machine has ended")
	}
	return vm.Wrap(op, err)
}
