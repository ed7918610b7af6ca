#define _GNU_SOURCE
#include "floor.h"

#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* in real mode at 0x1000: mov $'x',%al; out %al,$0x42 */
static const uint8_t code[] = {0xb0, 'x', 0xe6, 0x42, 0xf4};

static int cpuid(int kvm, int vcpu) {
    struct {
        struct kvm_cpuid2 head;
        struct kvm_cpuid_entry2 entries[256];
    } table;
    memset(&table, 0, sizeof table);
    table.head.nent = 256;
    if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &table) < 0) return -1;
    return ioctl(vcpu, KVM_SET_CPUID2, &table);
}

static int enter(struct floor_vm *f) {
    struct kvm_sregs s;
    struct kvm_regs r = {.rip = 0x1000, .rflags = 2};
    if (ioctl(f->vcpu, KVM_GET_SREGS, &s) < 0) return -1;
    s.cs.base = 0;
    s.cs.selector = 0;
    if (ioctl(f->vcpu, KVM_SET_SREGS, &s) < 0 || ioctl(f->vcpu, KVM_SET_REGS, &r) < 0) return -1;
    if (ioctl(f->vcpu, KVM_RUN, 0) < 0) return -1;
    return ((struct kvm_run *)f->run)->exit_reason == KVM_EXIT_IO ? 0 : -1;
}

int floor_create(struct floor_vm *f, int kvm, size_t memory) {
    *f =
        (struct floor_vm){.vm = -1, .vcpu = -1, .memfd = -1, .ram = MAP_FAILED, .run = MAP_FAILED, .ram_size = memory};
    f->vm = ioctl(kvm, KVM_CREATE_VM, 0);
    if (f->vm < 0) return -1;
    if (ioctl(f->vm, KVM_SET_TSS_ADDR, 0xfffbd000ul) < 0) return -1;
    f->memfd = memfd_create("floor", MFD_CLOEXEC);
    if (f->memfd < 0 || ftruncate(f->memfd, (off_t)memory) < 0) return -1;
    f->ram = mmap(NULL, memory, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, f->memfd, 0);
    if (f->ram == MAP_FAILED) return -1;
    memcpy((char *)f->ram + 0x1000, code, sizeof code);
    struct kvm_userspace_memory_region region = {.memory_size = memory, .userspace_addr = (uintptr_t)f->ram};
    /* Memory first: with an interrupt controller KVM waits for readers of the old slots. */
    if (ioctl(f->vm, KVM_SET_USER_MEMORY_REGION, &region) < 0 || ioctl(f->vm, KVM_CREATE_IRQCHIP, 0) < 0) return -1;
    f->vcpu = ioctl(f->vm, KVM_CREATE_VCPU, 0);
    if (f->vcpu < 0) return -1;
    f->run_size = (size_t)ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    f->run = mmap(NULL, f->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, f->vcpu, 0);
    if (f->run == MAP_FAILED || cpuid(kvm, f->vcpu) < 0) return -1;
    return enter(f);
}

void floor_close(struct floor_vm *f) {
    if (f->run != MAP_FAILED) munmap(f->run, f->run_size);
    if (f->vcpu >= 0) close(f->vcpu);
    if (f->vm >= 0) close(f->vm);
    if (f->ram != MAP_FAILED) munmap(f->ram, f->ram_size);
    if (f->memfd >= 0) close(f->memfd);
}
