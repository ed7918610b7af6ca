/*
 * page.h - the memory that the injector (inject.c) and a client (client.c) share, and the descriptors a client inherits.
 */
#ifndef FAULTS_PAGE_H
#define FAULTS_PAGE_H

#include <stdint.h>

#define CONTROL_FD 3 /* a socket: a byte starts a life, a byte comes back at its end; never injected into */
#define PAGE_FD 4    /* struct page */

enum { TEXT = 3000 };

struct page {
    /* Written by the client. */
    int listener;       /* the filter's descriptor, in the client */
    uint64_t base;      /* where libcapsa.so is loaded */
    volatile int armed; /* between the first and the last call of a life */
    int failed;         /* a call of the life failed, as it may */
    int wrong;          /* something is not as it has to be; text says what */
    char text[TEXT];    /* what failed, and what is wrong */
    char left[TEXT];    /* descriptors and mappings there are after the life */
    int threads;        /* their number after the life */
    /* Written by the injector. */
    int error;       /* the errno it will inject; 0: none, and everything has to succeed */
    int in_run;      /* it goes to KVM_RUN */
    int untold;      /* the Go runtime does not say which errno it got */
    int threads_max; /* threads there may be after the life */
};

#endif
