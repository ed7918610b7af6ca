// Package host is the host's side of a guest's agent: it takes the agent's
// connections, from a listener that it is lent, and makes calls. What a call means is
// package capsa's business.
//
// The guest is hostile. It may be slow, silent, or send anything: that ends its
// connection, with an error of KindProtocol for whoever waits, and costs the host no
// more than the limits of package wire for each connection, of which there are a bounded
// number. A call that its caller gave up keeps its place, one of wire.MaxCalls, until
// the guest answers or the connection ends.
package host
