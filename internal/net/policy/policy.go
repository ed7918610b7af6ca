package policy

// Limits of a policy. They are ours: far above what people write, low enough that
// a decision and a compilation stay cheap.
const (
	MaxRules    = 4096
	MaxEntries  = 65536   // addresses, groups, ports, protocols and names of all rules together
	MaxDepth    = 4       // nesting of Match.All
	MaxJSON     = 1 << 20 // bytes
	MaxNote     = 256     // bytes of Rule.Note
	MaxProblems = 100     // that one error lists
)

// Policy is what a machine may reach and what may reach it.
type Policy struct {
	// Default decides about outbound flows that no rule decided about. It must be
	// given.
	Default Default `json:"default"`
	// Deny is how the floor and the default refuse: ActionReject (also if empty) or
	// ActionDrop.
	Deny Action `json:"deny,omitempty"`
	// Inbound decides about inbound flows that no rule decided about: ActionAllow
	// (also if empty: who forwards a port wants it reached), ActionReject, ActionDrop.
	Inbound Action `json:"inbound,omitempty"`
	// Unlock takes groups out of the floor; the rules and the default then decide
	// about them.
	Unlock []Group `json:"unlock,omitempty"`
	Rules  []Rule  `json:"rules,omitempty"`
}

// Default is a policy's last word.
type Default string

// The defaults.
const (
	AllowAll   Default = "allow-all"
	DenyAll    Default = "deny-all"
	PublicOnly Default = "public-only" // addresses of GroupPublic are allowed, others denied
)

// Action is what a rule does.
type Action string

// The actions. ActionDeny is another spelling of ActionReject.
const (
	ActionAllow  Action = "allow"
	ActionDeny   Action = "deny"
	ActionReject Action = "reject" // tell the sender: RST or ICMP unreachable
	ActionDrop   Action = "drop"   // silently
	ActionLog    Action = "log"    // note it and go on with the next rule
)

// Direction is where a flow comes from.
type Direction string

// The directions. An empty one is Outbound.
const (
	Outbound Direction = "outbound" // opened by the machine
	Inbound  Direction = "inbound"  // opened towards the machine, through a forwarded port
	Both     Direction = "both"     // of rules only
)

// Group is a named set of addresses. An address may be in several.
type Group string

// The groups. All but GroupPublic and GroupPrivate are behind the floor.
const (
	GroupPublic    Group = "public"    // globally reachable, and in no group behind the floor
	GroupPrivate   Group = "private"   // RFC 1918, 100.64.0.0/10, fc00::/7, fec0::/10
	GroupLoopback  Group = "loopback"  // 127.0.0.0/8, ::1
	GroupLinkLocal Group = "linklocal" // 169.254.0.0/16, fe80::/10
	GroupMetadata  Group = "metadata"  // where clouds keep credentials for whoever asks
	GroupMulticast Group = "multicast" // 224.0.0.0/4, ff00::/8
	GroupHost      Group = "host"      // Env.Host
)

// Protocol is the protocol above IP.
type Protocol string

// The protocols.
const (
	TCP  Protocol = "tcp"
	UDP  Protocol = "udp"
	ICMP Protocol = "icmp" // ICMPv6 too
)

// Rule acts on what it matches.
type Rule struct {
	Action    Action    `json:"action"`
	Direction Direction `json:"direction,omitempty"`
	Note      string    `json:"note,omitempty"` // for people
	Match
}

// Match is a condition: every part that is given (not nil) must match, and a list
// does if one of its entries does. A list that is there and empty is an error, as
// is a Match without any part; Any is for that.
type Match struct {
	Any bool `json:"any,omitempty"`
	// Addresses are the other end's: "192.0.2.0/24", "2001:db8::/32", or one address.
	Addresses []string `json:"addresses,omitempty"`
	Groups    []Group  `json:"groups,omitempty"`
	// Ports are those that are connected to. They imply TCP or UDP.
	Ports     []Ports    `json:"ports,omitempty"`
	Protocols []Protocol `json:"protocols,omitempty"`
	// Domains are names as DNS has them (punycode, any case, a dot at the end or
	// not): "example.com" is that name alone, "*.example.com" what is below it at any
	// depth, ".example.com" both.
	Domains []string `json:"domains,omitempty"`
	All     []Match  `json:"all,omitempty"` // all of them must match
}

// Ports is a range of ports, both ends included. In JSON it is a number, or "8000-8010".
type Ports struct {
	First, Last int
}

// Port is the range of one port.
func Port(n int) Ports { return Ports{n, n} }

// Problem is one thing that is wrong with a policy.
type Problem struct {
	Field   string `json:"field"` // as in JSON: "rules[2].ports[0]"
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func (p Problem) String() string {
	s := p.Message
	if p.Field != "" {
		s = p.Field + ": " + s
	}
	if p.Hint != "" {
		s += " (" + p.Hint + ")"
	}
	return s
}
