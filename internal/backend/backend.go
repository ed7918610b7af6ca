// Package backend knows every backend that there is and chooses one. It is the
// only package that does; what exists where is decided by build tags in its
// platform files.
//
// Package capsa calls it. It holds no state, and all functions are safe for
// concurrent use.
package backend

import (
	"slices"
	"strings"

	"github.com/libcapsa/libcapsa/internal/vm"
)

// entry is a backend by name: one that this build has, or the reason why not.
type entry struct {
	name    string
	backend vm.Backend // nil: not in this build
	missing *vm.Error  // why not, when backend is nil

	isolated vm.Backend // the same with each machine in a process of its own; nil: not possible
}

// Names returns the names of all backends, of this build or not, the preferred
// first.
func Names() []string {
	var names []string
	for _, e := range all() {
		names = append(names, e.name)
	}
	return names
}

// Default returns the best backend of this host. When none is usable the error is
// that of the preferred one, and its hint says what to do.
func Default() (vm.Backend, error) { return choose(all()) }

func choose(entries []entry) (vm.Backend, error) {
	var first error
	built := slices.DeleteFunc(slices.Clone(entries), func(e entry) bool { return e.backend == nil })
	if len(built) == 1 {
		return built[0].backend, nil // its own calls say whether it works
	}
	for _, e := range built {
		_, err := e.backend.Capabilities()
		if err == nil {
			return e.backend, nil
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		first = entries[0].missing
	}
	return nil, first
}

// ByName returns the backend of that name, whether it works on this host or not.
// The error is of KindUnsupported for a backend that this build does not have, and
// of KindNotFound for a name that means nothing.
func ByName(name string) (vm.Backend, error) { return find(all(), name) }

func find(entries []entry, name string) (vm.Backend, error) {
	for _, e := range entries {
		switch {
		case e.name != name:
		case e.backend == nil:
			return nil, e.missing
		default:
			return e.backend, nil
		}
	}
	return nil, vm.Errorf(vm.KindNotFound, "choose backend", "there is no backend %q", name).
		WithComponent("backend").WithHint("known are: " + strings.Join(Names(), ", "))
}

// Isolated returns the backend of that name with each machine in a process of its
// own. Errors: those of ByName, and KindUnsupported.
func Isolated(name string) (vm.Backend, error) { return isolate(all(), name) }

func isolate(entries []entry, name string) (vm.Backend, error) {
	if _, err := find(entries, name); err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.name == name && e.isolated != nil {
			return e.isolated, nil
		}
	}
	return nil, vm.Errorf(vm.KindUnsupported, "choose backend", "%s runs machines in the caller's process only", name).
		WithComponent("backend").WithHint(`do without isolation "process"`)
}

// absent is the entry of a backend that this build does not have.
func absent(name, why, hint string) entry {
	return entry{name: name, missing: vm.Errorf(vm.KindUnsupported, "choose backend", "%s: %s", name, why).
		WithComponent(name).WithHint(hint)}
}
