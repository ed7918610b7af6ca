package vm

import "fmt"

// State is where a virtual machine is in its life. The values are the C ABI's.
//
//	Created ──► Starting ──► Running ◄──► Paused
//	   │            │           │            │
//	   │            ├───────────┼────────────┤
//	   │            │           ▼            │
//	   │            ├─────► Stopping ◄───────┤
//	   │            ▼           ▼            ▼
//	   └───────► Stopped  or  Failed   (both final)
type State int32

// The states.
const (
	StateCreated  State = 0 // everything is allocated and loaded; nothing has run
	StateStarting State = 1 // Start is at work
	StateRunning  State = 2 // the guest runs
	StatePaused   State = 3 // no vCPU runs; resumable
	StateStopping State = 4 // the guest was asked to shut down, or is being killed
	StateStopped  State = 5 // the guest has ended; the exit record says how
	StateFailed   State = 6 // the machine itself failed; the exit record says why
)

var stateNames = [...]string{
	StateCreated: "created", StateStarting: "starting", StateRunning: "running", StatePaused: "paused",
	StateStopping: "stopping", StateStopped: "stopped", StateFailed: "failed",
}

// transitions is the one table of legal transitions: from -> set of to.
var transitions = [...]uint{
	StateCreated:  set(StateStarting, StateStopped, StateFailed),
	StateStarting: set(StateRunning, StateStopping, StateStopped, StateFailed),
	StateRunning:  set(StatePaused, StateStopping, StateStopped, StateFailed),
	StatePaused:   set(StateRunning, StateStopping, StateStopped, StateFailed),
	StateStopping: set(StateStopped, StateFailed),
	StateStopped:  0,
	StateFailed:   0,
}

// set is a bit set of states.
func set(states ...State) (bits uint) {
	for _, s := range states {
		bits |= 1 << s
	}
	return bits
}

// Can says whether a machine in state s may go to state to.
func (s State) Can(to State) bool {
	return s.known() && to.known() && transitions[s]&(1<<to) != 0
}

// Check is Can with a typed answer: nil, or an error of KindState that names op
// and both states.
func (s State) Check(op string, to State) error {
	if s.Can(to) {
		return nil
	}
	return Errorf(KindState, op, "the machine is %s and cannot become %s", s, to)
}

// Final says whether the machine has ended.
func (s State) Final() bool { return s == StateStopped || s == StateFailed }

func (s State) known() bool { return s >= 0 && int(s) < len(stateNames) }

// String is the state's name in lower case: "running".
func (s State) String() string {
	if s.known() {
		return stateNames[s]
	}
	return fmt.Sprintf("state %d", int32(s))
}
