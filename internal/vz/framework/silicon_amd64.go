//go:build darwin && (cgo || vzstub)

package framework

import (
	"errors"

	vzf "github.com/Code-Hex/vz/v3"

	"github.com/libcapsa/libcapsa/internal/vz/plan"
)

// errSilicon is never seen: plans for these processors have none of it.
var errSilicon = errors.New("BUG: it needs Apple silicon")

func rosetta() plan.Rosetta { return plan.RosettaNotSupported }

func rosettaShare() (vzf.DirectoryShare, error) { return nil, errSilicon }

func savable(*vzf.VirtualMachineConfiguration) error { return errSilicon }

func saveTo(*vzf.VirtualMachine, string) error { return errSilicon }

func restoreFrom(*vzf.VirtualMachine, string) error { return errSilicon }
