package vm

import (
	"fmt"
	"time"
)

// EventType says what an Event is about. The values are the C ABI's.
type EventType int32

// The event types.
const (
	EventState       EventType = 1  // the state changed; Event.State
	EventReady       EventType = 2  // the guest is ready for work
	EventExited      EventType = 3  // the machine ended; Event.Exit; the last event of a machine
	EventExecExited  EventType = 4  // a program run in the guest ended
	EventConsoleData EventType = 5  // there is new console output; at most one such event is queued
	EventPortBound   EventType = 6  // a forwarded port listens; Event.Forward, Event.Message
	EventPolicyDeny  EventType = 7  // the network policy refused a flow or a name; Event.Message
	EventOOM         EventType = 8  // the guest's kernel killed a process for want of memory; Event.Message
	EventLog         EventType = 9  // something a person may want to know; Event.Message
	EventLost        EventType = 10 // Event.Lost events were dropped because nobody fetched them
	EventDiskError   EventType = 11 // the host could not serve a request of disk Event.Disk; Event.Message
	EventCrashKernel EventType = 12 // the guest's kernel panicked and starts its crash kernel; Event.Message
	EventLink        EventType = 13 // the network's other end came or went; Event.Up, Event.Message
)

var eventNames = [...]string{
	EventState: "state", EventReady: "ready", EventExited: "exited", EventExecExited: "exec exited",
	EventConsoleData: "console data", EventPortBound: "port bound", EventPolicyDeny: "policy deny",
	EventOOM: "out of memory", EventLog: "log", EventLost: "events lost",
	EventDiskError: "disk error", EventCrashKernel: "crash kernel", EventLink: "link",
}

// String is the type in words: "console data".
func (t EventType) String() string {
	if t > 0 && int(t) < len(eventNames) {
		return eventNames[t]
	}
	return fmt.Sprintf("event %d", int32(t))
}

// Event is something that happened to a virtual machine. Fields that the type
// does not name are zero.
type Event struct {
	Type      EventType
	Time      time.Time // when, by the host's clock; filled in by the receiver if zero
	State     State     // EventState
	Exit      *Exit     // EventExited; not to be written to
	Component string    // EventLog, EventDiskError, EventPolicyDeny: the part that speaks
	Message   string    // EventOOM, EventLog, EventPortBound, EventPolicyDeny, EventDiskError, EventCrashKernel, EventLink
	Disk      int       // EventDiskError: index into Config.Disks
	Forward   *Forward  // EventPortBound; not to be written to
	Lost      uint64    // EventLost: how many
	Up        bool      // EventLink: it came
}
