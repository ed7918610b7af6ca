package vm

// Jail says how much a machine's own process is confined.
type Jail string

// The choices.
const (
	JailFull    Jail = ""        // as far as this library goes; what the host cannot do is an error
	JailPartial Jail = "partial" // as far as the host goes
	JailOff     Jail = "off"     // not at all
)

// Jail checks Config.Jail.
func (p *Problems) Jail(j Jail) {
	switch j {
	case JailFull, JailPartial, JailOff:
	default:
		p.add("jail", `"partial" and "off" are; without one it is as strict as can be`, "%q is not known", string(j))
	}
}
