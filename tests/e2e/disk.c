/* disk.c - disks as the guest and the host see them: formats, order, overlays, limits, locks, and a host that cannot. */
#define _GNU_SOURCE
#include "host.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* The counters of a disk. */
static capsa_device_stats counters(guest *g, const char *name) {
    capsa_stats all = CAPSA_STATS_INIT;

    OK(capsa_vm_stats(g->vm, &all, &err));
    for (uint32_t i = 0; i < all.devices; i++) {
        capsa_device_stats d = CAPSA_DEVICE_STATS_INIT;
        OK(capsa_vm_device_stats(g->vm, i, &d, &err));
        if (!strcmp(d.name, name)) return d;
    }
    FAIL("there is no device \"%s\"", name);
}

/* ---- Several disks ------------------------------------------------------------------------------------------- */

static void add_with_serial(capsa_builder *b, const char *path, uint32_t format, uint32_t flags, const char *serial) {
    capsa_disk_options o = CAPSA_DISK_OPTIONS_INIT;

    o.format = format;
    o.flags = flags;
    o.serial = serial;
    OK(capsa_builder_add_disk(b, path, &o, &err));
}

/* A raw, a qcow2 and a read-only disk, in this order. The guest's checksums are the host's. */
static void several(capsa_builder *b, void (*finish)(guest *)) {
    const char *raw = scratch_file("raw.img"), *qcow2 = scratch_file("disk.qcow2"), *only = scratch_file("read.img");

    host("head -c 8M /dev/urandom >'%s' && qemu-img create -q -f qcow2 '%s' 24M &&"
         " qemu-io -f qcow2 -c 'write -P 7 1M 2M' '%s' >/dev/null && head -c 1M /dev/urandom >'%s'",
         raw, qcow2, qcow2, only);
    const char *sum = host_text("sha256sum <'%s'", raw), *same = host_text("sha256sum <'%s'", only);
    add_with_serial(b, raw, CAPSA_DISK_FORMAT_RAW, 0, "first-of-all");
    add_with_serial(b, qcow2, CAPSA_DISK_FORMAT_AUTO, 0, "exactly-twenty-bytes");
    add_with_serial(b, only, CAPSA_DISK_FORMAT_RAW, CAPSA_DISK_READ_ONLY, NULL);
    guest g = boot(b);

    CHECK_TEXT(must(&g, "cd /sys/block && echo $(cat vda/size vdb/size vdc/size) $(cat vda/ro vdb/ro vdc/ro) "
                        "$(cat vda/serial) $(cat vdb/serial)"),
               "16384 49152 2048 0 0 1 first-of-all exactly-twenty-bytes");
    CHECK_TEXT(must(&g, "sha256sum </dev/vda"), sum);
    CHECK_TEXT(must(&g, "sha256sum </dev/vdc"), same);
    CHECK_TEXT(must(&g, "dd if=/dev/vdb bs=1M skip=2 count=1 2>/dev/null | tr -d '\\007' | wc -c"), "0");
    CHECK(run(&g, "dd if=/dev/zero of=/dev/vdc bs=4k count=1 conv=fsync", NULL) != 0, "a read-only disk was written");
    must(&g, "for d in vda vdb; do dd if=/dev/urandom of=/dev/$d bs=64k count=40 seek=7 conv=fsync 2>/dev/null || "
             "exit; done");
    const char *want_raw = strdup(must(&g, "sha256sum </dev/vda")),
               *want_qcow2 = strdup(must(&g, "sha256sum </dev/vdb"));

    capsa_device_stats d = counters(&g, "disk 0");
    CHECK(d.virtio_id == 2 && d.writes > 0 && d.flushes > 0 && d.bytes_in >= 40 * 64 << 10 && d.bytes_out >= 8 << 20 &&
              d.errors == 0 && d.faults == 0,
          "writes %llu, flushes %llu, in %llu, out %llu", (unsigned long long)d.writes, (unsigned long long)d.flushes,
          (unsigned long long)d.bytes_in, (unsigned long long)d.bytes_out);
    finish(&g);

    CHECK_TEXT(host_text("sha256sum <'%s'", raw), want_raw);
    CHECK_TEXT(host_text("sha256sum <'%s'", raw_copy(qcow2, "copy.raw")), want_qcow2);
    CHECK_TEXT(host_text("sha256sum <'%s'", only), same);
    check_qcow2(qcow2, 0);
}

TEST(disk, several, 60) { several(builder_for(ours), power_off); }
TEST(disk, several_stock, 60) { several(builder_for(stock), power_off); }

/* A kernel without ACPI has no way to power off; what it has flushed is there all the same. */
static void kill_it(guest *g) {
    OK(capsa_vm_kill(g->vm, &err));
    ended(g, CAPSA_CAUSE_KILLED);
    discard(g);
}

TEST(disk, several_without_acpi, 60) {
    capsa_builder *b = builder_for(ours);

    OK(capsa_builder_cmdline_arg(b, "acpi=off", &err));
    several(b, kill_it);
}

/* ---- Overlays ------------------------------------------------------------------------------------------------ */

/* What is written goes to the overlay: kept, it is there the next time; temporary, it is gone. The image stays. */
TEST(disk, overlays, 120) {
    const char *base = scratch_file("base.img"), *kept = scratch_file("kept.qcow2");

    host("yes bas | head -c 4M >'%s'", base);
    const char *sum = host_text("sha256sum <'%s'", base);
    for (int round = 0; round < 2; round++) {
        capsa_builder *b = builder_for(ours);
        add_disk(b, (disk){base, CAPSA_DISK_FORMAT_RAW, 0, .overlay = kept});
        add_disk(b, (disk){base, CAPSA_DISK_FORMAT_RAW, CAPSA_DISK_TEMPORARY, NULL, NULL});
        guest g = boot(b);
        for (int i = 0; i < 2; i++) {
            char command[64];
            snprintf(command, sizeof command, "dd if=/dev/vd%c bs=1 skip=1M count=4 2>/dev/null", 'a' + i);
            CHECK_TEXT(must(&g, command), round == 1 && i == 0 ? "kept" : "bas");
        }
        must(&g, "for d in vda vdb; do echo kept | dd of=/dev/$d bs=512 seek=2048 conv=sync,fsync 2>/dev/null || "
                 "exit; done");
        power_off(&g);
        CHECK_TEXT(host_text("sha256sum <'%s'", base), sum);
        check_qcow2(kept, 0);
        CHECK_TEXT(host_text("ls -A '%s'", scratch()), "base.img\nkept.qcow2");
    }
}

/* ---- Room ---------------------------------------------------------------------------------------------------- */

TEST(disk, discard, 60) {
    enum { size = 16 << 20 };
    const char *raw = scratch_file("raw.img"), *qcow2 = scratch_file("disk.qcow2");
    capsa_builder *b = builder_for(ours);

    host("head -c 16M /dev/urandom >'%s' && qemu-img convert -O qcow2 '%s' '%s'", raw, raw, qcow2);
    add_disk(b, (disk){raw, CAPSA_DISK_FORMAT_RAW, 0, NULL, NULL});
    add_disk(b, (disk){qcow2, CAPSA_DISK_FORMAT_QCOW2, 0, NULL, NULL});
    CHECK(room(raw) >= size && room(qcow2) >= size, "the images take too little");
    guest g = boot(b);
    must(&g, "for d in vda vdb; do blkdiscard -o 1M -l 8M /dev/$d && dd if=/dev/$d bs=1M skip=1 count=8 2>/dev/null | "
             "tr -d '\\000' | wc -c | grep -qx 0 || exit; done");
    CHECK(room(raw) <= size - (8 << 20), "the raw image takes %lld bytes", room(raw));
    CHECK(counters(&g, "disk 1").discards > 0, "no discard was counted");
    power_off(&g);
    CHECK(room(qcow2) <= size - (7 << 20), "the qcow2 image takes %lld bytes", room(qcow2));
    check_qcow2(qcow2, 0);
}

/* The host's file system is full: the guest gets an I/O error, an event says why, and the machine goes on, also to use
 * the room that there is later. */
TEST(disk, full_host, 120) {
    const char *small = scratch_file("small");
    char path[512];
    int64_t which = -1;

    CHECK_INT(mkdir(small, 0700), 0);
    if (mount("small", small, "tmpfs", 0, "size=4m")) {
        CHECK(errno == EPERM, "mount: %s", strerror(errno));
        printf("  not possible: only root can make a small file system\n");
        return;
    }
    snprintf(path, sizeof path, "%s/full.img", small);
    host("truncate -s 64M '%s'", path);
    capsa_builder *b = builder_for(ours);
    add_disk(b, (disk){scratch_file("other.img"), CAPSA_DISK_FORMAT_RAW, CAPSA_DISK_READ_ONLY, NULL, NULL});
    host("truncate -s 1M '%s'", scratch_file("other.img"));
    add_disk(b, (disk){path, CAPSA_DISK_FORMAT_RAW, 0, NULL, NULL});
    guest g = boot(b);

    CHECK(run(&g, "dd if=/dev/zero of=/dev/vdb bs=1M count=16 conv=fsync", NULL) != 0, "the write succeeded");
    const char *details = await_event(&g, CAPSA_EVENT_DISK_ERROR, &which);
    printf("  %s\n", details);
    CHECK_INT(which, 1);
    CHECK(strstr(details, "no space left") && strstr(details, "disk 1"), "the event says %s", details);
    CHECK(counters(&g, "disk 1").errors > 0, "no error was counted");
    CHECK_INT(counters(&g, "disk 0").errors, 0);
    CHECK_INT(run(&g, "exit 5", NULL), 5);

    CHECK_INT(mount(NULL, small, NULL, MS_REMOUNT, "size=100m"), 0);
    must(&g, "dd if=/dev/zero of=/dev/vdb bs=1M count=16 conv=fsync 2>/dev/null");
    power_off(&g);
    CHECK_INT(umount(small), 0);
}

/* ---- Locks and limits ---------------------------------------------------------------------------------------- */

/* Lets another process write to an image; its exit status. */
static int qemu_writes(const char *path) { return host_status("qemu-io -f qcow2 -c 'write 0 64k' '%s'", path); }

TEST(disk, locks, 60) {
    const char *path = scratch_file("disk.qcow2");
    capsa_builder *writer = builder_for((kind){"spin", NULL}), *reader = builder_for((kind){"spin", NULL});
    capsa_vm *vm = NULL, *other = NULL;

    host("qemu-img create -q -f qcow2 '%s' 8M", path);
    add_disk(writer, (disk){path, CAPSA_DISK_FORMAT_QCOW2, 0, NULL, NULL});
    add_disk(reader, (disk){path, CAPSA_DISK_FORMAT_QCOW2, CAPSA_DISK_READ_ONLY, NULL, NULL});
    OK(capsa_builder_build(writer, &vm, &err));
    REFUSED(capsa_builder_build(writer, &other, &err), CAPSA_E_UNAVAILABLE, "in use");
    REFUSED(capsa_builder_build(reader, &other, &err), CAPSA_E_UNAVAILABLE, "in use");
    /* QEMU sees the lock, in another process. */
    CHECK(qemu_writes(path) != 0, "QEMU writes to it too");
    capsa_vm_free(vm);
    CHECK_INT(qemu_writes(path), 0);
    OK(capsa_builder_build(reader, &vm, &err));
    OK(capsa_builder_build(reader, &other, &err));
    CHECK(qemu_writes(path) != 0, "QEMU writes to it too");
    capsa_vm_free(vm);
    capsa_vm_free(other);
    capsa_builder_free(writer);
    capsa_builder_free(reader);
}

TEST(disk, limit, 60) {
    const char *path = scratch_file("disk.img");
    capsa_disk_options o = CAPSA_DISK_OPTIONS_INIT;
    capsa_builder *b = builder_for(ours);

    host("truncate -s 64M '%s'", path);
    o.format = CAPSA_DISK_FORMAT_RAW;
    o.iops = 20;
    o.iops_burst = 1;
    OK(capsa_builder_add_disk(b, path, &o, &err));
    guest g = boot(b);
    must(&g, "for i in $(seq 40); do dd if=/dev/vda of=/dev/null bs=512 count=1 skip=$((i * 2000)) 2>/dev/null || "
             "exit; done");
    capsa_device_stats d = counters(&g, "disk 0");
    CHECK(d.throttled > 0 && d.errors == 0, "%llu of %llu requests waited", (unsigned long long)d.throttled,
          (unsigned long long)d.requests);
    power_off(&g);
}

/* ---- The root file system ------------------------------------------------------------------------------------ */

/* The kernel, without an initrd, gets its root file system from a partition that nobody named. */
TEST(disk, root_partition, 60) {
    const char *path = scratch_file("disk.img");
    capsa_builder *b = builder_for((kind){"bzImage", NULL});

    host("cd '%s' && mkdir -p root/sbin root/bin root/dev root/proc root/sys &&"
         " cp \"$(command -v busybox)\" root/bin/ && cat >root/sbin/init <<'END' && chmod 755 root/sbin/init &&"
         " mke2fs -q -t ext4 -d root part.img 8M && truncate -s 16M disk.img &&"
         " dd if=part.img of=disk.img bs=1M seek=1 conv=notrunc status=none &&"
         /* One entry of an MBR, type 0x83, from sector 2048 on, 16384 sectors; and the signature. */
         " printf '\\0\\0\\0\\0\\203\\0\\0\\0\\0\\010\\0\\0\\0\\100\\0\\0' |"
         " dd of=disk.img bs=1 seek=446 conv=notrunc status=none &&"
         " printf '\\125\\252' | dd of=disk.img bs=1 seek=510 conv=notrunc status=none\n"
         "#!/bin/busybox sh\n"
         "busybox mount -t proc proc /proc\n"
         "echo \"line: $(busybox cat /proc/cmdline)\"\n"
         "echo mark >/mark && busybox sync && echo 'root is up'\n"
         "busybox poweroff -f\n"
         "END\n",
         scratch());
    add_disk(b, (disk){path, CAPSA_DISK_FORMAT_RAW, CAPSA_DISK_ROOT, NULL, NULL});
    guest g = start(b);
    await_text(&g, "root=/dev/vda1 rw");
    await_text(&g, "root is up");
    ended(&g, CAPSA_CAUSE_GUEST_SHUTDOWN);
    discard(&g);
    host("dd if='%s' of='%s' bs=1M skip=1 count=8 status=none", path, scratch_file("after.img"));
    CHECK_TEXT(host_text("debugfs -R 'cat /mark' '%s' 2>/dev/null", scratch_file("after.img")), "mark");
}
