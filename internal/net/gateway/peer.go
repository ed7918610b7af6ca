//go:build linux

package gateway

import (
	"github.com/libcapsa/libcapsa/internal/net/link"
	"github.com/libcapsa/libcapsa/internal/net/policy"
)

// Deliver sends frames of another machine to the guest, as far as its driver takes them
// in software. They are borrowed. It may be called from anywhere.
func (g *Gateway) Deliver(frames []link.Frame) { g.engine.Deliver(frames) }

// Judge asks the policy about a flow between the machine and another one of its
// network, and tells of a refusal.
func (g *Gateway) Judge(f policy.Flow) policy.Decision {
	v := g.policy.Flow(f)
	if v.Action != policy.Allow {
		g.deny("%s from %v to %v: %v", f.Protocol, f.Src, f.Dst, v)
	}
	return v.Action
}

// Generation is raised whenever Judge may have become another answer.
func (g *Gateway) Generation() uint64 { return g.policy.Generation() }
