//go:build linux && amd64

package jail

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/libcapsa/libcapsa/internal/vm"
	"github.com/libcapsa/libcapsa/internal/vzd"
)

// Options let a session confine its process.
func Options() vzd.Options {
	return vzd.Options{Confine: func(cfg vm.Config) (func() (string, error), error) {
		return Enter(cfg, os.Getenv("TMPDIR"))
	}}
}

const component = "jail"

// hint is what a person does about a jail that is not possible.
const hint = `ask for less: jail "partial" takes what there is`

// Enter confines the process to the files of a machine. seal confines it further,
// once the machine is made, and says what holds then. temp is the process's
// directory for temporary files, or "".
func Enter(cfg vm.Config, temp string) (seal func() (string, error), err error) {
	if cfg.Jail == vm.JailOff {
		return func() (string, error) { return "", nil }, nil
	}
	var held []string
	step := func(what string, err error) error {
		switch {
		case err == nil:
			held = append(held, what)
			return nil
		case cfg.Jail == vm.JailPartial:
			held = append(held, "no "+what+" ("+err.Error()+")")
			return nil
		}
		kind := vm.KindOf(err)
		if errors.Is(err, errMissing) {
			kind = vm.KindUnsupported
		}
		return vm.Errorf(kind, "confine the daemon", "%s: %w", what, err).WithComponent(component).WithHint(hint)
	}
	if err := step("new privileges are off", noNewPrivileges()); err != nil {
		return nil, err
	}
	abi, err := restrictFiles(rules(cfg, temp), cfg.Network.Mode == vm.NetworkUser)
	if err := step(fmt.Sprintf("Landlock (ABI %d)", abi), err); err != nil {
		return nil, err
	}
	return func() (string, error) {
		if !needsCapabilities(cfg) {
			if err := step("capabilities dropped", dropCapabilities()); err != nil {
				return "", err
			}
		}
		calls := allowed(cfg)
		if err := step(fmt.Sprintf("seccomp (%d system calls)", len(calls)), restrictCalls(calls, cfg)); err != nil {
			return "", err
		}
		return strings.Join(held, ", "), nil
	}, nil
}

// errMissing is the cause of a jail that this kernel or build cannot make.
var errMissing = errors.New("it is not possible here")

// needsCapabilities says whether a machine serves files as other users.
func needsCapabilities(cfg vm.Config) bool {
	for _, s := range cfg.Shares {
		if s.Owner == vm.SharePassthrough || s.Owner == vm.ShareRanges || s.HostUID != nil || s.HostGID != nil {
			return true
		}
	}
	return false
}
