package capsa

import (
	"io"
	"time"
)

// Limits of a Command.
const (
	// MaxOutput is how much of each stream Run keeps if it is not told, in bytes.
	MaxOutput = 16 << 20
)

// Command is a program to be run in the guest: an executable and its arguments, no
// shell. Strings are bytes, as in the guest's kernel.
type Command struct {
	Args []string // the program, looked up in PATH if it has no slash, and its arguments

	// Env are variables, "NAME=value", besides the agent's own PATH, HOME, USER,
	// LOGNAME, SHELL and, with TTY, TERM; a later one of a name wins. EnvOnly: without
	// the agent's own.
	Env     []string
	EnvOnly bool

	Dir  string // working directory; "": the user's home, or /
	User string // "name", "1000", "name:group", "1000:1000"; "": root

	// TTY runs the program on a terminal of its own of that size (0: 80 by 24), as the
	// leader of its session. Output of both kinds is then Stdout's.
	TTY        bool
	Cols, Rows uint16

	// Stdin, Stdout and Stderr are copied from and to on goroutines, as by package
	// os/exec; nil: /dev/null. A copy that fails closes the program's end.
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	// The pipes are in place of those: see Process.Stdin and its like.
	StdinPipe, StdoutPipe, StderrPipe bool

	Rlimits []Rlimit
	Memory  uint64        // bytes that it and its children may have; 0: no limit
	Pids    uint64        // how many processes and threads they may be; 0: no limit
	Timeout time.Duration // after which they are all killed; 0: none
}

// Rlimit is a resource limit of a program: setrlimit(2).
type Rlimit struct {
	Resource   int // RLIMIT_*: include/uapi/asm-generic/resource.h of Linux
	Soft, Hard uint64
}

// ExitStatus is how a program in the guest ended.
type ExitStatus struct {
	Code     int  // exit status, or 128 and Signal, as a shell has it
	Signal   int  // that ended it, or 0
	OOM      bool // one of its processes was killed for want of memory
	TimedOut bool // Command.Timeout ended it

	UserTime   time.Duration // of the processor, with its children that it waited for
	SystemTime time.Duration
	MaxRSS     uint64 // the largest amount of memory it had, in bytes
	Duration   time.Duration
}

// Success says whether the program ended with status 0.
func (s ExitStatus) Success() bool { return s.Code == 0 && s.Signal == 0 }

// Result is what Run returns.
type Result struct {
	ExitStatus
	Stdout, Stderr []byte
	// Truncated: there was more output than is kept; the program could write it.
	Truncated bool
}
