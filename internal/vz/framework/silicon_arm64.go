//go:build darwin && (cgo || vzstub)

package framework

import (
	"errors"

	vzf "github.com/Code-Hex/vz/v3"

	"github.com/libcapsa/libcapsa/internal/vz/plan"
)

// The plan's numbers are the framework's.
var (
	_ = [1]struct{}{}[int(plan.RosettaNotSupported)-int(vzf.LinuxRosettaAvailabilityNotSupported)]
	_ = [1]struct{}{}[int(plan.RosettaNotInstalled)-int(vzf.LinuxRosettaAvailabilityNotInstalled)]
	_ = [1]struct{}{}[int(plan.RosettaInstalled)-int(vzf.LinuxRosettaAvailabilityInstalled)]
)

func rosetta() plan.Rosetta { return plan.Rosetta(vzf.LinuxRosettaDirectoryShareAvailability()) }

func rosettaShare() (vzf.DirectoryShare, error) { return vzf.NewLinuxRosettaDirectoryShare() }

// savable says why a machine cannot be saved, or nil.
func savable(cfg *vzf.VirtualMachineConfiguration) error {
	ok, err := cfg.ValidateSaveRestoreSupport()
	if err == nil && !ok {
		err = errors.New("the framework cannot save a machine with these devices")
	}
	return err
}

func saveTo(m *vzf.VirtualMachine, path string) error { return m.SaveMachineStateToPath(path) }

func restoreFrom(m *vzf.VirtualMachine, path string) error { return m.RestoreMachineStateFromURL(path) }
