package vm

import "slices"

// Capabilities is what a backend can do on this host. The maps are shared and not to
// be written.
type Capabilities struct {
	MaxCPUs   int               `json:"max_cpus"`   // per machine; 0: not known
	MaxMemory uint64            `json:"max_memory"` // bytes per machine; 0: not known
	Features  map[Feature]bool  `json:"features"`
	Needs     Offers            `json:"needs,omitempty"`  // of the features that are not there: what it would take
	Detail    map[string]string `json:"detail,omitempty"` // for a person: API version, extension values

	// Fits finds limits of the backend that are more than a number, such as the
	// interrupt lines that devices share; nil: there are none.
	Fits func(Config) Problems `json:"-"`
}

// Offers is a backend's answer to every feature: "" where it can do it, else what it
// would take, which ends a sentence that begins with "it needs". It is the one source
// of what Capabilities tell and of what is refused.
type Offers map[Feature]string

// Capabilities are those of the offers; limits and the rest are the caller's to fill in.
func (o Offers) Capabilities() Capabilities {
	c := Capabilities{Features: make(map[Feature]bool, len(o)), Needs: Offers{}}
	for f, need := range o {
		c.Features[f] = need == ""
		if need != "" {
			c.Needs[f] = need
		}
	}
	return c
}

// Has says whether the feature is there.
func (c Capabilities) Has(f Feature) bool { return c.Features[f] }

// Lacks is the error of a machine that needs what the backend cannot do, with
// everything that is missing, or nil.
func (c Capabilities) Lacks(cfg Config, op, backend string) error {
	var p Problems
	for _, a := range asked(cfg) {
		if !c.Has(a.feature) {
			p.add(a.field, c.hint(a.feature), "backend %s lacks the capability %q", backend, string(a.feature))
		}
	}
	return p.Err(KindUnsupported, op)
}

// Refuse is the error of a call that needs a feature which is not there, or nil.
func (c Capabilities) Refuse(f Feature, op, backend string) error {
	if c.Has(f) {
		return nil
	}
	return Errorf(KindUnsupported, op, "backend %s lacks the capability %q", backend, string(f)).
		WithComponent(backend).WithHint(c.hint(f))
}

func (c Capabilities) hint(f Feature) string {
	if need := c.Needs[f]; need != "" {
		return "it needs " + need
	}
	return ""
}

// Needs lists the features without which a machine cannot be what c says.
func (c Config) Needs() []Feature {
	var needs []Feature
	for _, a := range asked(c) {
		if !slices.Contains(needs, a.feature) {
			needs = append(needs, a.feature)
		}
	}
	return needs
}
