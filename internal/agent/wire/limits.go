package wire

// Limits of control messages. The host refuses what is above before it has memory for
// it; the guest's side is checked by ttrpc, which takes 4 MiB.
const (
	// MaxReply is the largest answer of a guest, in bytes. Decoding takes some thirty
	// times as much in the worst case (empty entries of a List).
	MaxReply = 256 << 10
	// MaxRequest is the largest request of the host, in bytes: room for arguments and
	// an environment of 1 MiB each, below ttrpc's own limit of 4 MiB.
	MaxRequest = 3 << 20

	// MaxIO is the largest piece that Read and Write move, in bytes.
	MaxIO = 128 << 10
	// MaxListPage is the largest number of entries in an answer of List. With names
	// and targets at their longest an answer is cut short before.
	MaxListPage = 512
	// MaxListBytes is the size at which a page of List ends, in bytes.
	MaxListBytes = 128 << 10

	// MaxPath is the longest path, in bytes, with a NUL at its end: PATH_MAX
	// (include/uapi/linux/limits.h).
	MaxPath = 4096
	// MaxArgs is the largest number of arguments and of variables.
	MaxArgs = 64 << 10
	// MaxStrings is the size of all arguments, and of the environment, in bytes.
	MaxStrings = 1<<20 + 64<<10

	// MaxMessage is how much of a fault's text is kept, in bytes.
	MaxMessage = 512

	// MaxCalls is the largest number of calls without an answer.
	MaxCalls = 4096
)
