// Package pcap writes the frames of a link to a file, for tcpdump and Wireshark.
//
// The format is pcapng ("PCAP Now Generic (pcapng) Capture File Format",
// draft-ietf-opsawg-pcapng), which, other than classic pcap, says of each frame
// whether the guest sent it or got it, and how many were lost before it, and
// names the interface. Timestamps have nanoseconds. A long frame that is yet to
// be segmented is written as it is, as on any interface with offloads; so is a
// checksum that is not complete.
//
// # The data path
//
// A [Writer] copies frames to a buffer of a fixed size and a goroutine of its
// own writes that out. The data path never waits for a write: where the buffer
// is full, because a disk or the reader of a pipe is slow, frames are lost to
// the capture, not to the link, and counted, in the file too. There is no timer:
// what was captured is written as soon as the write before it has ended.
//
// A [Tap] puts a Writer between a device and the network behind it, and takes it
// out again, while both are running.
package pcap
