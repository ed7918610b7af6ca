package hold

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/libcapsa/libcapsa/capsa"
	"github.com/libcapsa/libcapsa/internal/vm"
)

// request is the first frame of a connection; of the others, those of a program have Op "signal" or "resize".
type request struct {
	Op      string         `json:"op"`
	Exec    *Command       `json:"exec,omitempty"`
	Copy    *Copy          `json:"copy,omitempty"`
	Forward *capsa.Forward `json:"forward,omitempty"`
	Grace   time.Duration  `json:"grace,omitempty"`
	Follow  bool           `json:"follow,omitempty"`
	ID      uint32         `json:"id,omitempty"`
	Path    string         `json:"path,omitempty"`
	Signal  int            `json:"signal,omitempty"`
	Cols    uint16         `json:"cols,omitempty"`
	Rows    uint16         `json:"rows,omitempty"`
}

// reply answers it.
type reply struct {
	Error    *fault            `json:"error,omitempty"`
	Info     *Info             `json:"info,omitempty"`
	PID      int               `json:"pid,omitempty"`
	Exit     *capsa.ExitStatus `json:"exit,omitempty"`
	Stage    capsa.Stage       `json:"stage,omitempty"`
	Stats    *Stats            `json:"stats,omitempty"`
	Forwards []capsa.Forward   `json:"forwards,omitempty"`
	Dir      bool              `json:"dir,omitempty"`
}

// Command is a program to be run in the guest.
type Command struct {
	Args    []string      `json:"args"`
	Env     []string      `json:"env,omitempty"`
	Dir     string        `json:"dir,omitempty"`
	User    string        `json:"user,omitempty"`
	TTY     bool          `json:"tty,omitempty"`
	Cols    uint16        `json:"cols,omitempty"`
	Rows    uint16        `json:"rows,omitempty"`
	Stdin   bool          `json:"stdin,omitempty"` // it has one
	Memory  uint64        `json:"memory,omitempty"`
	Pids    uint64        `json:"pids,omitempty"`
	Timeout time.Duration `json:"timeout,omitempty"`
}

// Copy is a copy between host and guest. Paths of the host are absolute.
type Copy struct {
	In        bool   `json:"in"`
	From      string `json:"from"`
	To        string `json:"to"`
	KeepOwner bool   `json:"keep_owner,omitempty"`
	Archive   bool   `json:"archive,omitempty"` // the host's side is a tar stream, whose descriptor comes along
}

// Info says what a machine is.
type Info struct {
	Name     string          `json:"name"`
	PID      int             `json:"pid"` // of the holder
	Image    string          `json:"image,omitempty"`
	Command  []string        `json:"command,omitempty"`
	State    string          `json:"state"`
	Started  time.Time       `json:"started"`
	CPUs     int             `json:"cpus"`
	Memory   uint64          `json:"memory"`  // bytes
	Sandbox  bool            `json:"sandbox"` // programs can be run in it
	Forwards []capsa.Forward `json:"forwards,omitempty"`
}

// Stats are the counters of a machine, and of its guest if that answers.
type Stats struct {
	Machine capsa.Stats       `json:"machine"`
	Guest   *capsa.GuestStats `json:"guest,omitempty"`
}

// fault is an error on its way to another process.
type fault struct {
	Op          string       `json:"op,omitempty"`
	Kind        capsa.Kind   `json:"kind"`
	Component   string       `json:"component,omitempty"`
	Path        string       `json:"path,omitempty"`
	Hint        string       `json:"hint,omitempty"`
	Problems    []vm.Problem `json:"problems,omitempty"`
	ConsoleTail []byte       `json:"console_tail,omitempty"`
	Text        string       `json:"text,omitempty"`
}

func faultOf(err error) *fault {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*vm.Error](err)
	if !ok {
		return &fault{Kind: vm.KindOf(err), Text: err.Error()}
	}
	f := &fault{
		Op: e.Op, Kind: e.Kind, Component: e.Component, Path: e.Path, Hint: e.Hint, Problems: e.Problems,
		ConsoleTail: e.ConsoleTail,
	}
	if e.Err != nil {
		f.Text = e.Err.Error()
	}
	return f
}

// err is the error again.
func (f *fault) err() error {
	if f == nil {
		return nil
	}
	e := &vm.Error{
		Op: f.Op, Kind: f.Kind, Component: f.Component, Path: f.Path, Hint: f.Hint, Problems: f.Problems,
		ConsoleTail: f.ConsoleTail,
	}
	if f.Text != "" {
		e.Err = errors.New(f.Text)
	}
	return e
}

// Spec is what a holder is told to hold.
type Spec struct {
	Name    string          `json:"name"`
	Image   string          `json:"image,omitempty"`
	Config  json.RawMessage `json:"config"`            // of the machine, in the builder's JSON form
	Command *Command        `json:"command,omitempty"` // runs as long as the machine
	Keep    bool            `json:"keep,omitempty"`    // the command's output is kept; else it is somebody's who sees it
}
