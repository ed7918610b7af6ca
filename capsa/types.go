package capsa

import (
	"github.com/libcapsa/libcapsa/internal/console"
	"github.com/libcapsa/libcapsa/internal/net/lan"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// The types of the contract, under the names that users of this package need.
type (
	// Error is the type of every error of this package.
	Error = vm.Error
	// Kind is the class of an Error; errors.Is(err, capsa.KindTimeout) works.
	Kind = vm.Kind
	// Problem is one thing that is wrong with a configuration.
	Problem = vm.Problem

	// Config says what a machine is made of.
	Config = vm.Config
	// LinuxBoot is the direct boot of a Linux kernel.
	LinuxBoot = vm.LinuxBoot
	// Disk is one disk of a machine.
	Disk = vm.Disk
	// DiskFormat is the format of a disk's image.
	DiskFormat = vm.DiskFormat
	// DiskLimit bounds the rate of a disk's requests.
	DiskLimit = vm.DiskLimit
	// BalloonConfig is how memory that the guest does without goes back to the host.
	BalloonConfig = vm.BalloonConfig
	// VsockConfig is the machine's sockets between guest and host.
	VsockConfig = vm.VsockConfig
	// VsockPort joins a port to a unix socket of the host.
	VsockPort = vm.VsockPort
	// VsockMode says what the host does at the path of a bound port.
	VsockMode = vm.VsockMode
	// VsockType is the type of a socket.
	VsockType = vm.VsockType
	// NetworkConfig is the guest's network.
	NetworkConfig = vm.NetworkConfig
	// NetworkMode says what is at the other end of the guest's cable.
	NetworkMode = vm.NetworkMode
	// NetworkLimits bound what passes a network device.
	NetworkLimits = vm.NetworkLimits
	// RateLimit bounds one way.
	RateLimit = vm.RateLimit
	// Capture says where what passes a network device is written to.
	Capture = vm.Capture
	// Cable is the descriptor that a network device leads to.
	Cable = vm.Cable
	// Framing says how frames lie on it.
	Framing = vm.Framing
	// SharedConfig is what a network of several machines is made from.
	SharedConfig = lan.Config
	// HostName is a static name.
	HostName = vm.HostName
	// Forward is a port of the guest that the host's side reaches.
	Forward = vm.Forward
	// ForwardProtocol is what a forwarded port speaks.
	ForwardProtocol = vm.ForwardProtocol
	// GuestConfig is what the machine's agent sets up and runs in the guest.
	GuestConfig = vm.GuestConfig
	// AgentPlace says how the agent gets into the guest.
	AgentPlace = vm.AgentPlace
	// RootConfig is the guest's root directory.
	RootConfig = vm.RootConfig
	// RootKind says what that is.
	RootKind = vm.RootKind
	// Overlay says where what is written to the root directory goes.
	Overlay = vm.Overlay
	// Mount is something that the agent mounts.
	Mount = vm.Mount
	// MountKind says what is mounted.
	MountKind = vm.MountKind
	// GuestNetwork is how the agent sets the guest's network up.
	GuestNetwork = vm.GuestNetwork
	// ProgramConfig is the main program of a machine.
	ProgramConfig = vm.ProgramConfig
	// ConsoleConfig is the guest's console.
	ConsoleConfig = vm.ConsoleConfig

	// Isolation says in which process a machine runs.
	Isolation = vm.Isolation
	// Jail says how much a machine's own process is confined.
	Jail = vm.Jail

	// Exit is the record of how a machine ended.
	Exit = vm.Exit
	// Cause says why it ended.
	Cause = vm.Cause
	// State is where a machine is in its life.
	State = vm.State
	// Stats is a snapshot of a machine's counters.
	Stats = vm.Stats
	// DeviceStats are the counters of one device.
	DeviceStats = vm.DeviceStats
	// Share is a directory of the host that the guest mounts.
	Share = vm.Share
	// ShareCache says how long the guest may answer from its own memory.
	ShareCache = vm.ShareCache
	// ShareOwner says who the guest's files belong to.
	ShareOwner = vm.ShareOwner
	// ShareXattr says which extended attributes the guest sees.
	ShareXattr = vm.ShareXattr
	// IDRange maps ids of the guest to those of the host.
	IDRange = vm.IDRange
	// ShareStats are the counters that only shares have.
	ShareStats = vm.ShareStats
	// DiskStats are the counters that only disks have.
	DiskStats = vm.DiskStats
	// VsockStats are the counters that only the socket device has.
	VsockStats = vm.VsockStats
	// NetStats are the counters that only the network device has.
	NetStats = vm.NetStats
	// FlowStats are the counters of one class of flows.
	FlowStats = vm.FlowStats
	// DNSStats are the counters of the gateway's DNS.
	DNSStats = vm.DNSStats
	// BalloonStats say how far the guest is with its memory target.
	BalloonStats = vm.BalloonStats
	// GuestMemory is what the guest's kernel says of its memory.
	GuestMemory = vm.GuestMemory
	// Timeline says when things happened.
	Timeline = vm.Timeline
	// Event is something that happened to a machine.
	Event = vm.Event
	// EventType says what an Event is about.
	EventType = vm.EventType
	// Capabilities is what a backend can do on this host.
	Capabilities = vm.Capabilities
	// Feature names one of them.
	Feature = vm.Feature
	// Backend makes machines; UseBackend takes one.
	Backend = vm.Backend

	// Pattern is what Reader.Expect looks for; see Literal and Regexp.
	Pattern = console.Pattern
	// Match is what it found.
	Match = console.Match
	// ExpectError is inside the error of an Expect that found nothing; get it
	// with errors.As. It has the end of the output.
	ExpectError = console.ExpectError
	// RunResult is the outcome of a command that Console.Run ran.
	RunResult = console.RunResult
)

// The kinds of errors.
const (
	KindInvalidArg  = vm.KindInvalidArg
	KindHandle      = vm.KindHandle
	KindState       = vm.KindState
	KindConfig      = vm.KindConfig
	KindUnsupported = vm.KindUnsupported
	KindUnavailable = vm.KindUnavailable
	KindNotFound    = vm.KindNotFound
	KindExists      = vm.KindExists
	KindPermission  = vm.KindPermission
	KindNoMemory    = vm.KindNoMemory
	KindLimit       = vm.KindLimit
	KindTimeout     = vm.KindTimeout
	KindCancelled   = vm.KindCancelled
	KindClosed      = vm.KindClosed
	KindIO          = vm.KindIO
	KindBoot        = vm.KindBoot
	KindGuest       = vm.KindGuest
	KindProtocol    = vm.KindProtocol
	KindVMMDied     = vm.KindVMMDied
	KindForked      = vm.KindForked
	KindInternal    = vm.KindInternal
)

// The states of a machine.
const (
	StateCreated  = vm.StateCreated
	StateStarting = vm.StateStarting
	StateRunning  = vm.StateRunning
	StatePaused   = vm.StatePaused
	StateStopping = vm.StateStopping
	StateStopped  = vm.StateStopped
	StateFailed   = vm.StateFailed
)

// The causes of a machine's end.
const (
	CauseGuestShutdown = vm.CauseGuestShutdown
	CauseMainExited    = vm.CauseMainExited
	CauseReboot        = vm.CauseReboot
	CausePanic         = vm.CausePanic
	CauseOutOfMemory   = vm.CauseOutOfMemory
	CauseStopped       = vm.CauseStopped
	CauseKilled        = vm.CauseKilled
	CauseTimedOut      = vm.CauseTimedOut
	CauseVMMCrash      = vm.CauseVMMCrash
	CauseBootFailed    = vm.CauseBootFailed
	CauseTripleFault   = vm.CauseTripleFault
)

// The types of events.
const (
	EventState       = vm.EventState
	EventReady       = vm.EventReady
	EventExited      = vm.EventExited
	EventExecExited  = vm.EventExecExited
	EventConsoleData = vm.EventConsoleData
	EventPortBound   = vm.EventPortBound
	EventPolicyDeny  = vm.EventPolicyDeny
	EventOOM         = vm.EventOOM
	EventLog         = vm.EventLog
	EventLost        = vm.EventLost
	EventDiskError   = vm.EventDiskError
	EventCrashKernel = vm.EventCrashKernel
	EventLink        = vm.EventLink
)

// The formats of images.
const (
	DiskAuto  = vm.DiskAuto
	DiskRaw   = vm.DiskRaw
	DiskQcow2 = vm.DiskQcow2

	ShareCacheAuto   = vm.ShareCacheAuto
	ShareCacheNone   = vm.ShareCacheNone
	ShareCacheAlways = vm.ShareCacheAlways

	ShareSquash      = vm.ShareSquash
	SharePassthrough = vm.SharePassthrough
	ShareCaller      = vm.ShareCaller
	ShareRanges      = vm.ShareRanges

	ShareXattrUser = vm.ShareXattrUser
	ShareXattrNone = vm.ShareXattrNone
	ShareXattrAll  = vm.ShareXattrAll
)

// The processes in which a machine can run.
const (
	IsolationDefault = vm.IsolationDefault
	IsolationNone    = vm.IsolationNone
	IsolationProcess = vm.IsolationProcess
)

// How much a process of a machine's own is confined. JailFull: as far as this library
// goes, and what the host cannot do is an error. JailPartial: as far as the host goes.
const (
	JailFull    = vm.JailFull
	JailPartial = vm.JailPartial
	JailOff     = vm.JailOff
)

// The modes of bound ports. VsockModeListen: the host listens at the path, where
// nothing may be yet, and connects each client there to the guest's port.
// VsockModeConnect: the guest connects to the port of the host, and for each
// connection the host connects to the path.
const (
	VsockModeListen  = vm.VsockListen
	VsockModeConnect = vm.VsockConnect
)

// What is at the other end of the guest's cable: nothing, a network of the machine's
// own in user space, the platform's, one of several machines (Builder.Attach), a
// descriptor (Builder.AttachFD), a TAP interface (Builder.AttachTAP).
const (
	NetworkNone   = vm.NetworkNone
	NetworkUser   = vm.NetworkUser
	NetworkNAT    = vm.NetworkNAT
	NetworkShared = vm.NetworkShared
	NetworkFD     = vm.NetworkFD
	NetworkTAP    = vm.NetworkTAP
)

// How frames lie on a descriptor: each after its length, as a message, as on a TAP.
const (
	FramingStream   = vm.FramingStream
	FramingDatagram = vm.FramingDatagram
	FramingTAP      = vm.FramingTAP
)

// How the agent gets into the guest: not at all; in the library's own initial file
// system; added to the one that is given; it is there and the guest starts it.
const (
	AgentNone      = vm.AgentNone
	AgentInitrd    = vm.AgentInitrd
	AgentAdded     = vm.AgentAdded
	AgentInstalled = vm.AgentInstalled
)

// What becomes the guest's root directory: the initial file system, that of a disk, a
// shared directory.
const (
	RootInitrd = vm.RootInitrd
	RootDisk   = vm.RootDisk
	RootShare  = vm.RootShare
)

// Where what is written to the root directory goes: the guest's memory, a disk, the
// root itself.
const (
	OverlayMemory = vm.OverlayMemory
	OverlayDisk   = vm.OverlayDisk
	OverlayNone   = vm.OverlayNone
)

// What is mounted: a share, a disk, memory.
const (
	MountShare = vm.MountShare
	MountDisk  = vm.MountDisk
	MountTmpfs = vm.MountTmpfs
)

// How the guest's network is set up: by DHCP if it has one, as told, not by the agent.
const (
	NetworkDHCP   = vm.NetworkDHCP
	NetworkStatic = vm.NetworkStatic
	NetworkManual = vm.NetworkManual
)

// What a forwarded port speaks.
const (
	ForwardTCP = vm.ForwardTCP
	ForwardUDP = vm.ForwardUDP
)

// The types of sockets.
const (
	VsockStream    = vm.VsockStream
	VsockSeqPacket = vm.VsockSeqPacket
)

// MiB is the unit of memory sizes, in bytes.
const MiB = vm.MiB
