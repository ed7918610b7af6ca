package vm

// NetStats are the counters that only the network device has. All but Link and the
// numbers of open flows only grow.
type NetStats struct {
	Link bool   `json:"link"` // it is up
	MAC  string `json:"mac"`  // of the guest

	FramesIn  uint64 `json:"frames_in"`  // from the guest; a long one to be segmented counts once
	FramesOut uint64 `json:"frames_out"` // to the guest
	// Frames that were dropped.
	DroppedIn  uint64 `json:"dropped_in"`  // of the guest, by the device: too long, without sense, link down
	DroppedOut uint64 `json:"dropped_out"` // to the guest: no room, link down, not asked for
	Malformed  uint64 `json:"malformed"`   // of the guest: no proper packets
	Spoofed    uint64 `json:"spoofed"`     // of the guest: from an address that is not its own
	Stray      uint64 `json:"stray"`       // of the guest: to nobody, or with a wrong checksum

	TCP     FlowStats `json:"tcp"`     // opened by the guest
	UDP     FlowStats `json:"udp"`     // the same
	Ping    FlowStats `json:"ping"`    // the same
	Forward FlowStats `json:"forward"` // through forwarded ports

	Peer PeerStats `json:"peer"` // other machines of a shared network

	Leases uint64   `json:"leases"` // times that the guest was given its address
	DNS    DNSStats `json:"dns"`
}

// FlowStats are the counters of one class of flows.
type FlowStats struct {
	Open     uint64 `json:"open"` // now
	Opened   uint64 `json:"opened"`
	Denied   uint64 `json:"denied"`  // by the policy
	Failed   uint64 `json:"failed"`  // their destination could not be reached
	Limited  uint64 `json:"limited"` // there were too many
	BytesIn  uint64 `json:"bytes_in"`
	BytesOut uint64 `json:"bytes_out"`
}

// PeerStats are the counters of what a machine sends to others of a shared network.
type PeerStats struct {
	Frames  uint64 `json:"frames"`
	Denied  uint64 `json:"denied"`  // frames that a policy refused
	Limited uint64 `json:"limited"` // frames of which there were too many
}

// DNSStats are the counters of the gateway's DNS.
type DNSStats struct {
	Queries uint64 `json:"queries"`
	Refused uint64 `json:"refused"` // by the policy
	Hits    uint64 `json:"hits"`    // answered from memory
	Failed  uint64 `json:"failed"`  // no name server gave an answer
}
