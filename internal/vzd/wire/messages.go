package wire

import (
	"encoding/json"
	"net/netip"
	"time"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// The methods of requests.
const (
	MethodHello         = "hello"          // Hello → Welcome; the first
	MethodCapabilities  = "capabilities"   // → vm.Capabilities
	MethodCreate        = "create"         // Config and the ends of the streams → Created
	MethodStart         = "start"          // and so on: the methods of vm.Machine
	MethodPause         = "pause"          //
	MethodResume        = "resume"         //
	MethodPowerButton   = "power_button"   //
	MethodKill          = "kill"           // Kill
	MethodResize        = "resize"         // Resize
	MethodMemoryTarget  = "memory_target"  // MemoryTarget
	MethodSave          = "save"           // Save
	MethodStats         = "stats"          // → vm.Stats
	MethodVsockConnect  = "vsock_connect"  // Vsock → a descriptor
	MethodVsockListen   = "vsock_listen"   // Vsock → a descriptor
	MethodVsockUnlisten = "vsock_unlisten" // Vsock
	MethodAddForward    = "add_forward"    // Forward → Forward
	MethodRemoveForward = "remove_forward" // RemoveForward
	MethodForwards      = "forwards"       // → []Forward
	MethodSetPolicy     = "set_policy"     // SetPolicy
	MethodSetLink       = "set_link"       // SetLink
	MethodSetLimits     = "set_limits"     // vm.NetworkLimits
	MethodSetCapture    = "set_capture"    // SetCapture, and a descriptor if there is one
	MethodSetCable      = "set_cable"      // a descriptor
	MethodClose         = "close"          // → Closed; the last
)

// TempPrefix begins the name of a daemon's directory for temporary files, its
// TMPDIR. The client makes and removes it; a daemon that outlives its client removes
// it too.
const TempPrefix = "capsa-vzd-"

// The streams that go over sockets of their own, whose ends come with create.
const (
	StreamConsole = 0 // the guest's console: output to the client, input to the daemon
	StreamSerial  = 1 // the early boot log, to the client
	Streams       = 2
)

// Output is how many bytes the daemon has sent on each stream. Whoever gets it has
// to see these bytes first.
type Output [Streams]uint64

// Request is the body of a request.
type Request struct {
	Method string          `json:"method"`
	Params json.RawMessage `json:"params,omitempty"`
}

// Response is the body of a response.
type Response struct {
	Error  *Error          `json:"error,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Output Output          `json:"output"`
}

// Notice is the body of an event. Exactly one of Event and Exited is there.
type Notice struct {
	Event  *Event `json:"event,omitempty"`
	Exited *Exit  `json:"exited,omitempty"` // the machine has ended; once
	Output Output `json:"output"`
}

// Log is the body of a log: what the daemon has to say of itself.
type Log struct {
	Component string `json:"component"`
	Message   text   `json:"message"`
}

// Hello is what the client says of itself.
type Hello struct {
	Proto  int    `json:"proto"`
	Client string `json:"client"` // for logs: "libcapsa 0.1.0"
}

// Welcome is what the daemon says of itself.
type Welcome struct {
	Proto   int    `json:"proto"`
	PID     int    `json:"pid"`
	Backend string `json:"backend"`
}

// Created is the result of MethodCreate.
type Created struct {
	Stats vm.Stats `json:"stats"`
	Jail  string   `json:"jail,omitempty"` // what confines the daemon, in words; "": nothing
}

// Kill are the parameters of MethodKill.
type Kill struct {
	Cause vm.Cause `json:"cause"`
}

// Resize are the parameters of MethodResize, in characters.
type Resize struct {
	Cols uint16 `json:"cols"`
	Rows uint16 `json:"rows"`
}

// Save are the parameters of MethodSave.
type Save struct {
	Path text `json:"path"`
}

// EncodeSave makes the form of a path.
func EncodeSave(path string) Save { return Save{Path: text(path)} }

// Decode is the path.
func (s Save) Decode() string { return string(s.Path) }

// MemoryTarget are the parameters of MethodMemoryTarget.
type MemoryTarget struct {
	Bytes uint64 `json:"bytes"`
}

// Vsock are the parameters of the methods for sockets.
type Vsock struct {
	Type    vm.VsockType `json:"type,omitempty"`
	Port    uint32       `json:"port"`
	Backlog int          `json:"backlog,omitempty"`
}

// Forward is a vm.Forward.
type Forward struct {
	ID       uint32             `json:"id,omitempty"`
	Protocol vm.ForwardProtocol `json:"protocol"`
	Host     netip.AddrPort     `json:"host"`
	Path     text               `json:"path,omitempty"`
	Guest    uint16             `json:"guest_port"`
}

// EncodeForward makes the form of a forward.
func EncodeForward(f vm.Forward) Forward {
	return Forward{ID: f.ID, Protocol: f.Protocol, Host: f.Host, Path: text(f.Path), Guest: f.Guest}
}

// Decode is the forward.
func (f Forward) Decode() vm.Forward {
	return vm.Forward{ID: f.ID, Protocol: f.Protocol, Host: f.Host, Path: string(f.Path), Guest: f.Guest}
}

// RemoveForward are the parameters of MethodRemoveForward.
type RemoveForward struct {
	ID uint32 `json:"id"`
}

// SetPolicy are the parameters of MethodSetPolicy: the policy's text, which need not
// be JSON; nil: none.
type SetPolicy struct {
	Policy *text `json:"policy,omitempty"`
}

// EncodePolicy makes the form of a policy.
func EncodePolicy(policy json.RawMessage) SetPolicy {
	if policy == nil {
		return SetPolicy{}
	}
	t := text(policy)
	return SetPolicy{Policy: &t}
}

// Decode is the policy.
func (p SetPolicy) Decode() json.RawMessage {
	if p.Policy == nil {
		return nil
	}
	return append(json.RawMessage{}, *p.Policy...)
}

// SetLink are the parameters of MethodSetLink.
type SetLink struct {
	Up bool `json:"up"`
}

// SetCapture are the parameters of MethodSetCapture: a vm.Capture, whose descriptor
// comes with the request.
type SetCapture struct {
	SnapLen int    `json:"snap_len,omitempty"`
	MaxSize uint64 `json:"max_size,omitempty"`
}

// Closed is the result of MethodClose: what stays of a machine.
type Closed struct {
	Stats vm.Stats `json:"stats"`
}

// Exit is a vm.Exit.
type Exit struct {
	Cause     vm.Cause      `json:"cause"`
	Code      int32         `json:"code,omitempty"`
	Signal    int32         `json:"signal,omitempty"`
	PanicText text          `json:"panic_text,omitempty"`
	Detail    text          `json:"detail,omitempty"`
	Uptime    time.Duration `json:"uptime_ns,omitempty"`
	Error     *Error        `json:"error,omitempty"`
}

// EncodeExit makes the form of an exit record.
func EncodeExit(e vm.Exit) *Exit {
	return &Exit{
		Cause: e.Cause, Code: e.Code, Signal: e.Signal, PanicText: clip(e.PanicText), Detail: clip(e.Detail),
		Uptime: e.Uptime, Error: EncodeError("run", e.Err),
	}
}

// Decode is the record. A cause that is not known is a failure of the daemon's.
func (e *Exit) Decode() vm.Exit {
	out := vm.Exit{
		Cause: e.Cause, Code: e.Code, Signal: e.Signal, PanicText: string(e.PanicText), Detail: string(e.Detail),
		Uptime: max(e.Uptime, 0), Err: e.Error.Decode(),
	}
	if !e.Cause.Known() {
		out.Err = vm.Errorf(vm.KindProtocol, "run", "the daemon gave the cause %d", int32(e.Cause)).WithComponent("vzd")
		out.Cause = vm.CauseVMMCrash
	}
	return out
}

// Event is a vm.Event.
type Event struct {
	Type      vm.EventType `json:"type"`
	Time      time.Time    `json:"time,omitzero"`
	State     vm.State     `json:"state,omitempty"`
	Exit      *Exit        `json:"exit,omitempty"`
	Component text         `json:"component,omitempty"`
	Message   text         `json:"message,omitempty"`
	Disk      int          `json:"disk,omitempty"`
	Forward   *Forward     `json:"forward,omitempty"`
	Lost      uint64       `json:"lost,omitempty"`
	Up        bool         `json:"up,omitempty"`
}

// EncodeEvent makes the form of an event.
func EncodeEvent(e vm.Event) *Event {
	out := &Event{
		Type: e.Type, Time: e.Time, State: e.State, Component: clip(e.Component), Message: clip(e.Message),
		Disk: e.Disk, Lost: e.Lost, Up: e.Up,
	}
	if e.Forward != nil {
		f := EncodeForward(*e.Forward)
		out.Forward = &f
	}
	if e.Exit != nil {
		out.Exit = EncodeExit(*e.Exit)
	}
	return out
}

// Decode is the event.
func (e *Event) Decode() vm.Event {
	out := vm.Event{
		Type: e.Type, Time: e.Time, State: e.State, Component: string(e.Component), Message: string(e.Message),
		Disk: e.Disk, Lost: e.Lost, Up: e.Up,
	}
	if e.Forward != nil {
		f := e.Forward.Decode()
		out.Forward = &f
	}
	if e.Exit != nil {
		exit := e.Exit.Decode()
		out.Exit = &exit
	}
	return out
}

// EncodeBody makes the body of a frame.
func EncodeBody(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, vm.Errorf(vm.KindInternal, "send", "%T: %w", v, err).WithComponent("vzd")
	}
	if len(b) > MaxBody {
		return nil, vm.Errorf(vm.KindLimit, "send", "a message of %d bytes; at most %d can be sent", len(b), MaxBody).WithComponent("vzd")
	}
	return b, nil
}

// DecodeBody reads the body of a frame, or a part of it, into v. The error is of
// KindProtocol. Nothing at all leaves v as it is.
func DecodeBody(b []byte, v any) error {
	if len(b) == 0 {
		return nil
	}
	if err := json.Unmarshal(b, v); err != nil {
		return violation("%T: %w", v, err)
	}
	return nil
}

// EncodeLog makes the form of a log.
func EncodeLog(component, message string) Log {
	return Log{Component: component, Message: clip(message)}
}

// Words are the log's message.
func (l Log) Words() string { return string(l.Message) }
