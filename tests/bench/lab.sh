#!/bin/sh
# lab.sh BUILD ROUNDS: the part of the benchmark that boots Linux. Prints samples. run.sh starts it on real KVM.
set -eu
build=$1 rounds=$2
kernel=$build/guest/bzImage initrd=$build/bench/initrd.cpio
capsa="$build/bench/once $kernel $initrd"
# QEMU's leanest machine, as its documentation has it (docs/system/i386/microvm.rst), with the arguments that libcapsa
# gives. It has no keyboard controller to reset it, which Linux would wait for: reboot=t.
args='quiet console=hvc0 panic=-1 reboot=t pci=off tsc=reliable no_timer_check random.trust_cpu=on'
qemu="qemu-system-x86_64 -M microvm,x-option-roms=off,pit=off,pic=off,isa-serial=off,rtc=off -accel kvm -cpu host -m 256
	-nodefaults -no-user-config -nographic -no-reboot -kernel $kernel -initrd $initrd
	-device virtio-serial-device -chardev null,id=c -device virtconsole,chardev=c"
"$build/bench/boot" "$rounds" $capsa -- $qemu -append "$args"
"$(dirname "$0")/counts.sh" ours $capsa
"$(dirname "$0")/counts.sh" peer $qemu -append "$args"
