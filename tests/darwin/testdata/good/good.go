// Package good has no mistakes.
package good

import (
	"os"

	vzf "github.com/Code-Hex/vz/v3"
)

// Attach uses the bindings as they are.
func Attach(f *os.File) (*vzf.VirtioNetworkDeviceConfiguration, error) {
	a, err := vzf.NewFileHandleNetworkDeviceAttachment(f)
	if err != nil {
		return nil, err
	}
	return vzf.NewVirtioNetworkDeviceConfiguration(a)
}
