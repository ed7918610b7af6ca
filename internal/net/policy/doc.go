// Package policy decides which flows and which DNS queries of a machine are let
// through. It is pure: no sockets, no goroutines, no clock but for a Flow without
// a time; the network engine asks and acts.
//
// A Policy is what a person writes, in Go or in JSON. Compile checks it and makes
// an Engine of it, one for each machine, since an Engine also remembers which
// names the machine has resolved to which addresses (pins).
//
// # Order
//
// An outbound flow meets the floor first: the host itself, loopback, link-local,
// cloud metadata, multicast and reserved addresses are closed unless the policy
// unlocks their group. Then come the rules, of which the first that matches
// decides; "log" rules only note that they matched. Last comes the default. Inbound
// flows (forwarded ports) meet no floor, only rules of their direction and then
// Policy.Inbound.
//
// Addresses that carry an IPv4 address (::ffff:a.b.c.d and NAT64) are judged by
// it. What must be dialled is Verdict.Dst, never a name and never what the guest
// wrote.
//
// # Names
//
// A rule that allows a name matches if the machine resolved that name to the
// address (Learn), and, on ports whose client speaks first and says a name (80,
// 443, 8080, 8443 over TCP), if the client then says a name that is allowed and
// pinned to that very address. So the engine asks twice: when the flow opens, and,
// when NeedName is set, again with what package sniff found. A flow that is
// refused when it opens would be refused with every name; the other way round it
// would not. A name alone opens public addresses only: whoever owns a name decides
// where it points (rebinding).
//
// A rule that denies a name is a courtesy to a guest that plays by the rules: a
// hostile one connects to addresses without saying names. Only a policy that
// allows names, over a default that denies, is a wall. QUIC hides names; where a
// name would decide, UDP port 443 is refused and clients fall back to TCP. Only the
// first request of an HTTP connection is seen. An encrypted ClientHello shows its
// outer name alone, and that is the one that has to be allowed.
//
// # Concurrency
//
// All methods of Engine may be called at once from any goroutine. Swap and SetEnv
// raise Generation; a verdict of an older generation should be asked for again.
package policy
