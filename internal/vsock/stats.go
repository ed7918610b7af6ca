package vsock

// Stats are the counts of one machine's sockets since they were made, but for
// the first group, which is of now.
type Stats struct {
	Connections int    // in all states
	Sockets     int    // with a socket that is still open
	Owed        int    // connections that packets without payload wait for
	Credit      uint64 // bytes that guests may have on their way: at most Budget

	Opened        uint64 // connections, asked for by either side
	Refused       uint64 // connections of the guest that the host did not take
	Resets        uint64 // connections that were ended because of a broken rule
	Packets       uint64 // of the guest
	Rejected      uint64 // those that broke a rule
	Unanswered    uint64 // those whose refusal the guest made no room for
	FromGuest     uint64 // bytes written to sockets
	ToGuest       uint64 // bytes read from sockets
	Dropped       uint64 // bytes of the guest that no user of the host was left for
	CreditUpdates uint64 // packets that only told the guest how much room there is
}
