package vm

import "fmt"

// Kind is the class of an Error. The values are those of the C ABI's status
// classes (capsa_status, negated) and never change or get reused.
//
// A Kind is itself an error, so that errors.Is(err, vm.KindTimeout) reads well.
type Kind int32

// The kinds, in the order of the C ABI.
const (
	KindInvalidArg  Kind = 1  // an argument that is wrong by itself
	KindHandle      Kind = 2  // a C handle that is freed, of another type, or random
	KindState       Kind = 3  // the call is not legal in the present state
	KindConfig      Kind = 4  // the configuration as a whole is not valid
	KindUnsupported Kind = 5  // this backend or platform cannot do it
	KindUnavailable Kind = 6  // it could, but not here and now (no /dev/kvm)
	KindNotFound    Kind = 7  // a file or object does not exist
	KindExists      Kind = 8  // it exists already
	KindPermission  Kind = 9  // the operating system refuses access
	KindNoMemory    Kind = 10 // the host has no memory for it
	KindLimit       Kind = 11 // a limit of the backend or the host is exceeded
	KindTimeout     Kind = 12 // the deadline passed; nothing is lost, try again
	KindCancelled   Kind = 13 // the caller cancelled the wait
	KindClosed      Kind = 14 // the object is closed or its stream has ended
	KindIO          Kind = 15 // a system call or the host's device failed
	KindBoot        Kind = 16 // the guest did not come up; see Error.ConsoleTail
	KindGuest       Kind = 17 // the guest's agent said no
	KindProtocol    Kind = 18 // a peer broke the protocol
	KindVMMDied     Kind = 19 // the process or code that ran the machine died
	KindForked      Kind = 20 // called in a forked child
	KindInternal    Kind = 21 // a bug in libcapsa
)

// kindNames is the single table of names; index is the Kind.
var kindNames = [...]string{
	KindInvalidArg:  "invalid argument",
	KindHandle:      "bad handle",
	KindState:       "wrong state",
	KindConfig:      "invalid configuration",
	KindUnsupported: "unsupported",
	KindUnavailable: "unavailable",
	KindNotFound:    "not found",
	KindExists:      "already exists",
	KindPermission:  "permission denied",
	KindNoMemory:    "out of memory",
	KindLimit:       "limit exceeded",
	KindTimeout:     "timed out",
	KindCancelled:   "cancelled",
	KindClosed:      "closed",
	KindIO:          "input/output error",
	KindBoot:        "boot failed",
	KindGuest:       "refused by the guest",
	KindProtocol:    "protocol error",
	KindVMMDied:     "virtual machine monitor died",
	KindForked:      "not usable after fork",
	KindInternal:    "internal error",
}

// Kinds returns every kind, in order.
func Kinds() []Kind {
	all := make([]Kind, 0, len(kindNames)-1)
	for k := KindInvalidArg; int(k) < len(kindNames); k++ {
		all = append(all, k)
	}
	return all
}

// String is the kind in words: "timed out".
func (k Kind) String() string {
	if k > 0 && int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", int32(k))
}

// Error makes a Kind usable as the target of errors.Is.
func (k Kind) Error() string { return k.String() }
