/*
 * capsa.h - the C ABI of libcapsa: run Linux virtual machines inside your process.
 *
 * This header is the only definition of the ABI. It is valid C99, C11, C++98 and newer.
 *
 * RULES THAT HOLD FOR EVERY FUNCTION
 *
 * Status. A call that can fail returns a capsa_status: CAPSA_OK (0), or a negative number. The low byte of its
 * magnitude is the class (CAPSA_E_...), which never changes its meaning; the bits above are detail. Compare
 * capsa_status_class(s), or s itself with the constants below. A guest's exit code is never a capsa_status.
 *
 * Errors. The last parameter of such a call is `capsa_error **err`. NULL is allowed. Otherwise *err is set to NULL on
 * entry and, on failure, to an error object that the caller frees with capsa_error_free. There is no "last error".
 *
 * Handles. The pointers to capsa_* types are tokens, not addresses: never dereference them. A handle that is NULL, was
 * freed, is of another type or was never given out yields CAPSA_E_HANDLE, never undefined behaviour. Every _free
 * function accepts NULL and stale handles and does nothing with them.
 *
 * Memory. Inputs are copied before a call returns. Paths and data are bytes; other strings are UTF-8. Out parameters
 * are written on success only (*err excepted), and where a function says so. A NULL where a pointer is required is
 * CAPSA_E_INVALID_ARG. Nothing the library returns may be given to free(3).
 *
 * Structures. Public structures begin with their size; initialise them with the matching CAPSA_..._INIT macro. A size
 * larger than the library knows is accepted when the bytes beyond are zero.
 *
 * Threads. Any function may be called from any thread at any time, with any handle. Freeing a handle on which another
 * thread waits makes that wait end with CAPSA_E_CLOSED.
 *
 * Waiting. A call that may wait takes `int64_t timeout_ms` (-1: for ever, 0: do not wait) and a capsa_cancel (NULL:
 * none). It ends with CAPSA_E_TIMEOUT, CAPSA_E_CANCELLED, or, when a signal handler of the program ran on the waiting
 * thread, CAPSA_E_INTERRUPTED. Nothing is lost in either case: calling again is always right. Functions without these
 * parameters do not wait for the guest.
 *
 * File descriptors given out belong to the caller, who closes them; they are close-on-exec, non-blocking unix stream
 * sockets (where nothing else is said), and stay valid when the handle they came from is freed.
 *
 * fork. In a child made by fork() without exec every call answers CAPSA_E_FORKED and every _free does nothing. The
 * parent is not affected. Error objects may be read in the child.
 *
 * Manners. The library never exits the process, writes to stdio, installs signal handlers of its own design, changes
 * the directory or the umask, or reads the environment (but for CAPSA_VZD_PATH and PATH, as they were when it was
 * loaded, for a machine in a process of its own, and CAPSA_AGENT_PATH, an agent for guests instead of its own). It stays loaded after dlclose().
 *
 * Signals. The library's Go runtime takes SIGBUS, SIGFPE, SIGSEGV, SIGPIPE and SIGURG over and passes on to the program's
 * handlers what is not its own. Handlers that the program installs later must have SA_ONSTACK, since the library's
 * threads have small stacks, and one for SIGURG must expect signals that nobody sent to it.
 *
 * Each function says "since" which version of the library it exists.
 */
#ifndef CAPSA_H
#define CAPSA_H

#include <stddef.h>
#include <stdint.h>

#define CAPSA_VERSION_MAJOR 0
#define CAPSA_VERSION_MINOR 1
#define CAPSA_VERSION_PATCH 0
#define CAPSA_VERSION_STRING "0.1.0"

/* The number in the library's soname, libcapsa.so.0. */
#define CAPSA_ABI_VERSION 0

#if defined(CAPSA_BUILD) && defined(__GNUC__)
#define CAPSA_API __attribute__((visibility("default")))
#else
#define CAPSA_API
#endif

/* The result must be looked at: an object was made, or was not. */
#if defined(__GNUC__)
#define CAPSA_MUST_CHECK __attribute__((warn_unused_result))
#else
#define CAPSA_MUST_CHECK
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Types -------------------------------------------------------------------------------------------------- */

typedef int32_t capsa_status;

typedef struct capsa_error capsa_error;     /* why a call failed */
typedef struct capsa_cancel capsa_cancel;   /* ends waiting calls from another thread */
typedef struct capsa_builder capsa_builder; /* the description of a machine */
typedef struct capsa_vm capsa_vm;           /* a machine */
typedef struct capsa_console capsa_console; /* a reader and writer of a machine's console */
typedef struct capsa_output capsa_output;   /* immutable bytes that came from the guest */
typedef struct capsa_exec capsa_exec;       /* a program in the guest */
typedef struct capsa_network capsa_network; /* a network of several machines */

/* Classes of status. */
#define CAPSA_OK 0
#define CAPSA_E_INVALID_ARG (-1) /* an argument is wrong by itself */
#define CAPSA_E_HANDLE (-2)      /* NULL, freed, wrong or invented handle */
#define CAPSA_E_STATE (-3)       /* not in this state of the machine */
#define CAPSA_E_CONFIG (-4)      /* the description is wrong; the detail lists every problem */
#define CAPSA_E_UNSUPPORTED (-5) /* this backend, host or build cannot do it */
#define CAPSA_E_UNAVAILABLE (-6) /* no /dev/kvm, no permission for it */
#define CAPSA_E_NOT_FOUND (-7)   /* a named thing does not exist */
#define CAPSA_E_EXISTS (-8)      /* a named thing exists already */
#define CAPSA_E_PERMISSION (-9)  /* the operating system refused */
#define CAPSA_E_NO_MEMORY (-10)  /* out of memory */
#define CAPSA_E_LIMIT (-11)      /* a limit of the library or the system */
#define CAPSA_E_TIMEOUT (-12)    /* timeout_ms passed */
#define CAPSA_E_CANCELLED (-13)  /* the capsa_cancel was triggered */
#define CAPSA_E_CLOSED (-14)     /* the handle was freed meanwhile, or the stream has ended */
#define CAPSA_E_IO (-15)         /* a system call failed; see capsa_error_os_errno */
#define CAPSA_E_BOOT (-16)       /* the kernel could not be loaded or did not come up */
#define CAPSA_E_GUEST (-17)      /* the guest answered no */
#define CAPSA_E_PROTOCOL (-18)   /* the guest answered nonsense */
#define CAPSA_E_VMM_DIED (-19)   /* the machine failed through a fault of the library */
#define CAPSA_E_FORKED (-20)     /* used in a child of fork() */
#define CAPSA_E_INTERNAL (-21)   /* a fault of the library; the message has a stack trace */

/* Status values with detail. A signal handler ran during the wait: class CAPSA_E_CANCELLED, detail 1. */
#define CAPSA_E_INTERRUPTED (-269)

/* States of a machine. */
#define CAPSA_STATE_CREATED 0
#define CAPSA_STATE_STARTING 1
#define CAPSA_STATE_RUNNING 2
#define CAPSA_STATE_PAUSED 3
#define CAPSA_STATE_STOPPING 4
#define CAPSA_STATE_STOPPED 5
#define CAPSA_STATE_FAILED 6

/* Why a machine ended. */
#define CAPSA_CAUSE_NONE 0           /* it has not */
#define CAPSA_CAUSE_GUEST_SHUTDOWN 1 /* the guest powered off by itself */
#define CAPSA_CAUSE_MAIN_EXITED 2    /* the machine's main program ended */
#define CAPSA_CAUSE_REBOOT 3         /* the guest asked for a reboot */
#define CAPSA_CAUSE_PANIC 4          /* the guest's kernel panicked */
#define CAPSA_CAUSE_OOM 5            /* the guest's kernel ran out of memory and panicked */
#define CAPSA_CAUSE_STOPPED 6        /* capsa_vm_stop, and the guest complied */
#define CAPSA_CAUSE_KILLED 7         /* capsa_vm_kill, or capsa_vm_stop after the grace period */
#define CAPSA_CAUSE_TIMED_OUT 8      /* the timeout of capsa_builder_set_timeout */
#define CAPSA_CAUSE_VMM_CRASH 9      /* a fault of the library or the hypervisor */
#define CAPSA_CAUSE_BOOT_FAILED 10   /* the kernel never came up */
#define CAPSA_CAUSE_TRIPLE_FAULT 11  /* the guest's processor shut down */

/* How far capsa_vm_stop had to go. */
#define CAPSA_STAGE_NONE 0         /* the machine had ended before */
#define CAPSA_STAGE_AGENT 1        /* the guest's agent shut it down */
#define CAPSA_STAGE_POWER_BUTTON 2 /* the guest reacted to its power button */
#define CAPSA_STAGE_KILL 3         /* it was killed */

/* How a machine ended. Since 0.1. */
typedef struct capsa_exit_info {
    uint32_t size;      /* sizeof(capsa_exit_info) */
    uint32_t cause;     /* CAPSA_CAUSE_... */
    int32_t code;       /* exit code of the main program, else 0 */
    int32_t signal;     /* signal that ended the main program, else 0 */
    uint32_t flags;     /* 0 */
    uint32_t reserved;  /* 0 */
    uint64_t uptime_ns; /* time between start and end */
} capsa_exit_info;
#define CAPSA_EXIT_INFO_INIT                                                                                          \
    { sizeof(capsa_exit_info), 0, 0, 0, 0, 0, 0 }

/* The console of a machine to be built. Since 0.1. */
typedef struct capsa_console_options {
    uint32_t size;      /* sizeof(capsa_console_options) */
    uint16_t columns;   /* width in characters; 0: 80 */
    uint16_t rows;      /* height in lines; 0: 24 */
    uint64_t ring_size; /* bytes of output kept for readers; 0: 1 MiB */
} capsa_console_options;
#define CAPSA_CONSOLE_OPTIONS_INIT                                                                                    \
    { sizeof(capsa_console_options), 0, 0, 0 }

/*
 * A disk of a machine to be built. Since 0.1.
 *
 * With an overlay, or with CAPSA_DISK_TEMPORARY, the image is only read and any number of machines may share it. An
 * overlay is a qcow2 image that is made if it is not there, and kept.
 */
#define CAPSA_DISK_READ_ONLY 1    /* the guest cannot write */
#define CAPSA_DISK_TEMPORARY 2    /* changes go to an unnamed file that is gone with the machine */
#define CAPSA_DISK_DIRECT 4       /* I/O goes past the host's page cache */
#define CAPSA_DISK_ROOT 8         /* the root file system is here, unless an argument has root= */
#define CAPSA_DISK_FORMAT_AUTO 0  /* qcow2 if the content says so, else an error: raw must be said */
#define CAPSA_DISK_FORMAT_RAW 1   /* the file is the disk, byte by byte; also for block devices */
#define CAPSA_DISK_FORMAT_QCOW2 2 /* QEMU's format, versions 2 and 3 */
typedef struct capsa_disk_options {
    uint32_t size;           /* sizeof(capsa_disk_options) */
    uint32_t flags;          /* CAPSA_DISK_READ_ONLY and so on */
    uint32_t format;         /* CAPSA_DISK_FORMAT_... of the image */
    uint32_t queues;         /* request queues, 16 at most; 0: as suits the number of processors */
    const char *overlay;     /* path of an image that takes the changes; NULL: none */
    const char *scratch_dir; /* where CAPSA_DISK_TEMPORARY keeps its file; NULL: /var/tmp */
    const char *serial;      /* what the guest sees: up to 20 bytes of printable ASCII without '/'; NULL: none */
    const char *const *backing_dirs; /* directories in which a qcow2 image may have backing files, besides its own */
    size_t n_backing_dirs;           /* their number */
    uint64_t iops;                   /* requests per second; 0: no limit */
    uint64_t iops_burst;             /* requests at once after a pause; 0: a tenth of a second's */
    uint64_t bytes_per_sec;          /* bytes per second; 0: no limit */
    uint64_t bytes_burst;            /* bytes at once after a pause; 0: a tenth of a second's */
} capsa_disk_options;
#define CAPSA_DISK_OPTIONS_INIT                                                                                       \
    { sizeof(capsa_disk_options), 0, 0, 0, NULL, NULL, NULL, NULL, 0, 0, 0, 0, 0 }

/* Consecutive ids (of users or of groups) of the guest and what they are on the host. Will not change. Since 0.1. */
typedef struct capsa_id_range {
    uint32_t guest; /* the first one in the guest */
    uint32_t host;  /* the first one on the host */
    uint32_t count; /* how many; at least 1 */
} capsa_id_range;

/*
 * A directory of the host that the guest mounts (virtio-fs). Since 0.1.
 *
 * Nothing outside of the directory can be reached, whatever the guest does and whatever links are in it. With
 * CAPSA_SHARE_OWNER_SQUASH, the default, everything belongs to one user in the guest and to one on the host, so that
 * no privilege is needed. CAPSA_SHARE_OWNER_PASSTHROUGH, ids of the host that are not the process's own, and ranges
 * beyond its own ids need root.
 */
#define CAPSA_SHARE_READ_ONLY 1        /* enforced on the host */
#define CAPSA_SHARE_WRITEBACK 2        /* the guest delays writes; right when only it writes. Not with CACHE_NONE */
#define CAPSA_SHARE_ACL 4              /* POSIX access control lists; with OWNER_PASSTHROUGH and OWNER_RANGES */
#define CAPSA_SHARE_GUEST_LOCKS 8      /* locks stay in the guest; else they hold between the host and all guests */
#define CAPSA_SHARE_ONE_FILE_SYSTEM 16 /* what is mounted below the directory is not shared */
#define CAPSA_SHARE_ALLOW_SET_ID 32    /* set-user-ID and set-group-ID bits are kept, and hold on the host too */
#define CAPSA_SHARE_DIRECT_IO 64       /* O_DIRECT is passed on to the host, with its demands on alignment */
#define CAPSA_SHARE_HOST_IDS 128       /* host_uid and host_gid are given */
#define CAPSA_SHARE_ALLOW_DEVICES 256  /* device nodes are made, and are the host's devices; with OWNER_PASSTHROUGH */
#define CAPSA_SHARE_CACHE_AUTO 0       /* names and attributes for a second, data until an open finds it changed */
#define CAPSA_SHARE_CACHE_NONE 1       /* every access asks the host */
#define CAPSA_SHARE_CACHE_ALWAYS 2     /* everything for a day; right when the host does not change the directory */
#define CAPSA_SHARE_OWNER_SQUASH 0 /* all belongs to guest_uid and guest_gid, and on the host to host_uid and gid */
#define CAPSA_SHARE_OWNER_PASSTHROUGH 1 /* ids are the same on both sides */
#define CAPSA_SHARE_OWNER_CALLER 2      /* to each user of the guest all belongs to that user; slower */
#define CAPSA_SHARE_OWNER_RANGES 3      /* ids are shifted by uids and gids */
#define CAPSA_SHARE_XATTR_USER 0        /* extended attributes of the namespace user. */
#define CAPSA_SHARE_XATTR_NONE 1        /* none */
#define CAPSA_SHARE_XATTR_ALL 2         /* trusted. and security. too; with OWNER_PASSTHROUGH and ALLOW_SET_ID */
typedef struct capsa_share_options {
    uint32_t size;       /* sizeof(capsa_share_options) */
    uint32_t flags;      /* CAPSA_SHARE_READ_ONLY and so on */
    uint32_t cache;      /* CAPSA_SHARE_CACHE_... */
    uint32_t owner;      /* CAPSA_SHARE_OWNER_... */
    uint32_t xattr;      /* CAPSA_SHARE_XATTR_... */
    uint32_t queues;     /* request queues, 16 at most; 0: as suits the number of processors */
    uint32_t guest_uid;  /* who owns everything in the guest; of OWNER_SQUASH */
    uint32_t guest_gid;  /* as above */
    uint32_t host_uid;   /* who owns on the host what the guest makes; with HOST_IDS, else this process's user */
    uint32_t host_gid;   /* as above */
    uint32_t max_files;  /* descriptors the share may have open; 0: half of the process's limit. EMFILE beyond */
    uint32_t max_inodes; /* files that are remembered; 0: 262,144, about 60 MB */
    const capsa_id_range *uids; /* of OWNER_RANGES */
    size_t n_uids;              /* their number, 340 at most */
    const capsa_id_range *gids; /* of OWNER_RANGES */
    size_t n_gids;              /* their number, 340 at most */
} capsa_share_options;
#define CAPSA_SHARE_OPTIONS_INIT                                                                                      \
    { sizeof(capsa_share_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, 0, NULL, 0 }

/* How memory that the guest does without goes back to the host. All of it is on unless a flag says otherwise. Since
 * 0.1. */
#define CAPSA_BALLOON_OFF 1               /* no balloon: the host keeps all that the guest has ever touched */
#define CAPSA_BALLOON_NO_REPORTING 2      /* the guest does not give back by itself what is free */
#define CAPSA_BALLOON_NO_DEFLATE_ON_OOM 4 /* it kills programs rather than take back what it was asked for */
typedef struct capsa_balloon_options {
    uint32_t size;  /* sizeof(capsa_balloon_options) */
    uint32_t flags; /* CAPSA_BALLOON_... */
} capsa_balloon_options;
#define CAPSA_BALLOON_OPTIONS_INIT                                                                                    \
    { sizeof(capsa_balloon_options), 0 }

/* A static name of a machine's network. Two entries with one name are two addresses of it. Will not change. Since 0.1. */
typedef struct capsa_host_name {
    const char *name;    /* "db.example.com" */
    const char *address; /* "192.0.2.7" or "2001:db8::7" */
} capsa_host_name;

/*
 * The guest's network. Since 0.1.
 *
 * CAPSA_NETWORK_USER is a network of the machine's own, in user space: the guest reaches what this process does, through
 * sockets of the host, as far as the policy lets it (capsa_builder_set_policy_json). It needs no privileges and changes
 * nothing about the host. The guest gets its address by DHCP, and over IPv6 by router advertisements; the gateway
 * answers DNS, also for host.capsa.internal, which is the gateway's own address.
 */
#define CAPSA_NETWORK_NONE 0        /* no network device */
#define CAPSA_NETWORK_USER 1        /* as above */
#define CAPSA_NETWORK_NAT 2         /* the platform's network; not on every backend */
#define CAPSA_NETWORK_NO_IPV6 1     /* IPv4 only */
#define CAPSA_NETWORK_HOST_ACCESS 2 /* the gateway's address leads to the host's loopback, as far as the policy goes */
#define CAPSA_NETWORK_LINK_DOWN 4   /* the cable is not plugged in, until capsa_vm_set_link */
typedef struct capsa_network_options {
    uint32_t size;             /* sizeof(capsa_network_options) */
    uint32_t mode;             /* CAPSA_NETWORK_NONE and so on */
    uint32_t flags;            /* CAPSA_NETWORK_NO_IPV6 and so on */
    uint32_t mtu;              /* bytes, 1280 to 65520; 0: 1500 */
    const char *mac;           /* of the guest, "02:00:5e:10:00:01"; NULL: made of the machine's name, or of chance */
    const char *ipv4;          /* network of 8 to 30 bits; NULL: "10.0.2.0/24" */
    const char *guest;         /* its address there; NULL: the 15th, "10.0.2.15" */
    const char *gateway;       /* this side's; NULL: the 2nd, "10.0.2.2" */
    const char *ipv6;          /* network of 64 bits; NULL: "fd6c:6962:6361::/64" */
    const char *hostname;      /* that DHCP gives the guest; NULL: none */
    const char *const *dns;    /* name servers, "192.0.2.53" or "192.0.2.53:5353"; none: the host's */
    size_t n_dns;              /* their number, 8 at most */
    const char *const *search; /* search domains */
    size_t n_search;           /* their number, 32 at most */
    const capsa_host_name *hosts; /* static names */
    size_t n_hosts;               /* their number: of 4096 names 64 addresses each at most */
} capsa_network_options;
#define CAPSA_NETWORK_OPTIONS_INIT                                                                                    \
    { sizeof(capsa_network_options), 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, 0, NULL, 0 }

/* A resource limit of a program in the guest: setrlimit(2). Will not change. Since 0.1. */
typedef struct capsa_rlimit {
    uint32_t resource; /* RLIMIT_... of Linux */
    uint32_t reserved; /* 0 */
    uint64_t soft;
    uint64_t hard;
} capsa_rlimit;

/*
 * A program to be run in the guest: an executable and its arguments, no shell. Texts are bytes. Since 0.1.
 *
 * Streams without a flag are /dev/null. On a terminal stdin's descriptor carries both directions.
 */
#define CAPSA_EXEC_TTY 1      /* on a terminal of its own */
#define CAPSA_EXEC_ENV_ONLY 2 /* without the agent's own PATH, HOME, USER, LOGNAME, SHELL and TERM */
#define CAPSA_EXEC_STDIN 4    /* capsa_exec_fd gives a descriptor for stdin */
#define CAPSA_EXEC_STDOUT 8   /* for stdout */
#define CAPSA_EXEC_STDERR 16  /* for stderr; not with a terminal */
typedef struct capsa_exec_options {
    uint32_t size;               /* sizeof(capsa_exec_options) */
    uint32_t flags;              /* CAPSA_EXEC_TTY and so on */
    const char *const *args;     /* the program, looked up in PATH if it has no slash, and its arguments */
    size_t n_args;               /* their number, at least 1 */
    const char *const *env;      /* "NAME=value"; a later one of a name wins */
    size_t n_env;                /* their number */
    const char *dir;             /* working directory; NULL: the user's home, or "/" */
    const char *user;            /* "name", "1000", "name:group", "1000:1000"; NULL: root */
    uint16_t columns;            /* of the terminal; 0: 80 */
    uint16_t rows;               /* of the terminal; 0: 24 */
    uint32_t reserved;           /* 0 */
    uint64_t memory;             /* bytes that it and its children may have; 0: no limit */
    uint64_t pids;               /* how many processes and threads they may be; 0: no limit */
    int64_t timeout_ms;          /* after which they are all killed; 0: none */
    const capsa_rlimit *rlimits; /* resource limits */
    size_t n_rlimits;            /* their number */
} capsa_exec_options;
#define CAPSA_EXEC_OPTIONS_INIT                                                                                       \
    { sizeof(capsa_exec_options), 0, NULL, 0, NULL, 0, NULL, NULL, 0, 0, 0, 0, 0, 0, NULL, 0 }

/* How a program in the guest ended. Since 0.1. */
#define CAPSA_EXEC_OOM 1       /* one of its processes was killed for want of memory */
#define CAPSA_EXEC_TIMED_OUT 2 /* its timeout ended it */
typedef struct capsa_exec_status {
    uint32_t size;      /* sizeof(capsa_exec_status) */
    int32_t code;       /* exit status, or 128 and the signal, as a shell has it */
    int32_t signal;     /* that ended it, else 0 */
    uint32_t flags;     /* CAPSA_EXEC_OOM and so on */
    uint64_t user_ns;   /* of the processor, with its children that it waited for */
    uint64_t system_ns; /* as above */
    uint64_t real_ns;   /* from its start to its end */
    uint64_t max_rss;   /* the largest amount of memory it had, in bytes */
} capsa_exec_status;
#define CAPSA_EXEC_STATUS_INIT                                                                                        \
    { sizeof(capsa_exec_status), 0, 0, 0, 0, 0, 0, 0 }
/*
 * A network of several machines (capsa_network_new), in user space like that of one. Since 0.1.
 *
 * Each machine gets an address by DHCP, or the static one of capsa_attach_options, and finds the others by their names,
 * also below "capsa.internal" and the domain. Each has a gateway to itself, with its builder's policy, forwarded ports
 * and limits; all look like one. A flow between two machines needs the leave of both: of the policy of the one that
 * opens it, as "outbound" to the other's address, and of the other's, as "inbound". A machine's frames from addresses that
 * are not its own go nowhere, and nothing is flooded.
 */
#define CAPSA_SHARED_NO_IPV6 1     /* IPv4 only */
#define CAPSA_SHARED_HOST_ACCESS 2 /* the gateway's address leads to the host's loopback, as far as policies go */
#define CAPSA_SHARED_NO_NAT 4      /* nothing leaves the network but through forwarded ports */
#define CAPSA_SHARED_ISOLATED 8    /* machines do not reach each other */
#define CAPSA_SHARED_BROADCAST 16  /* broadcasts and multicasts reach all machines, some hundreds in a second */
typedef struct capsa_shared_options {
    uint32_t size;                /* sizeof(capsa_shared_options) */
    uint32_t flags;               /* CAPSA_SHARED_NO_IPV6 and so on */
    uint32_t mtu;                 /* bytes, 1280 to 65520; 0: 1500 */
    uint32_t reserved;            /* 0 */
    const char *ipv4;             /* network of 8 to 30 bits; NULL: "10.0.2.0/24" */
    const char *gateway;          /* this side's address there; NULL: the 2nd */
    const char *ipv6;             /* network of 64 bits; NULL: "fd6c:6962:6361::/64" */
    const char *domain;           /* of the machines' names, and the first search domain; NULL: "capsa.internal" */
    const char *const *dns;       /* name servers, "192.0.2.53" or "192.0.2.53:5353"; none: the host's */
    size_t n_dns;                 /* their number, 8 at most */
    const char *const *search;    /* search domains after the first */
    size_t n_search;              /* their number, 31 at most */
    const capsa_host_name *hosts; /* static names */
    size_t n_hosts;               /* their number: of 4096 names 64 addresses each at most */
} capsa_shared_options;
#define CAPSA_SHARED_OPTIONS_INIT                                                                                     \
    { sizeof(capsa_shared_options), 0, 0, 0, NULL, NULL, NULL, NULL, NULL, 0, NULL, 0, NULL, 0 }

/* How a machine is attached to a shared network, to a descriptor or to a TAP interface. Since 0.1. */
#define CAPSA_FRAMING_STREAM 0   /* a stream socket; 4 bytes of length, big endian, before each frame: QEMU, passt */
#define CAPSA_FRAMING_DATAGRAM 1 /* a datagram or seqpacket socket; a frame is a message */
#define CAPSA_FRAMING_TAP 2      /* an open TAP with IFF_NO_PI, and for long frames with IFF_VNET_HDR */
typedef struct capsa_attach_options {
    uint32_t size;     /* sizeof(capsa_attach_options) */
    uint32_t flags;    /* CAPSA_NETWORK_LINK_DOWN or 0 */
    uint32_t framing;  /* CAPSA_FRAMING_...; of a descriptor */
    uint32_t mtu;      /* bytes, 1280 to 65520; 0: 1500; a shared network has its own */
    const char *mac;   /* of the guest, "02:00:5e:10:00:01"; NULL: made of the machine's name, or of chance */
    const char *guest; /* static IPv4 address in a shared network; NULL: any that is free */
    const char
        *hostname; /* in a shared network: the machine's name in DNS; NULL: the builder's name, if it can be one */
} capsa_attach_options;
#define CAPSA_ATTACH_OPTIONS_INIT                                                                                     \
    { sizeof(capsa_attach_options), 0, 0, 0, NULL, NULL, NULL }

/* What bounds the guest's network device. What is over a bound waits, and of new connections the guest asks again. Rates
 * are per second, 0 bounds nothing; a burst of 0 is a tenth of a second's. Since 0.1. */
typedef struct capsa_network_limits {
    uint32_t size;                     /* sizeof(capsa_network_limits) */
    uint32_t flags;                    /* 0 */
    uint64_t from_guest_bytes;         /* of Ethernet */
    uint64_t from_guest_bytes_burst;   /* bytes at once */
    uint64_t from_guest_packets;       /* of a long frame: those that it will be cut into */
    uint64_t from_guest_packets_burst; /* packets at once */
    uint64_t to_guest_bytes;           /* as above */
    uint64_t to_guest_bytes_burst;     /* as above */
    uint64_t to_guest_packets;         /* as above */
    uint64_t to_guest_packets_burst;   /* as above */
    uint64_t connections;              /* flows that the guest opens, of every protocol */
    uint64_t connections_burst;        /* flows at once */
} capsa_network_limits;
#define CAPSA_NETWORK_LIMITS_INIT                                                                                     \
    { sizeof(capsa_network_limits), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* Where what passes the guest's network device is written to, as pcapng. Frames for which the reader of a pipe, or a
 * disk, is too slow are counted in it; the guest never waits. Since 0.1. */
typedef struct capsa_capture_options {
    uint32_t size;     /* sizeof(capsa_capture_options) */
    int32_t fd;        /* descriptor to write to, 1 or more, in place of a path; -1: none. The library makes a copy */
    const char *path;  /* of a file, which is made (mode 0600) or emptied; NULL: none */
    uint32_t snap_len; /* bytes of each frame, 262144 at most; 0: all */
    uint32_t reserved; /* 0 */
    uint64_t max_size; /* bytes of the file, 4096 or more, at which the capture ends; 0: no limit */
} capsa_capture_options;
#define CAPSA_CAPTURE_OPTIONS_INIT                                                                                    \
    { sizeof(capsa_capture_options), -1, NULL, 0, 0, 0 }

/* A port of the guest that the host's side reaches. Since 0.1. */
#define CAPSA_FORWARD_TCP 0
#define CAPSA_FORWARD_UDP 1
typedef struct capsa_forward_options {
    uint32_t size;       /* sizeof(capsa_forward_options) */
    uint32_t protocol;   /* CAPSA_FORWARD_... */
    const char *host;    /* address of the host to listen at, "0.0.0.0" or "::" for all; NULL: "127.0.0.1" */
    const char *path;    /* of a unix socket that leads to a TCP port, in place of host and host_port; NULL: none */
    uint16_t host_port;  /* 0: any that is free */
    uint16_t guest_port; /* from 1 on */
    uint32_t reserved;   /* 0 */
} capsa_forward_options;
#define CAPSA_FORWARD_OPTIONS_INIT                                                                                    \
    { sizeof(capsa_forward_options), 0, NULL, NULL, 0, 0, 0 }

/* A forwarded port as it is. Since 0.1. */
typedef struct capsa_forward_info {
    uint32_t size;       /* sizeof(capsa_forward_info) */
    uint32_t id;         /* for capsa_vm_remove_forward; no other forward of the machine ever has it */
    uint32_t protocol;   /* CAPSA_FORWARD_... */
    uint16_t host_port;  /* that was chosen if none was given; 0 of a unix socket */
    uint16_t guest_port; /* as given */
    char host[112];      /* address, or path of the unix socket; ends with a zero byte */
} capsa_forward_info;
#define CAPSA_FORWARD_INFO_INIT                                                                                       \
    { sizeof(capsa_forward_info), 0, 0, 0, 0, "" }

/* How long each stage of capsa_vm_stop_in_stages may take, in milliseconds: -1 for ever, 0 leaves it out. Since 0.1. */
typedef struct capsa_stop_options {
    uint32_t size;           /* sizeof(capsa_stop_options) */
    uint32_t flags;          /* 0 */
    int64_t agent_ms;        /* the guest's agent is asked; takes no time in a guest without one */
    int64_t power_button_ms; /* the power button is pressed */
    int64_t kill_ms;         /* how long the call waits after the kill; 0: the machine is not killed */
} capsa_stop_options;
#define CAPSA_STOP_OPTIONS_INIT                                                                                       \
    { sizeof(capsa_stop_options), 0, 10000, 30000, -1 }

/* How a stop went: the stage that ended the machine, and the time spent in each. Since 0.1. */
typedef struct capsa_stop_outcome {
    uint32_t size;            /* sizeof(capsa_stop_outcome) */
    uint32_t stage;           /* CAPSA_STAGE_... */
    uint64_t agent_ns;        /* 0: the stage did not come */
    uint64_t power_button_ns; /* as above */
    uint64_t kill_ns;         /* as above */
} capsa_stop_outcome;
#define CAPSA_STOP_OUTCOME_INIT                                                                                       \
    { sizeof(capsa_stop_outcome), 0, 0, 0, 0 }

/* Counters of a machine, and its time line: each time is since the making of the machine began; 0: not yet. Since 0.1. */
typedef struct capsa_stats {
    uint32_t size;                  /* sizeof(capsa_stats) */
    uint32_t state;                 /* CAPSA_STATE_... */
    uint32_t cpus;                  /* virtual processors */
    uint32_t devices;               /* how many capsa_vm_device_stats knows */
    uint64_t memory_bytes;          /* of the guest */
    uint64_t exits;                 /* exits from the guest to user space: the next three together */
    uint64_t exits_io;              /* for accesses to ports */
    uint64_t exits_mmio;            /* for accesses to registers in memory */
    uint64_t exits_other;           /* for other reasons; capsa_vm_stats_json has each */
    uint64_t oom_kills;             /* programs that the guest's kernel killed for want of memory */
    uint64_t events_lost;           /* events that nobody fetched in time */
    uint64_t created_ns;            /* the machine had been made */
    uint64_t started_ns;            /* capsa_vm_start was done */
    uint64_t first_instruction_ns;  /* a processor entered the guest */
    uint64_t first_exit_ns;         /* the guest first used a device: its kernel, unpacked, has begun */
    uint64_t drivers_up_ns;         /* its first virtio driver came up */
    uint64_t console_open_ns;       /* it first wrote to its console */
    uint64_t ended_ns;              /* the machine had ended */
    uint64_t resident_bytes;        /* memory of the host that the guest's takes now; 0 after the end */
    uint64_t target_bytes;          /* memory that the guest shall make do with: capsa_vm_set_memory_target */
    uint64_t current_bytes;         /* memory that it makes do with, as it says */
    uint64_t inflated_bytes;        /* went back to the host because of a target, so far */
    uint64_t deflated_bytes;        /* was taken again, so far */
    uint64_t reported_bytes;        /* went back to the host because it was free, so far */
    uint64_t guest_free_bytes;      /* used for nothing, as the guest's kernel says */
    uint64_t guest_available_bytes; /* programs could have it, as the guest's kernel says */
    uint64_t guest_said_ns;         /* how long ago the guest said so; 0: it has not */
    uint32_t balloon;  /* 0: none, or the guest has no driver for it; 1: it has; 2: and reports free memory */
    uint32_t reserved; /* 0 */
} capsa_stats;
#define CAPSA_STATS_INIT                                                                                              \
    { sizeof(capsa_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* Counters of one device, kept when the guest resets it. Since 0.1. */
typedef struct capsa_device_stats {
    uint32_t size;         /* sizeof(capsa_device_stats) */
    uint32_t virtio_id;    /* device type of the virtio specification: 2 is a disk; 0: not a virtio device */
    char name[32];         /* "console", "disk 0"; ends with a zero byte */
    uint64_t kicks;        /* notifications by the driver */
    uint64_t interrupts;   /* interrupts raised */
    uint64_t requests;     /* requests served */
    uint64_t bytes_in;     /* payload from the guest to the host: written */
    uint64_t bytes_out;    /* payload from the host to the guest: read */
    uint64_t errors;       /* requests that the host could not serve */
    uint64_t faults;       /* times the driver broke the rules */
    uint64_t resets;       /* resets by the driver */
    uint64_t reads;        /* from here on of disks only: requests that succeeded, by kind */
    uint64_t writes;       /* as above */
    uint64_t flushes;      /* as above */
    uint64_t discards;     /* as above */
    uint64_t write_zeroes; /* as above */
    uint64_t refused;      /* requests that made no sense */
    uint64_t stalls;       /* times a queue waited because all its workers were busy */
    uint64_t throttled;    /* requests that waited for the rate limit */
} capsa_device_stats;
#define CAPSA_DEVICE_STATS_INIT                                                                                       \
    { sizeof(capsa_device_stats), 0, "", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* One thing that capsa_console_expect looks for. Since 0.1. */
#define CAPSA_PATTERN_LITERAL 1 /* the bytes themselves */
/* A regular expression in RE2 syntax. It matches in the shortest output that holds a match, so that the result does not
 * depend on the pieces in which the output comes: "[0-9]+" takes one digit, "[0-9]+\r" all of them. */
#define CAPSA_PATTERN_REGEX 2
typedef struct capsa_pattern {
    uint32_t size;    /* sizeof(capsa_pattern), the same in every element of an array */
    uint32_t kind;    /* CAPSA_PATTERN_... */
    const void *data; /* the pattern; it may contain zero bytes */
    size_t len;       /* its length in bytes, at least 1 */
} capsa_pattern;
#define CAPSA_PATTERN_INIT                                                                                            \
    { sizeof(capsa_pattern), 0, NULL, 0 }
/* For string literals: capsa_pattern p[] = { CAPSA_LITERAL("login: "), CAPSA_REGEX("[$#] $") }; */
#define CAPSA_LITERAL(s)                                                                                              \
    { sizeof(capsa_pattern), CAPSA_PATTERN_LITERAL, (s), sizeof(s) - 1 }
#define CAPSA_REGEX(s)                                                                                                \
    { sizeof(capsa_pattern), CAPSA_PATTERN_REGEX, (s), sizeof(s) - 1 }

/* What capsa_console_expect found. Since 0.1. */
typedef struct capsa_match {
    uint32_t size;    /* sizeof(capsa_match) */
    uint32_t pattern; /* index of the pattern that matched */
    size_t start;     /* where in the consumed output the match begins */
    size_t len;       /* length of the match; it is the end of the consumed output */
} capsa_match;
#define CAPSA_MATCH_INIT                                                                                              \
    { sizeof(capsa_match), 0, 0, 0 }

/* Something that happened to a machine. Since 0.1. */
#define CAPSA_EVENT_STATE 1        /* value: the new CAPSA_STATE_... */
#define CAPSA_EVENT_READY 2        /* the guest is up */
#define CAPSA_EVENT_EXITED 3       /* value: CAPSA_CAUSE_...; the last event of a machine */
#define CAPSA_EVENT_EXEC_EXITED 4  /* a program in the guest ended */
#define CAPSA_EVENT_CONSOLE_DATA 5 /* the console has new output */
#define CAPSA_EVENT_PORT_BOUND 6   /* a forwarded port listens; value: the host's port, or 0 */
#define CAPSA_EVENT_POLICY_DENY 7  /* the network policy refused a flow or a name; 10 a second at most */
#define CAPSA_EVENT_OOM 8          /* the guest ran out of memory */
#define CAPSA_EVENT_LOG 9          /* the text is a line for a log */
#define CAPSA_EVENT_EVENTS_LOST 10 /* value: how many events nobody fetched in time and are gone */
/* The host could not serve a request of a disk; value: the disk's index. The guest saw an I/O error. The details say
 * why. At most one a second and disk. */
#define CAPSA_EVENT_DISK_ERROR 11
/* The guest's kernel panicked and starts the crash kernel it was given (kexec -p, crash_kexec_post_notifiers). The
 * machine goes on. The details have the panic's text. */
#define CAPSA_EVENT_CRASH_KERNEL 12
/* the other end of capsa_builder_attach_fd came or went; value: 1 or 0 */
#define CAPSA_EVENT_LINK 13
typedef struct capsa_event {
    uint32_t size;    /* sizeof(capsa_event) */
    uint32_t type;    /* CAPSA_EVENT_...; ignore what you do not know */
    uint64_t time_ns; /* when, in nanoseconds since 1970-01-01 UTC */
    int64_t value;    /* see the type */
} capsa_event;
#define CAPSA_EVENT_INIT                                                                                              \
    { sizeof(capsa_event), 0, 0, 0 }

/* ---- Library ------------------------------------------------------------------------------------------------ */

/* The version as (major << 16 | minor << 8 | patch). Never fails; allowed after fork. Since 0.1. */
CAPSA_API uint32_t capsa_version(void);

/* The version as text, "0.1.0". Static memory. Never fails; allowed after fork. Since 0.1. */
CAPSA_API const char *capsa_version_string(void);

/* The ABI the library implements: compare with CAPSA_ABI_VERSION. Never fails; allowed after fork. Since 0.1. */
CAPSA_API uint32_t capsa_abi_version(void);

/* 1 when this library knows the feature (a word such as "kvm", "console", "disk"), else 0; also 0 for NULL and after
 * fork. Whether it works on this host is capsa_doctor's matter. Since 0.1. */
CAPSA_API int capsa_has(const char *feature);

/* Examines the host. *json becomes a text (free it with capsa_mem_free) that says for each backend whether it works
 * here, why not, and what to do about it; and of one that works what it can do ("features"), and for what it cannot what
 * that would take ("needs"), as the errors of capsa_builder_build do. Opens /dev/kvm for a moment; on macOS starts
 * capsa-vzd. Errors: NO_MEMORY, INTERNAL. Since 0.1. */
CAPSA_API capsa_status capsa_doctor(char **json, capsa_error **err);

/* Writes the counters of all machines of the process that have not been freed, in the text format of Prometheus, to
 * *text (free it with capsa_mem_free); see capsa_vm_metrics. Errors: NO_MEMORY. Since 0.1. */
CAPSA_API capsa_status capsa_metrics(char **text, capsa_error **err);

/* Frees a text that a function gave out as `char **`. NULL is a no-op. Allowed after fork. Since 0.1. */
CAPSA_API void capsa_mem_free(void *p);

/* ---- Status and errors -------------------------------------------------------------------------------------- */

/* The name of a status, "CAPSA_E_TIMEOUT"; "CAPSA_E_UNKNOWN" for a number this library does not know. Static memory.
 * Allowed after fork. Since 0.1. */
CAPSA_API const char *capsa_status_name(capsa_status status);

/* The class of a status: CAPSA_OK or CAPSA_E_... without detail. Allowed after fork. Since 0.1. */
CAPSA_API capsa_status capsa_status_class(capsa_status status);

/*
 * What an error object says. Strings are UTF-8, never NULL, owned by the object and valid until it is freed. For NULL
 * and stale objects: CAPSA_OK, 0, "". Error objects are immutable: any thread may read them. Allowed after fork.
 * Since 0.1.
 */
CAPSA_API capsa_status capsa_error_code(const capsa_error *error);     /* the status the call returned */
CAPSA_API const char *capsa_error_message(const capsa_error *error);   /* what failed, on what, and why; one line */
CAPSA_API const char *capsa_error_hint(const capsa_error *error);      /* what a person can do about it, or "" */
CAPSA_API const char *capsa_error_component(const capsa_error *error); /* "kvm", "boot", "console"..., or "" */
CAPSA_API int32_t capsa_error_os_errno(const capsa_error *error);      /* errno of the failed system call, or 0 */
CAPSA_API const char *
capsa_error_detail_json(const capsa_error *error); /* {"problems":[{"field","message","hint"}]...} */

/* The last output (up to 4 KiB) of a guest that did not come up: bytes, not necessarily UTF-8, terminated by a zero
 * byte that *len (NULL allowed) does not count. Since 0.1. */
CAPSA_API const char *capsa_error_console_tail(const capsa_error *error, size_t *len);

/* Frees an error object. NULL and stale objects are no-ops. Allowed after fork. Since 0.1. */
CAPSA_API void capsa_error_free(capsa_error *error);

/* ---- Cancel ------------------------------------------------------------------------------------------------- */

/* Makes a token for any number of waiting calls. Free it with capsa_cancel_free. Errors: LIMIT. Since 0.1. */
CAPSA_API CAPSA_MUST_CHECK capsa_status capsa_cancel_new(capsa_cancel **out, capsa_error **err);

/* Ends every call that waits with this token, now and from now on, with CAPSA_E_CANCELLED. May be repeated. Not for
 * signal handlers (a handler ends the wait of its own thread by itself: CAPSA_E_INTERRUPTED). Since 0.1. */
CAPSA_API capsa_status capsa_cancel_trigger(capsa_cancel *cancel, capsa_error **err);

/* Frees the token. Calls that wait with it go on and can no longer be cancelled. Since 0.1. */
CAPSA_API void capsa_cancel_free(capsa_cancel *cancel);

/* ---- Builder ------------------------------------------------------------------------------------------------ */

/*
 * A builder describes a machine and builds any number of them. Setters copy what they are given, check what can be
 * checked without the rest, and change nothing when they fail; the last call wins. None of them waits.
 * Errors of every setter: INVALID_ARG, HANDLE, FORKED.
 */

/* Makes a builder: 1 vCPU, 256 MiB, the best backend of the host, nothing to boot. Free it with capsa_builder_free.
 * Errors: LIMIT. Since 0.1. */
CAPSA_API CAPSA_MUST_CHECK capsa_status capsa_builder_new(capsa_builder **out, capsa_error **err);

/* Makes a copy that from now on changes by itself. Free it with capsa_builder_free. Errors: HANDLE, LIMIT. Since 0.1. */
CAPSA_API CAPSA_MUST_CHECK capsa_status capsa_builder_clone(capsa_builder *builder, capsa_builder **out,
                                                            capsa_error **err);

/* Frees the builder. Machines built from it are not affected. Since 0.1. */
CAPSA_API void capsa_builder_free(capsa_builder *builder);

/* Names the machine, for messages and process listings: up to 64 bytes of printable UTF-8, "" for none. Since 0.1. */
CAPSA_API capsa_status capsa_builder_set_name(capsa_builder *builder, const char *name, capsa_error **err);

/* Chooses the backend: "kvm", or "" for the best one of the host. NOT_FOUND: no such backend in this build. Since 0.1. */
CAPSA_API capsa_status capsa_builder_set_backend(capsa_builder *builder, const char *name, capsa_error **err);

/* Boots a Linux kernel (bzImage or ELF vmlinux, recognised by content) with an initial RAM disk (NULL: none). Both are
 * host paths, opened by capsa_builder_build. Since 0.1. */
CAPSA_API capsa_status capsa_builder_boot_linux(capsa_builder *builder, const char *kernel_path,
                                                const char *initrd_path, capsa_error **err);

/* Appends one argument to the kernel command line, after the machine's own; of several values of one key the last
 * wins. The argument is taken as it is and may not contain line breaks. Since 0.1. */
CAPSA_API capsa_status capsa_builder_cmdline_arg(capsa_builder *builder, const char *arg, capsa_error **err);

/* Gives the whole kernel command line, verbatim, in place of the machine's own and of all arguments (a build with both
 * is CONFIG). NULL goes back to the machine's own. Since 0.1. */
CAPSA_API capsa_status capsa_builder_set_cmdline(capsa_builder *builder, const char *cmdline, capsa_error **err);

/* Sets the number of virtual processors, at least 1. The backend's maximum is checked at build. Since 0.1. */
CAPSA_API capsa_status capsa_builder_set_cpus(capsa_builder *builder, uint32_t cpus, capsa_error **err);

/* Sets the guest's memory in MiB (1048576 bytes). Since 0.1. */
CAPSA_API capsa_status capsa_builder_set_memory_mib(capsa_builder *builder, uint64_t mib, capsa_error **err);

/* Limits the machine's whole life, from start on, in milliseconds; it then ends with CAPSA_CAUSE_TIMED_OUT. 0: no
 * limit. Since 0.1. */
CAPSA_API capsa_status capsa_builder_set_timeout(capsa_builder *builder, int64_t timeout_ms, capsa_error **err);

/* Sets size and buffer of the console. NULL options: the defaults. Since 0.1. */
CAPSA_API capsa_status capsa_builder_set_console(capsa_builder *builder, const capsa_console_options *options,
                                                 capsa_error **err);

/* Adds a disk with an image or block device; the guest sees the disks in the order in which they were added: /dev/vda,
 * /dev/vdb... NULL options: the defaults. The build opens the image and locks it: one that a machine writes is no
 * other's, in this process or another. Errors of the build for disks: CONFIG (not an image, one of unknown format, or
 * one that names files outside of its directory), NOT_FOUND, PERMISSION, UNAVAILABLE (in use), LIMIT, IO. Since 0.1. */
CAPSA_API capsa_status capsa_builder_add_disk(capsa_builder *builder, const char *path,
                                              const capsa_disk_options *options, capsa_error **err);

/* Adds a directory that the guest mounts by its tag (up to 36 bytes of printable UTF-8): mount -t virtiofs TAG /mnt.
 * NULL options: the defaults. The build opens the directory. A tag given twice is INVALID_ARG. Errors of the build for
 * shares: CONFIG (a path that is no directory), NOT_FOUND, PERMISSION (also for owners that need root), UNSUPPORTED (the
 * file system cannot do what is asked for), LIMIT, IO. Since 0.1. */
CAPSA_API capsa_status capsa_builder_add_share(capsa_builder *builder, const char *tag, const char *path,
                                               const capsa_share_options *options, capsa_error **err);

/* Sets how memory that the guest does without goes back to the host. NULL options: all of it is on. Since 0.1. */
CAPSA_API capsa_status capsa_builder_set_balloon(capsa_builder *builder, const capsa_balloon_options *options,
                                                 capsa_error **err);

/* The process in which a machine runs. Since 0.1. */
#define CAPSA_ISOLATION_DEFAULT 0 /* as the backend prefers: kvm runs it in this process */
#define CAPSA_ISOLATION_NONE 1    /* in this process */
#define CAPSA_ISOLATION_PROCESS 2 /* in a process of its own, whose death is only the machine's */

/* In `flags` of CAPSA_ISOLATION_PROCESS. Without one the process is confined as far as this library goes: to the files
 * of the machine, to the system calls of one that runs, without capabilities; what the host's kernel cannot do is an
 * error of the build. Since 0.1. */
#define CAPSA_ISOLATION_JAIL_PARTIAL 1 /* it is confined as far as the host's kernel goes */
#define CAPSA_ISOLATION_JAIL_OFF 2     /* it is not confined */

/* Chooses the process in which the machine runs (CAPSA_ISOLATION_...), and with `flags` its jail. A machine whose
 * process dies ends with CAPSA_CAUSE_VMM_CRASH. An event of type CAPSA_EVENT_LOG says what confines it. The build
 * needs the program capsa-vzd for it: beside the library, beside this program, in PATH, or where the environment
 * variable CAPSA_VZD_PATH says. UNAVAILABLE at the build: it is in none of them; UNSUPPORTED at the build: the backend
 * cannot, or the host's kernel cannot confine it. Errors: INVALID_ARG. Since 0.1. */
CAPSA_API capsa_status capsa_builder_set_isolation(capsa_builder *builder, uint32_t isolation, uint32_t flags,
                                                   capsa_error **err);

/*
 * Sockets (AF_VSOCK) between guest and host. A new builder's machines have none; capsa_builder_set_vsock (on: 0 or 1)
 * gives them some, as does a bound port. In the guest the host's address is VMADDR_CID_HOST, 2. Since 0.1.
 */
CAPSA_API capsa_status capsa_builder_set_vsock(capsa_builder *builder, int on, capsa_error **err);

/* In `flags` of a socket: messages (SOCK_SEQPACKET on both sides) and not bytes (SOCK_STREAM). */
#define CAPSA_VSOCK_SEQPACKET 1

/* Binds a port of the guest to a path: the host listens there from the build until the machine's end, and connects each
 * client to the guest's port. Nothing may be at the path yet (1 to 107 bytes); only this user can connect (mode 0600).
 * A client whose connection the guest refuses reads the end. CONFIG at the build: a port or path is bound twice; EXISTS:
 * there is something at the path. Since 0.1. */
CAPSA_API capsa_status capsa_builder_vsock_listen(capsa_builder *builder, uint32_t port, const char *path,
                                                  uint32_t flags, capsa_error **err);

/* Binds a port of the host to a path: for each connection of the guest to it the host connects to the unix socket
 * there. While nobody listens at the path the guest is refused. CONFIG at the build: the port is bound twice. Since
 * 0.1. */
CAPSA_API capsa_status capsa_builder_vsock_connect(capsa_builder *builder, uint32_t port, const char *path,
                                                   uint32_t flags, capsa_error **err);

/* Gives the guest a network; NULL options: none, as a new builder has it. Policy and forwards stay. UNSUPPORTED at the
 * build: the backend has no such network. Since 0.1. */
CAPSA_API capsa_status capsa_builder_set_network(capsa_builder *builder, const capsa_network_options *options,
                                                 capsa_error **err);

/*
 * Says what the guest may reach, and what may reach it: `len` bytes of JSON. NULL: everything but the host itself, and
 * what only the host should reach (its loopback, link-local addresses, metadata of clouds), both of which no "allow"
 * opens but by "unlock". Of the rules the first that matches decides.
 *
 *   {"default": "deny-all",                      // or "allow-all", or "public-only"
 *    "deny": "reject", "inbound": "allow",       // or "drop"
 *    "unlock": ["host"],                         // groups: public private loopback linklocal metadata multicast host
 *    "rules": [{"action": "allow",               // or "deny", "reject", "drop", "log"
 *               "direction": "outbound",         // or "inbound", "both"
 *               "addresses": ["192.0.2.0/24"], "groups": ["private"], "ports": [80, "8000-8010"],
 *               "protocols": ["tcp"], "domains": ["example.com", "*.example.com"]}]}
 *
 * Since 0.1.
 */
CAPSA_API capsa_status capsa_builder_set_policy_json(capsa_builder *builder, const char *json, size_t len,
                                                     capsa_error **err);

/* Opens a port of the guest to the host's side, from the build to the machine's end. Until the guest answers, clients
 * wait. Errors of the build: CONFIG (two at one place, a machine without a network), EXISTS (something is there),
 * PERMISSION, NOT_FOUND (the directory of a path), LIMIT. Since 0.1. */
CAPSA_API capsa_status capsa_builder_add_forward(capsa_builder *builder, const capsa_forward_options *options,
                                                 capsa_error **err);

/* ---- Networks of several machines ---------------------------------------------------------------------------- */

/* Makes a network of several machines; NULL options: the defaults. Free it with capsa_network_free. Errors: INVALID_ARG
 * (the detail lists all problems), UNSUPPORTED, NO_MEMORY. Since 0.1. */
CAPSA_API CAPSA_MUST_CHECK capsa_status capsa_network_new(const capsa_shared_options *options, capsa_network **out,
                                                          capsa_error **err);

/* Frees the handle. Machines that are on the network stay on it, and so do builders that it was attached to: what these
 * build then is of STATE. Since 0.1. */
CAPSA_API void capsa_network_free(capsa_network *network);

/* Puts the guest on a network of several machines; NULL options: the defaults. Policy, forwards, limits and capture stay.
 * Errors of the build: EXISTS (its name or address is another machine's), LIMIT (no address is free), STATE (the network
 * was freed). Since 0.1. */
CAPSA_API capsa_status capsa_builder_attach_network(capsa_builder *builder, capsa_network *network,
                                                    const capsa_attach_options *options, capsa_error **err);

/* Makes whoever holds the other end of a descriptor (1 or more) the guest's network; NULL options: a stream. The
 * descriptor has to stay open until the build, which makes a copy of it and makes both non-blocking. When the other end
 * goes, the guest sees its cable pulled, and an event of type CAPSA_EVENT_LINK says so. Policies and forwards are the
 * other end's business. Errors of the build: INVALID_ARG (not open, or not of the framing). Since 0.1. */
CAPSA_API capsa_status capsa_builder_attach_fd(capsa_builder *builder, int fd, const capsa_attach_options *options,
                                               capsa_error **err);

/* Makes a TAP interface of the host, by its name, the guest's network; NULL options: the defaults. It has to be there, and
 * this user's: ip tuntap add NAME mode tap user USER. Errors of the build: NOT_FOUND, PERMISSION, UNAVAILABLE (in use).
 * Since 0.1. */
CAPSA_API capsa_status capsa_builder_attach_tap(capsa_builder *builder, const char *name,
                                                const capsa_attach_options *options, capsa_error **err);

/* Bounds what passes the guest's network device; NULL: nothing is bounded. Since 0.1. */
CAPSA_API capsa_status capsa_builder_set_network_limits(capsa_builder *builder, const capsa_network_limits *limits,
                                                        capsa_error **err);

/* Has what passes the guest's network device written to a file, from the build on; NULL: not. A descriptor has to stay
 * open until the build, which makes a copy of it; that of a pipe or socket becomes non-blocking. Errors of the build:
 * NOT_FOUND (the directory), PERMISSION, INVALID_ARG (the descriptor is not open). Since 0.1. */
CAPSA_API capsa_status capsa_builder_set_capture(capsa_builder *builder, const capsa_capture_options *options,
                                                 capsa_error **err);

/* Writes the description as JSON into *json (free it with capsa_mem_free). Errors: HANDLE, NO_MEMORY. Since 0.1. */
CAPSA_API capsa_status capsa_builder_to_json(capsa_builder *builder, char **json, capsa_error **err);

/* Makes a builder from such JSON; `len` bytes, no terminator needed. Unknown fields are errors. Free it with
 * capsa_builder_free. Errors: CONFIG with every problem in the detail, LIMIT. Since 0.1. */
CAPSA_API CAPSA_MUST_CHECK capsa_status capsa_builder_from_json(const char *json, size_t len, capsa_builder **out,
                                                                capsa_error **err);

/*
 * Validates the description, opens and loads the kernel and makes the machine; nothing runs yet. Reads files, so it
 * takes as long as the disk. The builder is unchanged and can build again. Free the machine with capsa_vm_free.
 * Errors: CONFIG (detail lists all problems), UNSUPPORTED, UNAVAILABLE (hint says how to get access), NOT_FOUND,
 * PERMISSION, BOOT, NO_MEMORY, LIMIT, IO. Since 0.1.
 */
CAPSA_API CAPSA_MUST_CHECK capsa_status capsa_builder_build(capsa_builder *builder, capsa_vm **out, capsa_error **err);

/* ---- Machine ------------------------------------------------------------------------------------------------ */

/* Runs a created machine; returns when its processors run, not when the guest is up. Errors: STATE (it was started
 * before), BOOT, IO, NO_MEMORY, TIMEOUT, CANCELLED. Since 0.1. */
CAPSA_API capsa_status capsa_vm_start(capsa_vm *vm, int64_t timeout_ms, capsa_cancel *cancel, capsa_error **err);

/* Waits for the end of the machine and writes its record to *info (NULL: not wanted). Repeatable, from many threads,
 * always the same record. Success means the machine has ended, however it did. Errors: INVALID_ARG (size of *info),
 * TIMEOUT, CANCELLED, CLOSED; BOOT when the guest never came up, with *info written and the last output in the error.
 * Since 0.1. */
CAPSA_API capsa_status capsa_vm_wait(capsa_vm *vm, int64_t timeout_ms, capsa_cancel *cancel, capsa_exit_info *info,
                                     capsa_error **err);

/* Writes the whole exit record, with the text of a kernel panic, to *json (free it with capsa_mem_free). Errors: STATE
 * (it has not ended), NO_MEMORY. Since 0.1. */
CAPSA_API capsa_status capsa_vm_exit_json(capsa_vm *vm, char **json, capsa_error **err);

/* Asks the guest to shut down, waits up to grace_ms (-1: for ever, 0: not at all) and then kills it. *stage (NULL: not
 * wanted) says how far it had to go: CAPSA_STAGE_... A cancelled call leaves the request standing and does not kill.
 * Errors: STATE (never started), CANCELLED, CLOSED. Since 0.1. */
CAPSA_API capsa_status capsa_vm_stop(capsa_vm *vm, int64_t grace_ms, capsa_cancel *cancel, uint32_t *stage,
                                     capsa_error **err);

/* Asks the guest's agent to shut the guest down, then presses the power button, then kills, each for as long as
 * *options (NULL: CAPSA_STOP_OPTIONS_INIT) says, until the machine has ended. A paused machine is resumed for it.
 * *outcome (NULL: not wanted) tells which stage ended it, and the exit record why the others had not. Errors:
 * INVALID_ARG, STATE (never started), TIMEOUT (it was not to be killed, or has been and not ended in time), CANCELLED,
 * CLOSED; with TIMEOUT and CANCELLED the requests made so far stand, and *outcome is written too. Since 0.1. */
CAPSA_API capsa_status capsa_vm_stop_in_stages(capsa_vm *vm, const capsa_stop_options *options, capsa_cancel *cancel,
                                               capsa_stop_outcome *outcome, capsa_error **err);

/* Stops the machine at once and returns when it has ended, within a second whatever the guest does; the host's storage,
 * when a disk of the machine waits for it, may take up to ten seconds more. A machine that has
 * ended is left as it is, with success. Since 0.1. */
CAPSA_API capsa_status capsa_vm_kill(capsa_vm *vm, capsa_error **err);

/* Stops the processors, which keep their state. Returns when none runs. Errors: STATE. Since 0.1. */
CAPSA_API capsa_status capsa_vm_pause(capsa_vm *vm, capsa_error **err);

/* Lets paused processors run on. Errors: STATE. Since 0.1. */
CAPSA_API capsa_status capsa_vm_resume(capsa_vm *vm, capsa_error **err);

/*
 * Asks the guest to make do with that many bytes of its memory; 0, or all of it, ends that. It returns at once:
 * capsa_vm_stats has the target, how far the guest is, and how much of the host the machine takes. At any time before
 * the end: a guest whose driver is not up yet is asked when it is; one without a driver never does anything. A target
 * that the guest cannot reach makes it use all it has, and try again five times a second.
 * Errors: INVALID_ARG (more than the machine has), UNSUPPORTED (it has no balloon), STATE (it has ended). Since 0.1.
 */
CAPSA_API capsa_status capsa_vm_set_memory_target(capsa_vm *vm, uint64_t bytes, capsa_error **err);

/*
 * Connects to a port of the guest. *fd becomes a connected unix socket, of the type that `flags` says
 * (CAPSA_VSOCK_SEQPACKET): shutdown(2) for writing shows the guest the end, and reading gives the end when the guest has
 * shut its side down, and when the machine has ended. It waits for the guest's driver to come up and for its answer.
 * Errors: INVALID_ARG, UNSUPPORTED (the machine has no sockets, or the driver none of this type), IO (nobody listens
 * there: errno ECONNREFUSED; the driver went away: ECONNRESET), STATE (the machine has ended), LIMIT, TIMEOUT, CANCELLED,
 * CLOSED. Since 0.1.
 */
CAPSA_API capsa_status capsa_vm_vsock_connect(capsa_vm *vm, uint32_t port, uint32_t flags, int64_t timeout_ms,
                                              capsa_cancel *cancel, int *fd, capsa_error **err);

/*
 * Listens at a port of the host for the guest's connections. *fd becomes a listening unix socket, of the type that
 * `flags` says: poll(2) it, and accept(2) gives each connection. At most `backlog` (1 or more; bounded by the host's
 * net.core.somaxconn) wait there; more are refused, and all when *fd is closed. The port stays in use until
 * capsa_vm_vsock_unlisten.
 * Errors: INVALID_ARG, EXISTS (the port is in use), UNSUPPORTED (the machine has no sockets), STATE (it has ended),
 * LIMIT. Since 0.1.
 */
CAPSA_API capsa_status capsa_vm_vsock_listen(capsa_vm *vm, uint32_t port, uint32_t flags, int backlog, int *fd,
                                             capsa_error **err);

/* Frees a port of capsa_vm_vsock_listen or capsa_builder_vsock_connect: the guest is refused there from now on. What is
 * connected stays so. Errors: NOT_FOUND, UNSUPPORTED, STATE. Since 0.1. */
CAPSA_API capsa_status capsa_vm_vsock_unlisten(capsa_vm *vm, uint32_t port, capsa_error **err);

/* Opens one more port of the guest to the host's side; *info (NULL: not wanted) becomes what it is. Errors: INVALID_ARG,
 * EXISTS (something is at that address or path), PERMISSION, NOT_FOUND (the directory of a path), UNSUPPORTED (the machine
 * has no network of its own), STATE (it has ended), LIMIT. A confined process (capsa_builder_set_isolation) can only use
 * paths of its builder: PERMISSION. Since 0.1. */
CAPSA_API capsa_status capsa_vm_add_forward(capsa_vm *vm, const capsa_forward_options *options,
                                            capsa_forward_info *info, capsa_error **err);

/* Closes a forwarded port. TCP connections that are established go on. Errors: NOT_FOUND, UNSUPPORTED, STATE. Since
 * 0.1. */
CAPSA_API capsa_status capsa_vm_remove_forward(capsa_vm *vm, uint32_t id, capsa_error **err);

/* Writes the forwarded ports, those of the builder first, as a JSON list to *json (free it with capsa_mem_free):
 * {"id","protocol","host" ("127.0.0.1:8080") or "path","guest_port"}. Errors: UNSUPPORTED, STATE, NO_MEMORY. Since 0.1. */
CAPSA_API capsa_status capsa_vm_forwards_json(capsa_vm *vm, char **json, capsa_error **err);

/* Puts another policy in force, at once: flows that it does not allow end. The JSON is that of
 * capsa_builder_set_policy_json. Errors: INVALID_ARG (the detail lists all problems; the old policy stays), UNSUPPORTED,
 * STATE. Since 0.1. */
CAPSA_API capsa_status capsa_vm_set_policy_json(capsa_vm *vm, const char *json, size_t len, capsa_error **err);

/* Plugs the guest's cable in (up: 1) or pulls it out (0). Errors: INVALID_ARG, UNSUPPORTED, STATE. Since 0.1. */
CAPSA_API capsa_status capsa_vm_set_link(capsa_vm *vm, int up, capsa_error **err);

/* Plugs the guest's cable into another descriptor, for a machine that capsa_builder_attach_fd has attached to one: when
 * the other end has gone, or in its place. Errors: INVALID_ARG, UNSUPPORTED (its network is no descriptor), STATE. Since
 * 0.1. */
CAPSA_API capsa_status capsa_vm_attach_fd(capsa_vm *vm, int fd, capsa_error **err);

/* Changes what bounds the guest's network device, at once; NULL: nothing. Errors: INVALID_ARG, UNSUPPORTED (it has none),
 * STATE. Since 0.1. */
CAPSA_API capsa_status capsa_vm_set_network_limits(capsa_vm *vm, const capsa_network_limits *limits,
                                                   capsa_error **err);

/* Has what passes the guest's network device written to a file from now on, in place of the file before; NULL: not any
 * more. Errors: INVALID_ARG, NOT_FOUND (the directory), PERMISSION, UNSUPPORTED (it has no device), STATE, IO (of the file
 * before). Since 0.1. */
CAPSA_API capsa_status capsa_vm_set_capture(capsa_vm *vm, const capsa_capture_options *options, capsa_error **err);

/* Writes the state, CAPSA_STATE_..., to *state. Since 0.1. */
CAPSA_API capsa_status capsa_vm_state(capsa_vm *vm, uint32_t *state, capsa_error **err);

/* Writes counters (exits, devices, time line of the boot) as JSON to *json (free it with capsa_mem_free). Since 0.1. */
CAPSA_API capsa_status capsa_vm_stats_json(capsa_vm *vm, char **json, capsa_error **err);

/* Writes the machine's counters and time line to *stats; also after the end. A snapshot is not atomic across counters.
 * What the guest says of its memory is from the last time; the call asks it for the next, and does not wait for that.
 * Errors: INVALID_ARG (size of *stats). Since 0.1. */
CAPSA_API capsa_status capsa_vm_stats(capsa_vm *vm, capsa_stats *stats, capsa_error **err);

/* Writes the counters of one device to *stats. Devices are counted from 0; each keeps its index as long as the machine
 * exists. Errors: INVALID_ARG (size of *stats), NOT_FOUND (there are not so many). Since 0.1. */
CAPSA_API capsa_status capsa_vm_device_stats(capsa_vm *vm, uint32_t device, capsa_device_stats *stats,
                                             capsa_error **err);

/* Writes all counters in the text format of Prometheus to *text (free it with capsa_mem_free). The label "vm" is the
 * machine's name, and "id" a number that no two machines of a process share. Errors: NO_MEMORY. Since 0.1. */
CAPSA_API capsa_status capsa_vm_metrics(capsa_vm *vm, char **text, capsa_error **err);

/* Gives what the guest has written to its first serial port: the early boot log and the text of a panic; the last 64 KiB
 * (free it with capsa_output_free). Also after the end. Errors: NO_MEMORY. Since 0.1. */
CAPSA_API capsa_status capsa_vm_boot_log(capsa_vm *vm, capsa_output **out, capsa_error **err);

/* Gives a descriptor that is readable while capsa_vm_next_event has something, and at its end once the machine has
 * ended. Poll it; what can be read from it has no meaning. A new one each call, 256 at most. Errors: LIMIT. Since 0.1. */
CAPSA_API capsa_status capsa_vm_event_fd(capsa_vm *vm, int *fd, capsa_error **err);

/* Takes the oldest event. *json (NULL: not wanted) becomes its details (free with capsa_mem_free). The queue is
 * bounded; what it dropped it counts in a CAPSA_EVENT_EVENTS_LOST. Errors: INVALID_ARG (size of *event), TIMEOUT,
 * CANCELLED, CLOSED (the machine has ended and all events were taken). Since 0.1. */
CAPSA_API capsa_status capsa_vm_next_event(capsa_vm *vm, int64_t timeout_ms, capsa_cancel *cancel, capsa_event *event,
                                           char **json, capsa_error **err);

/* Gives a descriptor that is at its end (readable, POLLHUP) once the machine has ended, for ever, and never before. A
 * new one each call. Errors: LIMIT. Since 0.1. */
CAPSA_API capsa_status capsa_vm_exit_fd(capsa_vm *vm, int *fd, capsa_error **err);

/* Opens the machine's console. Each capsa_console reads from a position of its own, which begins at the oldest output
 * still kept; what one reads stays there for the others. Free it with capsa_console_free. Errors: LIMIT. Since 0.1. */
CAPSA_API CAPSA_MUST_CHECK capsa_status capsa_vm_console(capsa_vm *vm, capsa_console **out, capsa_error **err);

/* Frees the machine: kills it when it runs (within a second), releases everything. Its consoles keep the output that
 * they have not read yet. Since 0.1. */
CAPSA_API void capsa_vm_free(capsa_vm *vm);

/* ---- Sandbox: programs and files of the guest --------------------------------------------------------------- */

/*
 * The guest of such a machine has the library's agent as its first process, which comes with the library. Calls to it wait
 * until the guest is up. Errors that all have: HANDLE, UNSUPPORTED (no agent), STATE (the machine has ended), BOOT,
 * GUEST, PROTOCOL, TIMEOUT, CANCELLED; and NOT_FOUND, EXISTS, PERMISSION, INVALID_ARG and LIMIT by the guest's error
 * number, which capsa_error_os_errno gives.
 */

/*
 * Makes the description of a machine in which programs are run: with an agent, in a process of its own, no network, no
 * shares, 1 processor, 256 MiB. Give it a kernel and a root directory. Free it with capsa_builder_free. Errors: LIMIT.
 * Since 0.1.
 */
CAPSA_API CAPSA_MUST_CHECK capsa_status capsa_builder_new_sandbox(capsa_builder **out, capsa_error **err);

/*
 * Makes a directory of the host the guest's root directory, and, the second one, the file system on a disk: ext4, erofs
 * or squashfs. With CAPSA_OVERLAY_MEMORY it is only read, and what the guest writes is gone with the machine; with
 * CAPSA_OVERLAY_NONE the guest writes it. `options` (NULL: raw) are the disk's, but for serial, overlay and
 * CAPSA_DISK_ROOT. Errors: HANDLE, INVALID_ARG. Since 0.1.
 */
#define CAPSA_OVERLAY_MEMORY 0
#define CAPSA_OVERLAY_NONE 1
CAPSA_API capsa_status capsa_builder_set_root_dir(capsa_builder *builder, const char *path, uint32_t overlay,
                                                  capsa_error **err);
CAPSA_API capsa_status capsa_builder_set_root_disk(capsa_builder *builder, const char *path,
                                                   const capsa_disk_options *options, uint32_t overlay,
                                                   capsa_error **err);

/* Has the agent mount a directory of the host at an absolute path of the guest; `options` (NULL: the defaults) are the
 * share's. Errors: HANDLE, INVALID_ARG. Since 0.1. */
CAPSA_API capsa_status capsa_builder_mount(capsa_builder *builder, const char *path, const char *target,
                                           const capsa_share_options *options, capsa_error **err);

/* Says all that the agent does in the guest: the value of the key "guest" of the description as JSON (modules, root,
 * mounts, hostname, network, main). Errors: HANDLE, CONFIG with every problem in the detail. Since 0.1. */
CAPSA_API capsa_status capsa_builder_set_guest_json(capsa_builder *builder, const char *json, size_t len,
                                                    capsa_error **err);

/* Waits until the guest is set up and writes what it says of itself as JSON into *info (NULL: not wanted; free it with
 * capsa_mem_free). Since 0.1. */
CAPSA_API capsa_status capsa_vm_wait_ready(capsa_vm *vm, int64_t timeout_ms, capsa_cancel *cancel, char **info,
                                           capsa_error **err);

/* Starts a program in the guest. The timeout is for the start. Free it with capsa_exec_free. Since 0.1. */
CAPSA_API CAPSA_MUST_CHECK capsa_status capsa_vm_exec(capsa_vm *vm, const capsa_exec_options *options,
                                                      int64_t timeout_ms, capsa_cancel *cancel, capsa_exec **out,
                                                      capsa_error **err);

/*
 * Writes the descriptor of a stream into *fd: 0 for stdin, 1 for stdout, 2 for stderr. It is a unix stream socket,
 * non-blocking, close-on-exec, and the caller's; each stream is given once. Writing waits for the program to read, and
 * shutting stdin's down for writing shows it the end. Errors: HANDLE, INVALID_ARG, STATE (it was given before, or has no
 * such stream), LIMIT. Since 0.1.
 */
CAPSA_API capsa_status capsa_exec_fd(capsa_exec *exec, uint32_t stream, int *fd, capsa_error **err);

/* Waits for the program's end and writes it to *status (NULL: not wanted). Repeatable. What it wrote may still be on its
 * way. Since 0.1. */
CAPSA_API capsa_status capsa_exec_wait(capsa_exec *exec, int64_t timeout_ms, capsa_cancel *cancel,
                                       capsa_exec_status *status, capsa_error **err);

/* Sends a signal, by its number on Linux, to the program's process group, or, with CAPSA_SIGNAL_ALL and 9, kills
 * everything that came from it. One that has ended gets none, which is no error. Since 0.1. */
#define CAPSA_SIGNAL_ALL 1
CAPSA_API capsa_status capsa_exec_signal(capsa_exec *exec, int32_t signal, uint32_t flags, int64_t timeout_ms,
                                         capsa_cancel *cancel, capsa_error **err);

/* Tells the program the size of its terminal. Since 0.1. */
CAPSA_API capsa_status capsa_exec_resize(capsa_exec *exec, uint16_t columns, uint16_t rows, int64_t timeout_ms,
                                         capsa_cancel *cancel, capsa_error **err);

/* Frees it, and kills a program that has not ended. Does not wait for the guest. */
CAPSA_API void capsa_exec_free(capsa_exec *exec);

/*
 * Copies a file or directory into the guest, and out of it: `to` is what `from` becomes there. A directory is added to, a
 * file replaced. Symbolic links are copied as such. With CAPSA_COPY_KEEP_OWNER user and group numbers are kept. Nothing
 * outside of the directory that `to` is in can be touched, whatever the guest sends. Errors of their own: IO, LIMIT (16
 * GiB, a million files). Since 0.1.
 */
#define CAPSA_COPY_KEEP_OWNER 1
CAPSA_API capsa_status capsa_vm_copy_in(capsa_vm *vm, const char *from, const char *to, uint32_t flags,
                                        int64_t timeout_ms, capsa_cancel *cancel, capsa_error **err);
CAPSA_API capsa_status capsa_vm_copy_out(capsa_vm *vm, const char *from, const char *to, uint32_t flags,
                                         int64_t timeout_ms, capsa_cancel *cancel, capsa_error **err);

/* Reads a whole file of the guest, of 256 MiB at most; free the output. Since 0.1. */
CAPSA_API CAPSA_MUST_CHECK capsa_status capsa_vm_file_read(capsa_vm *vm, const char *path, int64_t timeout_ms,
                                                           capsa_cancel *cancel, capsa_output **out,
                                                           capsa_error **err);

/* Writes a whole file of the guest in place of the one that is there, which stays whole until then. `mode` is that of a
 * new file; 0: as the old one's, or 0644. Since 0.1. */
CAPSA_API capsa_status capsa_vm_file_write(capsa_vm *vm, const char *path, const void *data, size_t len, uint32_t mode,
                                           int64_t timeout_ms, capsa_cancel *cancel, capsa_error **err);

/* ---- Console ------------------------------------------------------------------------------------------------ */

/* Gives a descriptor on which the console's output, from the oldest kept on, can be read and input can be written. It
 * has a position of its own. At its end once the machine has ended and all was read. Errors: LIMIT. Since 0.1. */
CAPSA_API capsa_status capsa_console_fd(capsa_console *console, int *fd, capsa_error **err);

/* Reads what is there, at least one byte and at most cap, into buf; *len becomes the number of bytes. 0 bytes with
 * CAPSA_OK is the end of the console. Errors: TIMEOUT, CANCELLED, CLOSED. Since 0.1. */
CAPSA_API capsa_status capsa_console_read(capsa_console *console, int64_t timeout_ms, capsa_cancel *cancel, void *buf,
                                          size_t cap, size_t *len, capsa_error **err);

/* Writes to the guest, which may be slow to take it; *written becomes the number of bytes taken, which is `len` unless
 * the wait ended early after some were. Then the status is CAPSA_OK all the same, as for write(2). Errors: TIMEOUT,
 * CANCELLED (nothing was taken), CLOSED. Since 0.1. */
CAPSA_API capsa_status capsa_console_write(capsa_console *console, int64_t timeout_ms, capsa_cancel *cancel,
                                           const void *data, size_t len, size_t *written, capsa_error **err);

/* Waits until one of the n patterns (1 to 64) appears in the output; the earliest match wins, then the lower index.
 * Consumes the output up to the end of the match: *match (NULL: not wanted) says where it is, *output (NULL: not
 * wanted) becomes the consumed output (free it with capsa_output_free). Consumes nothing when it fails. Errors:
 * INVALID_ARG (a bad pattern, named), TIMEOUT, CANCELLED, CLOSED (the console ended without a match). Since 0.1. */
CAPSA_API capsa_status capsa_console_expect(capsa_console *console, int64_t timeout_ms, capsa_cancel *cancel,
                                            const capsa_pattern *patterns, size_t n, capsa_match *match,
                                            capsa_output **output, capsa_error **err);

/* Runs a command line in the shell that waits on the console and gives its exit status and what it wrote (free it with
 * capsa_output_free; NULL: not wanted), whatever the prompt is. The command runs in a subshell with no input; a
 * console's own position does not move. Of more than 16 MiB of output the rest is missing (capsa_output_missing). When
 * the wait ends early the command goes on in the guest; capsa_console_interrupt stops it. Commands on one machine take
 * turns. Errors: INVALID_ARG, TIMEOUT, CANCELLED, CLOSED. Since 0.1. */
CAPSA_API capsa_status capsa_console_run(capsa_console *console, int64_t timeout_ms, capsa_cancel *cancel,
                                         const char *command, int32_t *exit_status, capsa_output **output,
                                         capsa_error **err);

/* Types Ctrl-C. Errors: TIMEOUT, CANCELLED, CLOSED. Since 0.1. */
CAPSA_API capsa_status capsa_console_interrupt(capsa_console *console, int64_t timeout_ms, capsa_cancel *cancel,
                                               capsa_error **err);

/* Types Ctrl-D, the end of input. Errors: TIMEOUT, CANCELLED, CLOSED. Since 0.1. */
CAPSA_API capsa_status capsa_console_eof(capsa_console *console, int64_t timeout_ms, capsa_cancel *cancel,
                                         capsa_error **err);

/* Tells the guest the size of the terminal, both at least 1. Errors: INVALID_ARG, STATE, UNSUPPORTED. Since 0.1. */
CAPSA_API capsa_status capsa_console_resize(capsa_console *console, uint16_t columns, uint16_t rows,
                                            capsa_error **err);

/* Writes to *bytes how much output was overwritten before this console read it. Since 0.1. */
CAPSA_API capsa_status capsa_console_lost(capsa_console *console, uint64_t *bytes, capsa_error **err);

/* Frees the console. The machine and its other consoles are not affected. Since 0.1. */
CAPSA_API void capsa_console_free(capsa_console *console);

/* The bytes of an output, terminated by a zero byte that *len (NULL allowed) does not count; valid until the output is
 * freed. "" and 0 for NULL and stale objects. Allowed after fork. Since 0.1. */
CAPSA_API const char *capsa_output_data(const capsa_output *output, size_t *len);

/* How many bytes of an output are missing: overwritten before they were read, or beyond the limit. 0 for NULL and stale
 * objects. Allowed after fork. Since 0.1. */
CAPSA_API uint64_t capsa_output_missing(const capsa_output *output);

/* Frees an output. Allowed after fork. Since 0.1. */
CAPSA_API void capsa_output_free(capsa_output *output);

#ifdef __cplusplus
}
#endif

#endif /* CAPSA_H */
