// Package gateway is the network of one machine, put together: the engine that
// carries its flows (package nat), and what a gateway offers besides: addresses by
// DHCP and router advertisements, DNS, forwarded ports, and a policy over all of it.
//
// A [Gateway] is the host's side (link.Host) of one network device. The machine is
// the only one in its network; it has the address that the configuration says, and
// over IPv6 what it chooses in its prefix.
//
// What the floor of the policy takes for the host's own addresses follows the host's
// interfaces as they change. DNS of everybody is answered here while the policy
// decides by name, since only names that were resolved here can be allowed.
//
// Nothing runs while the machine is idle, but one timer in eight hours: hosts forget a
// router that does not advertise itself.
package gateway
