/* debian.c - Debian with systemd on disks of every kind (guest/rootfs): it boots to a login, its disks keep what is
 * written to them, and the power button shuts it down in order. */
#define _GNU_SOURCE
#include "host.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* The builder of a Debian on our kernel, without an initrd. */
static capsa_builder *debian(kind k) {
    capsa_builder *b = builder_for(k);

    OK(capsa_builder_cmdline_arg(b, "quiet", &err));
    return b;
}
static const kind bare = {"bzImage", NULL};

/* The real path of an image of guest/rootfs; what a test may not change is compared by the time of its last change. */
static const char *rootfs(const char *name) {
    static char paths[4][4096];
    static int next;
    char *path = paths[next++ % 4];

    CHECK(realpath(image(name), path), "there is no %s; `make rootfs` makes it", image(name));
    return path;
}

static long long changed(const char *path) {
    struct stat s;

    CHECK_INT(stat(path, &s), 0);
    return (long long)s.st_mtim.tv_sec * 1000000000 + s.st_mtim.tv_nsec;
}

/* Boots and logs in on the console as people do. */
static guest login(capsa_builder *b) {
    double begin = now();
    guest g = start(b);

    await_text(&g, "debian login: ");
    double there = now();
    type(&g, "root");
    await_text(&g, "Password: ");
    type(&g, "capsa");
    await_text(&g, "root@debian:~# ");
    printf("  login after %.1f s, shell after %.1f s more\n", there - begin, now() - there);
    return g;
}

/* All services are up and none has failed. */
static void check_services(guest *g) {
    const char *text;

    run(g, "systemctl is-system-running --wait; systemctl --failed --no-legend --no-pager", &text);
    CHECK_TEXT(text, "running");
}

/* The power button ends it before anything stronger is needed. */
static void press(guest *g) {
    uint32_t stage = 99;
    double begin = now();

    OK(capsa_vm_stop(g->vm, patience(60000), NULL, &stage, &err));
    CHECK_INT(stage, CAPSA_STAGE_POWER_BUTTON);
    ended(g, CAPSA_CAUSE_STOPPED);
    printf("  stopped after %.1f s\n", now() - begin);
}

/* ---- A raw image under a kept overlay, and two data disks ---------------------------------------------------- */

/* Random writes at depth 8 with a checksum in every block, which are then read and compared. */
static void verify_by_fio(guest *g) {
    must(g, "fio --minimal --direct=1 --ioengine=libaio --iodepth=8 --rw=randwrite --bs=4k --bsrange=4k-64k --size=8m "
            "--verify=crc32c --verify_fatal=1 --do_verify=1 --name=raw --filename=/dev/vdb --offset=16m "
            "--name=qcow2 --filename=/dev/vdc --offset=48m");
}

/* A file system on each data disk. A trim after a file is gone gives its room back to the host. */
static void make_and_trim(guest *g, const char *raw, const char *qcow2) {
    enum { file = 24 << 20 };

    must(g, "for d in vdb vdc; do mkfs.ext4 -q /dev/$d && mkdir -p /mnt/$d && mount /dev/$d /mnt/$d || exit; done");
    must(g,
         "for d in vdb vdc; do echo keep >/mnt/$d/kept && head -c 24M /dev/urandom >/mnt/$d/file || exit; done; sync");
    long long full[] = {room(raw), room(qcow2)};
    CHECK(full[0] >= file && full[1] >= file, "the images take %lld and %lld bytes", full[0], full[1]);
    /* An image gives room back when it is flushed. */
    must(g, "for d in vdb vdc; do rm /mnt/$d/file && sync && fstrim -v /mnt/$d && sync || exit; done");
    long long trimmed[] = {room(raw), room(qcow2)};
    printf("  raw %lld -> %lld KiB, qcow2 %lld -> %lld KiB\n", full[0] >> 10, trimmed[0] >> 10, full[1] >> 10,
           trimmed[1] >> 10);
    for (int i = 0; i < 2; i++)
        CHECK(trimmed[i] <= full[i] - (file - (1 << 20)), "disk %d took %lld bytes and now %lld", i, full[i],
              trimmed[i]);
}

TEST(debian, raw, 120) {
    const char *root = rootfs("debian.raw"), *overlay = scratch_file("root.qcow2"), *raw = scratch_file("data.raw"),
               *qcow2 = scratch_file("data.qcow2");
    long long before = changed(root);
    capsa_builder *b = debian(bare);

    host("truncate -s 96M '%s' && qemu-img create -q -f qcow2 '%s' 96M", raw, qcow2);
    add_disk(b, (disk){root, CAPSA_DISK_FORMAT_RAW, CAPSA_DISK_ROOT, .overlay = overlay});
    add_disk(b, (disk){raw, CAPSA_DISK_FORMAT_RAW, 0, NULL, NULL});
    add_disk(b, (disk){qcow2, CAPSA_DISK_FORMAT_QCOW2, 0, NULL, NULL});
    guest g = login(b);
    check_services(&g);
    must(&g, "echo new >/root/new");
    verify_by_fio(&g);
    make_and_trim(&g, raw, qcow2);
    press(&g); /* the data disks are still mounted */
    discard(&g);

    check_unmounted(raw);
    CHECK_TEXT(host_text("debugfs -R 'cat /kept' '%s' 2>/dev/null", raw), "keep");
    check_qcow2(qcow2, 0);
    check_unmounted(raw_copy(qcow2, "copy.raw"));
    check_qcow2(overlay, 0);
    const char *copy = raw_copy(overlay, "copy.raw");
    check_unmounted(copy);
    CHECK_TEXT(host_text("debugfs -R 'cat /root/new' '%s' 2>/dev/null", copy), "new");
    CHECK_INT(changed(root), before);
}

/* ---- Chains of qcow2 images ---------------------------------------------------------------------------------- */

/* Parts of a disk in a chain: where they differ from the images below, and what the guest writes later; some within a
 * cluster, some over several. */
static const char chain[] =
    "set -e\ncd '%s'\n"
    "qemu-img create -q -f qcow2 base.qcow2 32M\n"
    "qemu-io -c 'write -P 1 0 8M' -c 'write -P 2 20M 5M' base.qcow2\n"
    "qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 middle.qcow2\n"
    "qemu-io -c 'write -P 3 1000k 300k' -c 'write -z 2M 128k' -c 'write -P 4 31M 1M' middle.qcow2\n"
    "qemu-img create -q -f qcow2 -b middle.qcow2 -F qcow2 top.qcow2\n"
    "qemu-io -c 'write -P 5 1111k 7k' top.qcow2\n"
    "qemu-img create -q -f qcow2 saved.qcow2 32M\n"
    "qemu-io -c 'write -P 6 0 4M' saved.qcow2\n"
    "qemu-img snapshot -c before saved.qcow2";

/* The checksum of a disk as the guest sees it, and as qemu-img does. */
static const char *seen(guest *g, const char *device) {
    static char sums[4][80], command[200];
    static int next;
    char *sum = sums[next++ % 4];

    snprintf(command, sizeof command, "echo 3 >/proc/sys/vm/drop_caches; sha256sum /dev/%s", device);
    snprintf(sum, sizeof sums[0], "%.64s", must(g, command));
    return sum;
}

static const char *content(const char *name) {
    return host_text("qemu-img convert -O raw '%s' '%s' && sha256sum <'%s' | cut -c 1-64", scratch_file(name),
                     scratch_file("content"), scratch_file("content"));
}

static void write_parts(guest *g) {
    must(g,
         "for d in vdb vdc; do for at in 0 3 1009 1115 2047 2100 9000 20500 32760; do\n"
         "head -c 8192 /dev/urandom | dd of=/dev/$d bs=512 seek=$((at * 2)) conv=notrunc,fsync status=none || exit\n"
         "done; done");
    must(g,
         "for d in vdb vdc; do blkdiscard -o 3M -l 1M /dev/$d && blkdiscard -z -o 21M -l 256K /dev/$d || exit; done");
    must(g, "head -c 3M /dev/urandom | dd of=/dev/vdc bs=1M oflag=direct iflag=fullblock status=none");
}

TEST(debian, qcow2_chain, 120) {
    const char *base = rootfs("debian.qcow2"), *root = scratch_file("root.qcow2");
    char directory[4096];
    capsa_builder *b = debian(bare);
    long long before = changed(base);

    host(chain, scratch());
    snprintf(directory, sizeof directory, "%.*s", (int)(strrchr(base, '/') - base), base);
    host("cd '%s' && qemu-img create -q -f qcow2 -b '%s' -F qcow2 below.qcow2 &&"
         " qemu-img create -q -f qcow2 -b below.qcow2 -F qcow2 root.qcow2",
         scratch(), base);
    add_disk(b, (disk){root, CAPSA_DISK_FORMAT_AUTO, CAPSA_DISK_ROOT, .backing_dir = directory});
    add_disk(b, (disk){scratch_file("top.qcow2"), CAPSA_DISK_FORMAT_AUTO, 0, NULL, NULL});
    add_disk(b, (disk){scratch_file("saved.qcow2"), CAPSA_DISK_FORMAT_AUTO, 0, NULL, NULL});
    const char *top = content("top.qcow2"), *saved = content("saved.qcow2");
    const char *below = host_text("cd '%s' && cat base.qcow2 middle.qcow2 below.qcow2 | sha256sum", scratch());
    guest g = login(b);
    CHECK_TEXT(seen(&g, "vdb"), top);
    CHECK_TEXT(seen(&g, "vdc"), saved);
    write_parts(&g);
    const char *new_top = seen(&g, "vdb"), *new_saved = seen(&g, "vdc");
    CHECK(strcmp(new_top, top) && strcmp(new_saved, saved), "nothing was written");
    type(&g, "systemctl poweroff");
    ended(&g, CAPSA_CAUSE_GUEST_SHUTDOWN);
    discard(&g);

    check_qcow2(root, 0);
    check_qcow2(scratch_file("top.qcow2"), 0);
    check_qcow2(scratch_file("saved.qcow2"), 0);
    CHECK_TEXT(content("top.qcow2"), new_top);
    CHECK_TEXT(content("saved.qcow2"), new_saved);
    CHECK_TEXT(host_text("cd '%s' && cat base.qcow2 middle.qcow2 below.qcow2 | sha256sum", scratch()), below);
    host("qemu-img snapshot -a before '%s'", scratch_file("saved.qcow2"));
    CHECK_TEXT(content("saved.qcow2"), saved);
    check_qcow2(scratch_file("saved.qcow2"), 0);
    host("qemu-img commit -q '%s'", scratch_file("top.qcow2"));
    CHECK_TEXT(content("middle.qcow2"), new_top);
    check_unmounted(raw_copy(root, "root.raw"));
    CHECK_INT(changed(base), before);
}

/* ---- Debian's own kernel ------------------------------------------------------------------------------------- */

TEST(debian, stock_kernel, 120) {
    const char *root = rootfs("debian-zstd.qcow2");
    long long before = changed(root);
    capsa_builder *b = debian(stock);

    add_disk(b, (disk){root, CAPSA_DISK_FORMAT_QCOW2, CAPSA_DISK_ROOT | CAPSA_DISK_TEMPORARY, NULL, NULL});
    guest g = login(b);
    check_services(&g);
    const char *release = must(&g, "uname -r");
    CHECK(strstr(release, "cloud-amd64"), "the kernel is %s", release);
    must(&g, "echo new >/root/new && sync && test -s /usr/bin/fio");
    press(&g);
    discard(&g);
    CHECK_INT(changed(root), before);
    CHECK_TEXT(host_text("ls -A '%s'", scratch()), "");
}
