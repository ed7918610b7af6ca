package vm

import (
	"fmt"
	"time"
)

// Cause says why a virtual machine ended. The values are the C ABI's.
type Cause int32

// The causes.
const (
	CauseGuestShutdown Cause = 1  // the guest powered itself off
	CauseMainExited    Cause = 2  // the program the machine was made for ended; see Exit.Code
	CauseReboot        Cause = 3  // the guest asked for a reboot; machines here do not reboot
	CausePanic         Cause = 4  // the guest's kernel panicked; see Exit.PanicText
	CauseOutOfMemory   Cause = 5  // the guest's kernel panicked for want of memory
	CauseStopped       Cause = 6  // the guest shut down because Stop asked it to
	CauseKilled        Cause = 7  // Kill or Close ended it
	CauseTimedOut      Cause = 8  // Config.Timeout ran out
	CauseVMMCrash      Cause = 9  // the machine itself failed; see Exit.Err
	CauseBootFailed    Cause = 10 // the guest never came up; see Exit.Err
	CauseTripleFault   Cause = 11 // a guest CPU triple-faulted: the guest crashed with no word
)

var causeNames = [...]string{
	CauseGuestShutdown: "guest shutdown", CauseMainExited: "main program exited", CauseReboot: "guest reboot",
	CausePanic: "guest panic", CauseOutOfMemory: "guest out of memory", CauseStopped: "stopped",
	CauseKilled: "killed", CauseTimedOut: "timed out", CauseVMMCrash: "machine failure",
	CauseBootFailed: "boot failed", CauseTripleFault: "triple fault",
}

// Known says whether c is one of the causes.
func (c Cause) Known() bool { return c > 0 && int(c) < len(causeNames) }

// Failure says whether the machine failed, as opposed to the guest or its user
// ending it: then the state is Failed and Exit.Err is set.
func (c Cause) Failure() bool { return c == CauseVMMCrash || c == CauseBootFailed }

// String is the cause in words: "guest panic".
func (c Cause) String() string {
	if c.Known() {
		return causeNames[c]
	}
	return fmt.Sprintf("cause %d", int32(c))
}

// Exit is the record of how a virtual machine ended. It is written once.
type Exit struct {
	Cause     Cause
	Code      int32         // exit status of the main program, for CauseMainExited
	Signal    int32         // signal that ended the main program, or 0
	PanicText string        // the guest kernel's own words, for CausePanic, CauseOutOfMemory and CauseBootFailed
	Detail    string        // more for a person: registers, the KVM exit reason
	Uptime    time.Duration // from Start to the end; 0 if never started
	Err       error         // an *Error when Cause.Failure(), else nil
}

// State is the final state that belongs to the record.
func (e Exit) State() State {
	if e.Cause.Failure() {
		return StateFailed
	}
	return StateStopped
}

// String is the record in one line.
func (e Exit) String() string {
	s := e.Cause.String()
	switch {
	case e.Cause == CauseMainExited && e.Signal != 0:
		s += fmt.Sprintf(" by signal %d", e.Signal)
	case e.Cause == CauseMainExited:
		s += fmt.Sprintf(" with status %d", e.Code)
	}
	switch {
	case e.PanicText != "":
		s += ": " + e.PanicText
	case e.Err != nil:
		s += ": " + e.Err.Error()
	case e.Detail != "":
		s += ": " + e.Detail
	}
	return s
}
