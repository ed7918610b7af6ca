// Package boot loads Linux into guest memory: kernel (bzImage or ELF vmlinux), initrd, command line, boot parameters, page
// tables, GDT and the code at the reset vector, and tells in which state the boot processor starts. It follows Linux's x86
// boot protocol (Documentation/arch/x86/boot.rst), entering in 64-bit mode.
//
// Kernel and initrd files are untrusted: everything is checked against the file's size and the guest's memory before a byte
// is copied, the work is bounded by the guest's memory, and no file is mapped: what machines share of one (Cache) is a copy of
// it. Errors are *vm.Error with the names and sizes concerned and a hint.
//
// The package does not know KVM. A Kernel or Initrd is for one goroutine at a time; the functions are otherwise pure.
package boot
