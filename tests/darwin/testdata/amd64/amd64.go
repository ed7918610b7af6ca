// Package amd64 uses what the bindings have on Apple silicon alone.
package amd64

import vzf "github.com/Code-Hex/vz/v3"

func save(vm *vzf.VirtualMachine) error {
	return vm.SaveMachineStateToPath("/state") // want "SaveMachineStateToPath"
}
