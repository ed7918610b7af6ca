# qemu.sh: sourced; QEMU's leanest machine, as its documentation has it (docs/system/i386/microvm.rst), with the arguments
# that libcapsa gives. $qemu KERNEL is a machine whose console is the chardev c, which is to be added; $args are the
# kernel's. It has no keyboard controller to reset it, which Linux would wait for: reboot=t.
args='quiet console=hvc0 panic=-1 reboot=t pci=off tsc=reliable no_timer_check random.trust_cpu=on'
microvm=microvm,x-option-roms=off,pit=off,pic=off,isa-serial=off,rtc=off
qemu() {
	options=$1
	shift
	echo "qemu-system-x86_64 -M $microvm$options -accel kvm -cpu host -m 256 -nodefaults -no-user-config -nographic -no-reboot
	-kernel $kernel -device virtio-serial-device -device virtconsole,chardev=c $*"
}
