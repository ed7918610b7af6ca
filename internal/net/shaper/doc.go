// Package shaper bounds what passes a network: bytes, packets and new
// connections per second, each way, with token buckets.
//
// It answers how long it is until something may pass, and counts what does. It
// delays nothing itself, has no goroutine and no timer: who asks keeps the thing
// back, and stops reading from where it comes, until the time is over. So bounds
// become back-pressure, and an idle network wakes nobody.
//
// Arithmetic is that of integers, exact to a fraction of a token in each
// nanosecond: buckets do not drift, however often they are asked.
package shaper
