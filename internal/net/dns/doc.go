// Package dns is the DNS proxy of a machine's gateway: it answers the machine's
// queries from static names, from a cache, or with what the host's own name servers
// say, as far as the machine's policy goes along.
//
// The caller reads and writes packets and streams. Proxy.Local answers at once, or
// says that it cannot; Proxy.Exchange waits for name servers and belongs off the
// packet loop. Every query gets an answer but those that are none: a name server
// that is dead makes a SERVFAIL, not a silence.
//
// # Policy
//
// A query that the policy refuses is sent nowhere; the machine gets REFUSED with the
// extended error "Blocked" (RFC 8914). So it does where a name leads to one that is
// denied. Addresses that the policy refuses for the name are taken out of the answer
// (rebinding). Those that stay are pinned, and the answer's TTL is such that the
// machine asks again before the pin ends. Keys of Encrypted ClientHello are taken
// out of SVCB and HTTPS records, since they would hide the name that the policy has
// to see.
//
// Names that this machine's owner configured (static hosts, the host, other machines)
// are no message to anybody. They are refused where a rule names them, but not by the
// policy's default, and their addresses are given as they are; whether they may be
// reached is decided when they are connected to.
//
// # Name servers
//
// They are those of resolv.conf, which is read again when it has changed, in its
// order. Queries have a random ID, a socket of their own with a port that the kernel
// picks at random, and a name in random case; what does not match is not taken for
// the answer.
//
// # Concurrency
//
// All methods may be called at once from any goroutine. Close ends and joins what is
// under way.
package dns
