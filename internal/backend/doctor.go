package backend

import (
	"errors"
	"runtime"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// Report says what works on this host. It is meant to be encoded as JSON.
type Report struct {
	Platform string          `json:"platform"`          // operating system and architecture of this build: "linux/amd64"
	OK       bool            `json:"ok"`                // some backend works
	Default  string          `json:"default,omitempty"` // the backend that is used when none is named
	Backends []BackendReport `json:"backends"`
}

// BackendReport says whether one backend works here, and what to do if not.
type BackendReport struct {
	Name         string           `json:"name"`
	Usable       bool             `json:"usable"`
	Capabilities *vm.Capabilities `json:"capabilities,omitempty"` // when usable
	Isolated     bool             `json:"isolated"`               // machines can run in processes of their own
	Isolation    string           `json:"isolation,omitempty"`    // why not, and what to do, when the backend could
	Kind         string           `json:"kind,omitempty"`         // "permission denied"; when not usable
	Problem      string           `json:"problem,omitempty"`      // why not, in one line
	Hint         string           `json:"hint,omitempty"`         // how to fix it
}

// Doctor asks every backend. It changes nothing on the host.
func Doctor() Report { return examine(all()) }

func examine(entries []entry) Report {
	r := Report{Platform: runtime.GOOS + "/" + runtime.GOARCH}
	for _, e := range entries {
		b := e.examine()
		if b.Usable && !r.OK {
			r.OK, r.Default = true, e.name
		}
		r.Backends = append(r.Backends, b)
	}
	return r
}

func (e entry) examine() BackendReport {
	b := BackendReport{Name: e.name}
	var err error = e.missing
	if e.backend != nil {
		var caps vm.Capabilities
		if caps, err = e.backend.Capabilities(); err == nil {
			b.Usable, b.Capabilities = true, &caps
			if e.isolated != nil {
				_, err := e.isolated.Capabilities()
				if b.Isolated = err == nil; err != nil {
					b.Isolation = err.Error()
				}
			}
			return b
		}
	}
	b.Kind, b.Problem = vm.KindOf(err).String(), err.Error()
	if typed, ok := errors.AsType[*vm.Error](err); ok {
		b.Problem, b.Hint = typed.Message(), typed.Hint
	}
	return b
}
