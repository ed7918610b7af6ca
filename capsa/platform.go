package capsa

import "github.com/libcapsa/libcapsa/internal/vm"

// What only some backends can do; where it is missing Build fails with KindUnsupported
// and says what it would take, as Doctor does.

// SetEFI makes the machine boot what firmware finds on its disks, in place of a kernel.
// variables is the host path of the file in which the firmware keeps its variables: it
// is made if need be, and belongs to one machine at a time; "" for a kernel.
func (b *Builder) SetEFI(variables string) error {
	return b.set("set EFI", func(p *vm.Problems) { p.EFI(vm.Config{EFI: vm.EFIBoot{Variables: variables}}) },
		func(c *vm.Config) { c.EFI.Variables = variables })
}

// SetRosetta gives a guest on Apple silicon the translator for programs for x86-64, in
// a shared directory with that tag, which the guest registers with binfmt_misc; "" for
// none. It is never installed on the host by itself.
func (b *Builder) SetRosetta(tag string) error {
	return b.set("set rosetta", func(p *vm.Problems) { p.Rosetta(vm.Config{Rosetta: tag}) }, func(c *vm.Config) { c.Rosetta = tag })
}

// SetRestore makes Start go on from what Save has written at path, of a machine of the
// same configuration whose disks are as they were; "" to boot.
func (b *Builder) SetRestore(path string) error {
	return b.set("set restore", func(p *vm.Problems) { p.Restore(path) }, func(c *vm.Config) { c.Restore = path })
}

// Save writes the state of a paused machine to a file, which must not be there yet, and
// more beside it with that name as the beginning of theirs. The machine stays paused; to
// go on with it is to spoil what was saved, unless it has no disk that it writes.
//
// Errors: KindState, KindUnsupported, KindExists, and those of the file system.
func (v *VM) Save(path string) error {
	const op = "save"
	v.op.Lock()
	defer v.op.Unlock()
	if s := v.State(); s != vm.StatePaused {
		return vm.Errorf(vm.KindState, op, "the machine is %s, not paused", s)
	}
	m, ok := v.machine.(vm.Saver)
	if !ok {
		return vm.Errorf(vm.KindUnsupported, op, "this backend cannot save a machine").WithHint("Doctor says which can")
	}
	err := m.Save(path)
	if ending(err) {
		return vm.Errorf(vm.KindState, op, "the machine has ended")
	}
	return vm.Wrap(op, err)
}
