// Package types has mistakes in the use of the bindings, each with what the checks say.
package types

import (
	"os"

	vzf "github.com/Code-Hex/vz/v3"
	"golang.org/x/sys/unix"
)

func mistakes(cfg *vzf.VirtualMachineConfiguration, vm *vzf.VirtualMachine, f *os.File) error {
	nic := &vzf.VirtioNetworkDeviceConfiguration{}
	nic.SetMacAddress(nil)                                              // want "SetMacAddress"
	_, err := vzf.NewFileHandleNetworkDeviceAttachment(f.Fd())          // want "cannot use f.Fd()"
	_ = vzf.NewVirtioEntropyDeviceConfiguration()                       // want "2 values"
	_ = vzf.DiskImageCachingModeWriteBack                               // want "DiskImageCachingModeWriteBack"
	_ = unix.PR_SET_PDEATHSIG                                           // want "PR_SET_PDEATHSIG"
	cfg.SetMemoryBalloonDevicesVirtualMachineConfiguration("a balloon") // want "a balloon"
	_ = [1]struct{}{}[1-int(vzf.DiskImageCachingModeCached)]            // want "must not be negative"
	vm.Stop(1)                                                          // want "too many arguments"
	return err
}
