package gateway

import (
	"encoding/json"
	"errors"

	"github.com/libcapsa/libcapsa/internal/net/policy"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// ParsePolicy reads and checks the JSON of a policy; nil is one that allows
// everything that is not behind the floor. The problems are those of the field that
// holds it.
func ParsePolicy(field string, text json.RawMessage) (policy.Policy, vm.Problems) {
	if text == nil {
		return policy.Policy{Default: policy.AllowAll}, nil
	}
	parsed, err := policy.Parse(text)
	if err == nil {
		return parsed, nil
	}
	wrong, ok := errors.AsType[*policy.Error](err)
	if !ok {
		return parsed, vm.Problems{{Field: field, Message: err.Error()}}
	}
	var problems vm.Problems
	for _, p := range wrong.Problems {
		at := field
		switch {
		case p.Field == "":
		case at == "":
			at = p.Field
		default:
			at += "." + p.Field
		}
		problems = append(problems, vm.Problem{Field: at, Message: p.Message, Hint: p.Hint})
	}
	return parsed, problems
}

// byName says whether a policy has a rule that names decide about.
func byName(p policy.Policy) bool {
	for _, r := range p.Rules {
		if namesIn(r.Match) {
			return true
		}
	}
	return false
}

func namesIn(m policy.Match) bool {
	if m.Domains != nil {
		return true
	}
	for _, part := range m.All {
		if namesIn(part) {
			return true
		}
	}
	return false
}
