// Package capsa runs Linux virtual machines inside your process.
//
// # A machine from beginning to end
//
// A [Builder] describes a machine; Build checks the description, loads the kernel
// and makes a [VM]; Start runs it; Wait tells how it ended:
//
//	b := capsa.NewBuilder()
//	if err := b.SetKernel("/boot/vmlinuz"); err != nil { … }
//	if err := b.SetInitrd("initrd.img"); err != nil { … }
//	m, err := b.Build()
//	if err != nil { … }
//	defer m.Close()
//	if err := m.Start(ctx); err != nil { … }
//	exit, err := m.Wait(ctx)
//
// Build and Start are two calls, so that a machine can be prepared beforehand, and
// so that readers of its console are in place before it says anything.
//
// # States
//
//	Created ──► Starting ──► Running ◄──► Paused
//	   │            │           │            │
//	   │            └──────► Stopping ◄──────┘
//	   ▼                        ▼
//	Stopped                 Stopped or Failed
//
// A call that the state does not allow fails with KindState and changes nothing. A
// machine never restarts: Build another. [VM.Stop] presses the power button, gives
// the guest time, and then kills; [VM.Kill] ends it at once; both may come at any
// moment from anywhere, and so may [VM.Close], which kills, frees everything and
// waits until all is gone.
//
// # How it ended
//
// The [Exit] record is written once and stays readable for ever, also after Close:
// the cause, the status of the main program, the kernel's own words if it panicked,
// the time it ran. Any number of goroutines may Wait, each with its own context.
//
// That a guest powers off, panics, or is killed is no error. An error is when the
// machine itself fails, or when the guest never comes up: it panics or crashes
// before its console driver works, or finds no root file system or no init. Then
// Wait returns the record and an [Error] of KindBoot that holds the last 4 KiB of
// output, and says what to do.
//
// # Errors
//
// Every error is an *[Error]. Its Kind is for programs:
//
//	if errors.Is(err, capsa.KindTimeout) { … }
//
// its message and Hint are for people: what failed, and what to do about it. Build
// reports everything that is wrong with a description at once, in Problems. The one
// exception is io.EOF, which [Reader.Read] returns at the end of a console.
//
// # Waiting
//
// Every call that waits takes a context. When that ends first, the error is of
// KindTimeout or KindCancelled and nothing is lost: a timed-out Expect has consumed
// nothing, a timed-out Stop leaves the request standing, and trying again is always
// right. What can be done without waiting is done even when the context has ended,
// so an expired context polls.
//
// Programs with an event loop use descriptors: [VM.ExitFD], [VM.EventFD] and
// [Console.FD] return ends of unix stream sockets, new ones for each call, which the
// caller closes.
//
// # The console
//
// [VM.Console] is what the guest's first virtio console (hvc0) shows. A bounded ring
// keeps its latest output, 1 MiB unless told otherwise. Each [Reader] has a position
// of its own. Nobody need read: the guest never waits for readers. [Reader.Expect]
// waits for texts and regular expressions, [Console.Run] runs a command in the
// guest's shell. What the guest says on its serial port before that, the early boot
// log, is in [VM.BootLog].
//
// # Events
//
// [VM.NextEvent] tells of changes of state, of console output (one event, until it
// is fetched), of processes that the guest's kernel killed for want of memory, and
// at last of the end. The queue is bounded; when nobody fetches, the oldest go, and
// an EventLost says how many.
//
// # Memory
//
// A machine takes memory of the host as its guest touches it, and gives back what the
// guest's kernel reports as free, a few seconds later. [VM.SetMemoryTarget] asks the
// guest for more than that. [VM.Stats] tells what a machine takes, how far the guest is,
// and what it says of its own memory. [Builder.SetBalloon] switches parts of it off.
//
// # Programs in the guest
//
// [NewSandbox] makes a machine with this library's agent as its process 1. [VM.Run] runs
// a program there to its end, [VM.Exec] starts one with streams, terminal and limits,
// [VM.Files] reads, writes and copies, [VM.Dial] and [VM.ForwardSocket] reach its sockets.
// They wait until the guest is up, as [VM.WaitReady] does, and fail with KindState once
// the machine has ended. The guest is not trusted: what it sends is bounded, and nothing
// that it says makes the host write outside of where it is told to.
//
// # Pools
//
// A Pool keeps machines ready, so that acquiring one takes no longer than asking it how
// it is. Each is used once: another takes its place when it is released, when it dies
// while it waits, and when a check finds it unwell. Those who wait are served in turn.
//
// # Backends
//
// On Linux machines run under KVM. [Doctor] says whether that works on this host
// and, if not, what to do. Nothing is downgraded silently: asking for what the
// backend cannot do is KindUnsupported.
//
// # Manners
//
// The package never exits the process, writes to standard output or error, installs
// signal handlers, changes the directory or reads the environment, but for the paths of
// its own parts (CAPSA_VZD_PATH, CAPSA_AGENT_PATH). A fault in one of
// its goroutines ends one machine, with CauseVMMCrash, and not the process.
package capsa
