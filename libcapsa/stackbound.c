/*
 * stackbound.c - a cache for the bounds of a thread's stack.
 *
 * When a host calls from a stack of its own making (coroutines, the koffi FFI of Node), the Go runtime sees a stack
 * pointer outside the thread's stack and asks for the bounds, on every call. glibc answers for the main thread by
 * parsing /proc/self/maps: 100 us a call. The bounds never change, so they are asked for once per thread.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stddef.h>

#ifdef __linux__
int __real_pthread_getattr_np(pthread_t thread, pthread_attr_t *attr);
int __wrap_pthread_getattr_np(pthread_t thread, pthread_attr_t *attr);

static __thread void *low;
static __thread size_t size;

int __wrap_pthread_getattr_np(pthread_t thread, pthread_attr_t *attr) {
    if (!pthread_equal(thread, pthread_self())) return __real_pthread_getattr_np(thread, attr);
    if (!size) {
        int rc = __real_pthread_getattr_np(thread, attr);
        return rc ? rc : pthread_attr_getstack(attr, &low, &size);
    }
    pthread_attr_init(attr);
    return pthread_attr_setstack(attr, low, size);
}
#endif
