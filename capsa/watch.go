package capsa

import (
	"errors"
	"strings"
	"time"

	"github.com/libcapsa/libcapsa/internal/safe"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// watch is the machine's one goroutine here: it sees to the timeout, and to
// everything that is to be done when the machine has ended by itself.
func (v *VM) watch() {
	defer v.wg.Done()
	var timeout <-chan time.Time
	if v.timer != nil {
		timeout = v.timer.C
		defer v.timer.Stop()
	}
	select {
	case <-v.machine.Done():
	case <-timeout:
		v.move(vm.StateStopping)
		if err := v.machine.Kill(vm.CauseTimedOut); err != nil {
			v.log("kill after the timeout: " + err.Error())
		}
		<-v.machine.Done()
	}
	v.bury()
}

// bury closes the machine, which has ended, and makes the final record, unless
// somebody else did. Closing it ends its devices, so that the last output is here
// before anyone is told of the end, and gives its memory back.
func (v *VM) bury() {
	err := safe.Run("machine end", func() {
		if err := v.machine.Close(); err != nil {
			v.log("close: " + err.Error())
		}
		v.leaveNetwork()
		v.settle(v.machine.Exit())
	})
	if err != nil {
		v.watcherFailed(err)
	}
}

// watcherFailed keeps a fault of watch from hanging everyone who waits.
func (v *VM) watcherFailed(err error) {
	v.settle(vm.Exit{Cause: vm.CauseVMMCrash, Err: vm.Errorf(vm.KindInternal, "watch", "%w", err)})
}

func (v *VM) log(text string) {
	v.events.push(vm.Event{Type: vm.EventLog, Component: "machine", Message: text})
}

// settle makes the final record of the machine's and tells everyone, once.
func (v *VM) settle(exit vm.Exit) {
	v.settled.Do(func() {
		exit = v.judge(exit)
		v.exit = exit
		v.move(exit.State())
		v.events.push(vm.Event{Type: vm.EventExited, Exit: &exit})
		v.events.end()
		v.input.Close()
		v.console.c.End()
		close(v.done) // publishes exit
		v.endLife()
		v.closeAgent()
		v.exitFDs.finish()
	})
}

// judge adds to the machine's record what only the whole picture tells.
func (v *VM) judge(exit vm.Exit) vm.Exit {
	v.mu.Lock()
	asked, detail, fault := v.asked, v.detail, v.fault
	main, mainFault := v.main, v.mainFault
	v.mu.Unlock()

	if !exit.Cause.Known() {
		exit.Cause = vm.CauseVMMCrash
	}
	if exit.PanicText == "" {
		exit.PanicText = v.panicText(exit.Cause)
	}
	switch exit.Cause {
	case vm.CauseReboot, vm.CauseTripleFault:
		if exit.PanicText != "" { // a kernel that reboots when it panics
			exit.Cause = vm.PanicCause(exit.PanicText)
		} else if asked != StageNone && exit.Cause == vm.CauseReboot {
			exit.Cause = vm.CauseStopped
		}
	case vm.CauseGuestShutdown:
		switch {
		case main != nil:
			exit.Cause = vm.CauseMainExited
		case asked != StageNone:
			exit.Cause = vm.CauseStopped
		}
	case vm.CauseKilled:
		if exit.Detail == "" {
			exit.Detail = detail
		}
	case vm.CauseVMMCrash:
		if exit.Err == nil {
			exit.Err = fault
		}
	}
	if exit.Cause == vm.CauseMainExited && main != nil {
		exit.Code, exit.Signal = int32(main.Code), int32(main.Signal)
		if mainFault != nil {
			exit.Detail = "the main program did not run: " + mainFault.Error()
		}
	}
	if v.neverCameUp(exit) {
		exit.Cause = vm.CauseBootFailed
	}
	exit.Err = v.failure(exit)
	return exit
}

// panicText is what the guest's kernel said when it panicked, or "". A guest that
// powered itself off did not panic, whatever its programs have printed.
func (v *VM) panicText(cause vm.Cause) string {
	if cause == vm.CauseGuestShutdown || cause == vm.CauseMainExited {
		return ""
	}
	for _, s := range v.screens {
		if text := s.Panic(); text != "" {
			return text
		}
	}
	return ""
}

// rootless are the panics of a kernel that is fine but found nothing to run
// (Linux, init/do_mounts.c and init/main.c).
var rootless = []string{
	"VFS: Unable to mount root fs",
	"No working init found",
	"Requested init",
	"No init found",
}

// neverCameUp says whether the guest crashed before it was of use: it had not
// brought its console up, or had found nothing to run.
func (v *VM) neverCameUp(exit vm.Exit) bool {
	switch exit.Cause {
	case vm.CausePanic, vm.CauseOutOfMemory, vm.CauseTripleFault:
	default:
		return false
	}
	for _, text := range rootless {
		if strings.Contains(exit.PanicText, text) {
			return true
		}
	}
	return v.machine.Stats().Timeline.ConsoleOpen == 0
}

// failure is the typed error of a record whose machine failed, else nil.
func (v *VM) failure(exit vm.Exit) error {
	if !exit.Cause.Failure() {
		return nil
	}
	e := &vm.Error{Op: "run", Kind: vm.KindVMMDied, Component: "machine", Err: exit.Err}
	if given, ok := errors.AsType[*vm.Error](exit.Err); ok {
		*e = *given
	}
	if exit.Cause == vm.CauseBootFailed {
		e.Op, e.Kind, e.Component = "boot", vm.KindBoot, "boot"
		if e.Hint == "" {
			e.Hint = bootHint(exit.PanicText)
		}
	}
	if e.Err == nil {
		e.Err = errors.New(why(exit))
	}
	if e.ConsoleTail == nil {
		e.ConsoleTail = v.tail.Tail(vm.ConsoleTailSize)
	}
	return e
}

// why says in words how a machine failed that left no error.
func why(exit vm.Exit) string {
	switch {
	case exit.PanicText != "":
		return "the guest's kernel gave up: " + exit.PanicText
	case exit.Detail != "":
		return "the guest crashed before its console came up: " + exit.Detail
	case exit.Cause == vm.CauseBootFailed:
		return "the guest crashed before its console came up"
	}
	return "the machine failed"
}

// bootHint is what the person should do about a boot that failed.
func bootHint(panicText string) string {
	switch {
	case strings.Contains(panicText, rootless[0]):
		return "give an initrd, or a root= argument that names a disk for which the kernel has a driver"
	case strings.Contains(panicText, "init"):
		return "the root file system needs an executable /init (initrd) or /sbin/init; see the rdinit= and init= arguments"
	}
	return "the end of the console says more; is the kernel made for this machine, and does it have enough memory?"
}
