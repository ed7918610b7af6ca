package vm

// Isolation says in which process a machine runs.
type Isolation string

// The choices.
const (
	IsolationDefault Isolation = ""        // as the backend prefers
	IsolationNone    Isolation = "none"    // in the caller's process
	IsolationProcess Isolation = "process" // in a process of its own, whose death is not the caller's
)

// Isolation checks Config.Isolation.
func (p *Problems) Isolation(i Isolation) {
	switch i {
	case IsolationDefault, IsolationNone, IsolationProcess:
	default:
		p.add("isolation", `"none" and "process" are; without one the backend chooses`, "%q is not known", string(i))
	}
}
