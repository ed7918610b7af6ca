package virtq

import "fmt"

// Reason says which rule a driver broke. It is an error so that errors.Is(err, FaultHeadIndex) works on a Fault.
type Reason int

// Reasons why a queue is refused or stops. Sections are those of the virtio 1.2 specification.
const (
	FaultQueueSize       Reason = iota + 1 // size is 0, no power of two or more than 32768 (2.7)
	FaultRingAlign                         // descriptor table, available or used ring is misaligned (2.7)
	FaultRingRange                         // a ring is not all inside one region of RAM
	FaultRingOverlap                       // two of the three rings share memory
	FaultAvailIndex                        // available index moved by more than the queue's size, or backwards (2.7.6)
	FaultHeadIndex                         // available ring names a descriptor that does not exist (2.7.6)
	FaultHeadInFlight                      // available ring names a chain that the device still has
	FaultNextIndex                         // next names a descriptor that does not exist (2.7.5)
	FaultChainLength                       // chain loops, or is longer than its table or than what is allowed (2.7.5.1, 2.7.5.3.1)
	FaultBufferRange                       // a buffer is not all inside one region of RAM
	FaultTotalLength                       // the buffers' sum is above 2^32 bytes (2.7.5.1) or above the device's bound
	FaultBufferOrder                       // a device-readable buffer follows a device-writable one (2.7.4.2)
	FaultIndirectFeature                   // indirect table without VIRTIO_F_INDIRECT_DESC (2.7.5.3.1)
	FaultIndirectLength                    // table's length is 0, no multiple of 16, or above 32768 entries (2.7.5.3.1)
	FaultIndirectRange                     // table is not all inside one region of RAM
	FaultIndirectNested                    // indirect descriptor inside an indirect table (2.7.5.3.1)
	FaultIndirectNext                      // both INDIRECT and NEXT (2.7.5.3.1)
	FaultRequest                           // the device could make no sense of a well-formed chain; see Err
	numReasons
)

var reasonTexts = [numReasons]string{
	FaultQueueSize:       "bad queue size",
	FaultRingAlign:       "misaligned ring",
	FaultRingRange:       "ring outside of RAM",
	FaultRingOverlap:     "rings overlap",
	FaultAvailIndex:      "available index jumped",
	FaultHeadIndex:       "head is no descriptor",
	FaultHeadInFlight:    "head is in flight already",
	FaultNextIndex:       "next is no descriptor",
	FaultChainLength:     "chain loops or is too long",
	FaultBufferRange:     "buffer outside of RAM",
	FaultTotalLength:     "chain has too many bytes",
	FaultBufferOrder:     "readable buffer after a writable one",
	FaultIndirectFeature: "indirect descriptor without the feature",
	FaultIndirectLength:  "bad size of an indirect table",
	FaultIndirectRange:   "indirect table outside of RAM",
	FaultIndirectNested:  "indirect table inside of an indirect table",
	FaultIndirectNext:    "indirect descriptor with a next one",
	FaultRequest:         "malformed request",
}

func (r Reason) Error() string {
	if r <= 0 || r >= numReasons {
		return fmt.Sprintf("virtq: reason %d", int(r))
	}
	return "virtq: " + reasonTexts[r]
}

// Fault is a rule that the guest's driver broke. It concerns one device of one guest: the device is marked
// DEVICE_NEEDS_RESET, and nothing else happens. errors.Is(fault, reason) tells the rule.
type Fault struct {
	Reason Reason
	Head   uint16 // first descriptor of the chain; meaningful for chains only
	Value  uint64 // what was refused: an index, address or length, see Reason
	Err    error  // more about it, or nil
}

func (f *Fault) Error() string {
	s := fmt.Sprintf("%v: %#x (head %d)", f.Reason, f.Value, f.Head)
	if f.Err != nil {
		s += ": " + f.Err.Error()
	}
	return s
}

// Is tells whether target is the fault's reason.
func (f *Fault) Is(target error) bool {
	r, ok := target.(Reason)
	return ok && r == f.Reason
}

// Unwrap is the cause, if there is one.
func (f *Fault) Unwrap() error { return f.Err }
