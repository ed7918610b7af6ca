package capsa

import (
	"encoding/json"
	"errors"

	"github.com/libcapsa/libcapsa/internal/net/gateway"
	"github.com/libcapsa/libcapsa/internal/net/policy"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// What a policy is made of; the JSON form has the same fields. Words such as
// "deny-all" are said as they are.
type (
	// Policy is what a machine may reach and what may reach it.
	Policy = policy.Policy
	// PolicyRule acts on what it matches; the first rule that matches decides.
	PolicyRule = policy.Rule
	// PolicyMatch is the condition of a rule.
	PolicyMatch = policy.Match
	// PolicyPorts is a range of ports.
	PolicyPorts = policy.Ports
)

// SetNetwork gives the guest a network, or, with the zero NetworkConfig, none. Policy
// and forwards that c leaves nil stay as they are; so do limits and the capture, which
// have calls of their own.
func (b *Builder) SetNetwork(c NetworkConfig) error {
	return b.set("set network",
		func(p *vm.Problems) {
			p.Network(c)
			if c.Mode == NetworkShared || c.Mode == NetworkFD || c.Mode == NetworkTAP {
				*p = append(*p, vm.Problem{Field: "network.mode", Message: "is not set but attached to", Hint: "use Attach, AttachFD or AttachTAP"})
			}
			*p = append(*p, policyProblems(c.Policy)...)
		},
		func(cfg *vm.Config) {
			old := cfg.Network
			cfg.Network = vm.Config{Network: c}.Clone().Network
			b.network = nil
			cfg.Network.Limits, cfg.Network.Capture = old.Limits, old.Capture
			if c.Policy == nil {
				cfg.Network.Policy = old.Policy
			}
			if c.Forwards == nil {
				cfg.Network.Forwards = old.Forwards
			}
		})
}

// SetPolicy says what the guest may reach, and what may reach it.
func (b *Builder) SetPolicy(p Policy) error {
	text, err := json.Marshal(p)
	if err != nil {
		return vm.Errorf(vm.KindInvalidArg, "set policy", "%w", err)
	}
	return b.SetPolicyJSON(text)
}

// SetPolicyJSON is SetPolicy in JSON. nil: the policy of old again, which allows
// everything but the host itself and what only the host should reach.
func (b *Builder) SetPolicyJSON(text []byte) error {
	return b.set("set policy",
		func(p *vm.Problems) { *p = checkPolicy("", text) },
		func(c *vm.Config) {
			c.Network.Policy = vm.Config{Network: NetworkConfig{Policy: text}}.Clone().Network.Policy
		})
}

// AddForward opens a port of the guest to the host's side, from Build to the
// machine's end. Build binds it.
func (b *Builder) AddForward(f Forward) error {
	return b.set("add forward",
		func(p *vm.Problems) {
			p.Forward("", f)
			if n := len(b.cfg.Network.Forwards); n >= vm.MaxForwards {
				p.Forwards(make([]vm.Forward, n+1))
			}
		},
		func(c *vm.Config) { c.Network.Forwards = append(c.Network.Forwards, f) })
}

// ClearForwards undoes all AddForward.
func (b *Builder) ClearForwards() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cfg.Network.Forwards = nil
}

// checkPolicy finds what is wrong with a policy: its form, then what is in it.
func checkPolicy(field string, text json.RawMessage) vm.Problems {
	var p vm.Problems
	if p.Policy(text); len(p) > 0 {
		for i := range p {
			p[i].Field = field
		}
		return p
	}
	_, problems := gateway.ParsePolicy(field, text)
	return problems
}

// withPolicyProblems adds what is wrong with the policy to what is wrong with the
// rest of a configuration. Of a policy without the form of one the rest tells.
func withPolicyProblems(err error, cfg vm.Config) error {
	problems := policyProblems(cfg.Network.Policy)
	e, ok := errors.AsType[*vm.Error](err)
	switch {
	case len(problems) == 0 || err != nil && !ok:
		return err
	case err == nil:
		return problems.Err(vm.KindConfig, "validate")
	}
	all := *e
	all.Kind, all.Problems = vm.KindConfig, append(append(vm.Problems(nil), e.Problems...), problems...)
	return &all
}

// policyProblems are those that a configuration's own check cannot find.
func policyProblems(text json.RawMessage) vm.Problems {
	var form vm.Problems
	if form.Policy(text); len(form) > 0 {
		return nil
	}
	_, problems := gateway.ParsePolicy("network.policy", text)
	return problems
}

// AddForward opens one more port of the guest to the host's side, and returns it as it
// is: with its ID and the port that was chosen. Until the guest answers, clients
// wait. Errors: KindInvalidArg, KindExists (something is at that address or path),
// KindPermission, KindNotFound (no such directory), KindLimit, KindUnsupported (the
// machine has no network of its own), KindState (it has ended).
func (v *VM) AddForward(f Forward) (open Forward, err error) {
	err = v.onNetwork("add forward", func(m services) error {
		open, err = m.AddForward(f)
		return err
	})
	return open, err
}

// RemoveForward closes a port. TCP connections that are established go on. Errors:
// KindNotFound, KindUnsupported, KindState.
func (v *VM) RemoveForward(id uint32) error {
	return v.onNetwork("remove forward", func(m services) error { return m.RemoveForward(id) })
}

// Forwards are the ports that are open, by ID; those of the builder come first.
// Errors: KindUnsupported, KindState.
func (v *VM) Forwards() (list []Forward, err error) {
	err = v.onNetwork("forwards", func(m services) error {
		list, err = m.Forwards()
		return err
	})
	return list, err
}

// SetPolicy puts another policy in force, at once: flows that it does not allow end.
// Errors: KindInvalidArg with every problem, KindUnsupported, KindState; the old policy
// then stays in force.
func (v *VM) SetPolicy(p Policy) error {
	text, err := json.Marshal(p)
	if err != nil {
		return vm.Errorf(vm.KindInvalidArg, "set policy", "%w", err)
	}
	return v.SetPolicyJSON(text)
}

// SetPolicyJSON is SetPolicy in JSON; nil is as in Builder.SetPolicyJSON.
func (v *VM) SetPolicyJSON(text []byte) error {
	const op = "set policy"
	return v.onNetwork(op, func(m services) error {
		if err := checkPolicy("", text).Err(vm.KindInvalidArg, op); err != nil {
			return err
		}
		return m.SetPolicy(text)
	})
}

// SetLink plugs the guest's cable in or pulls it out. Errors: KindUnsupported,
// KindState.
func (v *VM) SetLink(up bool) error {
	return v.onCable("set link", func(m vm.Networked) error { return m.SetLink(up) })
}

// services are what the gateway of a machine does for it: its own machine's, or that of
// its port in a shared network.
type services interface {
	AddForward(f vm.Forward) (vm.Forward, error)
	RemoveForward(id uint32) error
	Forwards() ([]vm.Forward, error)
	SetPolicy(policy json.RawMessage) error
}

// onNetwork makes a call for the network, if the machine has one.
func (v *VM) onNetwork(op string, call func(services) error) error {
	if v.port != nil {
		if s := v.State(); s.Final() {
			return vm.Errorf(vm.KindState, op, "the machine is %s", s)
		}
		return socketError(op, call(v.port))
	}
	if err := v.cfg.CheckNetwork(op); err != nil {
		return err
	}
	return v.onDevice(op, func(m vm.Networked) error { return call(m) })
}

// onDevice makes a call for the network device of the machine, which has one.
func (v *VM) onDevice(op string, call func(vm.Networked) error) error {
	if s := v.State(); s.Final() {
		return vm.Errorf(vm.KindState, op, "the machine is %s", s)
	}
	m, ok := v.machine.(vm.Networked)
	if !ok {
		return vm.Errorf(vm.KindUnsupported, op, "this backend has no network")
	}
	return socketError(op, call(m))
}
