package vm

import "io"

// Backend makes virtual machines. Implementations are safe for concurrent use and
// hold no resources while no machine exists.
type Backend interface {
	// Name is the backend's name, as in SetBackend: "kvm", "vz", "fake".
	Name() string

	// Capabilities says what the backend can do on this host. The error, an
	// *Error of KindUnavailable, KindPermission or KindUnsupported, says why it
	// is not usable at all and, in Hint, what to do about it.
	Capabilities() (Capabilities, error)

	// New makes a machine: opens files, allocates memory, loads the kernel.
	// Nothing runs yet. cfg has been validated, and New checks again what it
	// relies on. When New fails it has released everything.
	New(cfg Config, host Host) (Machine, error)
}

// Host is what the caller lends to a Machine. A nil field means that the caller
// does not care. The machine stops using all of it before Close returns.
type Host struct {
	Console io.Writer   // the guest's console output; must never block; one Write at a time
	Serial  io.Writer   // early boot log and panic text (COM1); same rules
	Input   *Pipe       // bytes for the guest's console
	Port    any         // of NetworkShared: a link.Host, for a machine in this process
	Event   func(Event) // told of EventReady, EventDiskError, EventLog and the like; must not block nor call the Machine
}

// Machine is one virtual machine. Every method may be called at any time, from
// any goroutine, including concurrently with itself and with Close.
//
// A call that the present state does not allow returns an *Error of KindState, or
// of KindClosed after Close, and changes nothing. The legal states are those of
// the table in State; a machine never restarts.
//
// When the guest ends by itself, or Kill ends it, the machine fixes its exit
// record, then closes Done. From then on Exit is valid, for ever.
type Machine interface {
	// Start runs the guest: created to running. When it fails the machine has
	// ended with CauseVMMCrash and the same error.
	Start() error

	// Pause stops all vCPUs and returns when they have stopped: running to
	// paused. Devices hold on to work that is in flight.
	Pause() error
	// Resume: paused to running.
	Resume() error

	// PowerButton asks the guest to shut down, as pressing the button of a PC
	// does; legal while running. That the guest heeds it is not promised.
	PowerButton() error

	// Kill ends the machine now, in less than a second, whatever the guest does.
	// It returns after Done is closed. Exit.Cause becomes cause, unless the
	// guest had ended by itself before. Legal in every state: before Start the
	// machine ends without having run; after the end it does nothing.
	Kill(cause Cause) error

	// ResizeConsole tells the guest the size of its terminal, in characters;
	// legal until the machine ends.
	ResizeConsole(cols, rows uint16) error

	// SetMemoryTarget asks the guest to make do with that many bytes of its memory;
	// 0: with all of it. It returns at once; Stats tell how far the guest is. A
	// driver that comes later is asked too, so this is legal until the machine
	// ends. Errors of their own: KindInvalidArg, more than the machine has;
	// KindUnsupported, no balloon.
	SetMemoryTarget(bytes uint64) error

	// Done is closed when the machine has ended: no vCPU runs any more.
	Done() <-chan struct{}
	// Exit is the exit record; the zero Exit before Done is closed.
	Exit() Exit

	// Stats is a snapshot of the counters, legal at any time. It asks the guest for
	// fresh statistics of its memory, which a later call has.
	Stats() Stats

	// Close kills the machine if need be (CauseKilled), releases everything and
	// joins every goroutine and thread. It may be called any number of times;
	// every call returns after the machine is gone.
	Close() error
}

// Saver is a Machine whose state can be kept, for a machine of the same configuration
// with Config.Restore to go on from.
type Saver interface {
	// Save writes the state of a paused machine to a file, which is not there yet. The
	// machine stays paused. Disks are not part of it: whoever resumes the machine, or
	// lets another one write them, spoils what was saved. Errors of their own:
	// KindUnsupported; KindExists.
	Save(path string) error
}
