// Package lint compiles, and the linters find what is wrong with it.
package lint

import (
	"fmt"
	"os"

	vzf "github.com/Code-Hex/vz/v3"
)

func forgotten(vm *vzf.VirtualMachine) { // want "unused"
	fmt.Println(vm)
}

// Ignored ignores an error.
func Ignored(vm *vzf.VirtualMachine) {
	vm.Stop() // want "errcheck"
}

// Dead assigns what nobody reads.
func Dead(vm *vzf.VirtualMachine) error {
	err := vm.Start() // want "ineffassign"
	err = vm.Pause()  // want "ineffassign|SA4006"
	err = vm.Resume()
	return err
}

// Printed prints something else than it says.
func Printed(f *os.File) {
	fmt.Printf("%d\n", f.Name()) // want "govet|printf"
}
