/* The least that a C program must do to run a machine's first instruction on KVM. */
#ifndef FLOOR_H
#define FLOOR_H

#include <stddef.h>
#include <stdint.h>

/* A machine with an in-kernel interrupt controller, `memory` bytes of lazily mapped RAM and one vCPU. */
struct floor_vm {
    int vm, vcpu, memfd;
    void *ram, *run;
    size_t ram_size, run_size;
};

/* Makes a machine and runs it up to the first exit to user space. `kvm` is /dev/kvm, opened. 0, or -1 with errno. */
int floor_create(struct floor_vm *f, int kvm, size_t memory);

/* Gives everything back. */
void floor_close(struct floor_vm *f);

#endif
