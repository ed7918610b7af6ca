/* names.h - names of the system calls and ioctls that the library makes; others are shown as numbers. */
#ifndef FAULTS_NAMES_H
#define FAULTS_NAMES_H

#include <fcntl.h>
#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

struct name {
    uint64_t number;
    const char *text;
};

#define CALL(x)                                                                                                       \
    { SYS_##x, #x }
static const struct name calls[] = {
    CALL(read),
    CALL(write),
    CALL(openat),
    CALL(fstat),
    CALL(newfstatat),
    CALL(lseek),
    CALL(mmap),
    CALL(mprotect),
    CALL(ioctl),
    CALL(pread64),
    CALL(pwrite64),
    CALL(preadv),
    CALL(pwritev),
    CALL(preadv2),
    CALL(pwritev2),
    CALL(madvise),
    CALL(dup),
    CALL(dup3),
    CALL(socket),
    CALL(socketpair),
    CALL(bind),
    CALL(listen),
    CALL(accept4),
    CALL(connect),
    CALL(shutdown),
    CALL(sendto),
    CALL(recvfrom),
    CALL(sendmsg),
    CALL(recvmsg),
    CALL(setsockopt),
    CALL(getsockopt),
    CALL(getsockname),
    CALL(getpeername),
    CALL(fcntl),
    CALL(flock),
    CALL(fsync),
    CALL(fdatasync),
    CALL(ftruncate),
    CALL(fallocate),
    CALL(unlinkat),
    CALL(renameat2),
    CALL(linkat),
    CALL(eventfd2),
    CALL(epoll_create1),
    CALL(epoll_ctl),
    CALL(memfd_create),
    CALL(pipe2),
    CALL(getrandom),
    CALL(statfs),
    CALL(fstatfs),
    CALL(uname),
    CALL(prctl),
    CALL(sysinfo),
    CALL(sched_getaffinity),
    CALL(sched_setaffinity),
    CALL(prlimit64),
    CALL(fadvise64),
    CALL(readlinkat),
    CALL(faccessat),
    CALL(faccessat2),
    CALL(statx),
    CALL(getpriority),
    CALL(setpriority),
    CALL(process_vm_readv),
    CALL(mlock),
    CALL(copy_file_range),
    CALL(mremap),
    CALL(timerfd_create),
    CALL(getuid),
    CALL(geteuid),
    CALL(getgid),
    CALL(getegid),
    CALL(getppid),
    CALL(openat2),
    CALL(close_range),
    CALL(mincore),
    CALL(fchmod),
    CALL(mkdirat),
    CALL(ppoll),
    CALL(getrlimit),
};
#undef CALL

#define IOCTL(x)                                                                                                      \
    { x, #x }
static const struct name ioctls[] = {
    IOCTL(KVM_GET_API_VERSION),
    IOCTL(KVM_CREATE_VM),
    IOCTL(KVM_CHECK_EXTENSION),
    IOCTL(KVM_GET_VCPU_MMAP_SIZE),
    IOCTL(KVM_GET_SUPPORTED_CPUID),
    IOCTL(KVM_GET_MSR_INDEX_LIST),
    IOCTL(KVM_GET_MSR_FEATURE_INDEX_LIST),
    IOCTL(KVM_CREATE_VCPU),
    IOCTL(KVM_SET_USER_MEMORY_REGION),
    IOCTL(KVM_SET_TSS_ADDR),
    IOCTL(KVM_SET_IDENTITY_MAP_ADDR),
    IOCTL(KVM_CREATE_IRQCHIP),
    IOCTL(KVM_IRQ_LINE),
    IOCTL(KVM_SET_GSI_ROUTING),
    IOCTL(KVM_CREATE_PIT2),
    IOCTL(KVM_IRQFD),
    IOCTL(KVM_IOEVENTFD),
    IOCTL(KVM_RUN),
    IOCTL(KVM_GET_REGS),
    IOCTL(KVM_SET_REGS),
    IOCTL(KVM_GET_SREGS),
    IOCTL(KVM_SET_SREGS),
    IOCTL(KVM_GET_MSRS),
    IOCTL(KVM_SET_MSRS),
    IOCTL(KVM_GET_FPU),
    IOCTL(KVM_SET_FPU),
    IOCTL(KVM_GET_LAPIC),
    IOCTL(KVM_SET_LAPIC),
    IOCTL(KVM_SET_CPUID2),
    IOCTL(KVM_GET_CPUID2),
    IOCTL(KVM_GET_MP_STATE),
    IOCTL(KVM_SET_MP_STATE),
    IOCTL(KVM_GET_TSC_KHZ),
    IOCTL(KVM_SET_TSC_KHZ),
    IOCTL(KVM_ENABLE_CAP),
    IOCTL(KVM_KVMCLOCK_CTRL),
    IOCTL(KVM_GET_CLOCK),
    IOCTL(KVM_SET_CLOCK),
    IOCTL(KVM_SET_SIGNAL_MASK),
};
#undef IOCTL

#define FCNTL(x)                                                                                                      \
    { x, "fcntl(" #x ")" }
static const struct name fcntls[] = {
    FCNTL(F_GETFL),     FCNTL(F_SETFL),     FCNTL(F_GETFD),     FCNTL(F_SETFD),     FCNTL(F_DUPFD_CLOEXEC),
    FCNTL(F_OFD_GETLK), FCNTL(F_OFD_SETLK), FCNTL(F_ADD_SEALS), FCNTL(F_GET_SEALS),
};
#undef FCNTL

static inline const char *name_of(const struct name *list, unsigned n, uint64_t number) {
    for (unsigned i = 0; i < n; i++)
        if (list[i].number == number) return list[i].text;
    return NULL;
}

#endif
