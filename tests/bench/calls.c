/* calls.so - the C side of python.py: the same call, made as a C program makes it. */
#define _GNU_SOURCE
#include <capsa.h>

#include "samples.h"

double calls_ns(capsa_vm *vm, int n);

/* Nanoseconds that a call takes, of n. */
double calls_ns(capsa_vm *vm, int n) {
    uint32_t state;
    double begin = now_ns();

    for (int i = 0; i < n; i++) capsa_vm_state(vm, &state, NULL);
    return (now_ns() - begin) / n;
}
