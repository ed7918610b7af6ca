/*
 * host.h - what tests of disks do on the host's side: run its tools, and look at images after a machine's end. The tools
 * (qemu-utils, e2fsprogs) are installed by scripts/setup.sh; a test without them fails.
 */
#ifndef E2E_HOST_H
#define E2E_HOST_H

#include "harness.h"

/* Runs a shell command on the host; its exit status. What it prints is shown when the status is not 0. */
int host_status(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same, and the test fails when the command does. */
void host(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Its output, without the last line's end; the test fails when the command does. Stays until the test's end. */
const char *host_text(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A path of this name in the test's directory. Stays until the test's end. */
const char *scratch_file(const char *name);
/* Bytes of a file that take room on the host. */
long long room(const char *path);

typedef struct disk {
    const char *path;
    uint32_t format, flags; /* CAPSA_DISK_... */
    const char *overlay, *backing_dir;
} disk;
void add_disk(capsa_builder *b, disk d);

/* ---- Images that no machine uses any more -------------------------------------------------------------------- */

/* qemu-img finds nothing wrong. After a crash there may be clusters that nothing refers to (leaks). */
void check_qcow2(const char *path, int crashed);
/* The content as a raw image, in the test's directory, by this name. */
const char *raw_copy(const char *path, const char *name);
/* The ext4 on the whole of the raw image was unmounted and is sound. */
void check_unmounted(const char *raw);
/* The ext4 is sound once its journal has been replayed, as after a power cut. */
void check_recovers(const char *raw);

#endif
