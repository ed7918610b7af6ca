/* fs.c - shared directories: what the guest and the host see of each other's changes, and what the guest cannot do. */
#define _GNU_SOURCE
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* A directory of the host for this test, with mode 0755. */
static const char *directory(const char *name) {
    const char *path = scratch_file(name);

    CHECK(mkdir(path, 0755) == 0, "mkdir: %s", strerror(errno));
    return path;
}

static const char *path_in(const char *dir, const char *name) { return host_text("echo '%s/%s'", dir, name); }

static void share(capsa_builder *b, const char *tag, const char *path, uint32_t flags, uint32_t cache) {
    capsa_share_options o = CAPSA_SHARE_OPTIONS_INIT;

    o.flags = flags;
    o.cache = cache;
    OK(capsa_builder_add_share(b, tag, path, &o, &err));
}

static void mount_share(guest *g, const char *tag, const char *at) {
    char command[256];

    snprintf(command, sizeof command, "mkdir -p %s && mount -t virtiofs %s %s", at, tag, at);
    must(g, command);
}

/* A guest of the kind with one directory at /mnt. */
static guest with_share(kind k, const char *path, uint32_t flags, uint32_t cache) {
    capsa_builder *b = builder_for(k);

    OK(capsa_builder_set_cpus(b, 2, &err));
    share(b, "dir", path, flags, cache);
    guest g = boot(b);
    mount_share(&g, "dir", "/mnt");
    return g;
}

/* ---- Both ways ----------------------------------------------------------------------------------------------- */

/* Names, contents, modes, links and times that the host made are there, and what the guest makes is on the host. */
static void both_ways(kind k) {
    const char *dir = directory("dir");

    host("cd '%s' && head -c 3000000 /dev/urandom >big && mkdir -p a/b && echo deep >a/b/c && ln -s a/b/c link &&"
         " ln big second && touch -d @1000000000.5 old && chmod 750 old && : >\"$(printf 'caf\\351')\"",
         dir);
    guest g = with_share(k, dir, 0, CAPSA_SHARE_CACHE_AUTO);
    CHECK_TEXT(must(&g, "sha256sum </mnt/big"), host_text("sha256sum <'%s/big'", dir));
    CHECK_TEXT(must(&g,
                    "cd /mnt && cat link && stat -c '%h %i' big >/tmp/1 && stat -c '%h %i' second | cmp - /tmp/1 && "
                    "stat -c '%a %Y %u %g' old && ls | wc -l"),
               "deep\n750 1000000000 0 0\n6");
    must(&g, "set -- /mnt/caf* && test \"$1\" = \"/mnt/$(printf 'caf\\351')\" && test -e \"$1\""); /* no UTF-8 */

    must(&g,
         "cd /mnt && dd if=/dev/urandom of=made bs=64k count=40 2>/dev/null && mkdir -p x/y && mv made x/y/moved && "
         "rm second && ln -s /outside x/s && chmod 600 x/y/moved && touch -d @1234567890 x/y/moved && "
         "dd if=/dev/zero of=sparse bs=1 count=1 seek=1073741824 2>/dev/null && sync");
    CHECK_TEXT(host_text("sha256sum <'%s/x/y/moved'", dir), must(&g, "sha256sum </mnt/x/y/moved"));
    CHECK_TEXT(
        host_text("cd '%s' && stat -c '%%a %%Y' x/y/moved && readlink x/s && stat -c %%h big && stat -c %%s sparse",
                  dir),
        "600 1234567890\n/outside\n1\n1073741825");
    const char *sparse = path_in(dir, "sparse");
    CHECK(room(sparse) <= 1 << 20, "the hole of %s takes room", sparse);
    power_off(&g);
    CHECK_TEXT(host_text("stat -c %%s '%s/x/y/moved'", dir), "2621440");
}

TEST(fs, both_ways, 60) { both_ways(ours); }
TEST(fs, both_ways_stock, 60) { both_ways(stock); }

/* Without a cache each side sees the other's change at once; with one after a second at most, and after an open. */
TEST(fs, changes_on_the_host, 60) {
    const char *dir = directory("dir");

    host("echo one >'%s/file'", dir);
    guest g = with_share(ours, dir, 0, CAPSA_SHARE_CACHE_NONE);
    for (int i = 0; i < 20; i++) {
        char want[16];
        snprintf(want, sizeof want, "%d", 100000 + i);
        host("echo %s >'%s/file' && mv '%s/file' '%s/file2' && mv '%s/file2' '%s/file'", want, dir, dir, dir, dir,
             dir);
        CHECK_TEXT(must(&g, "cat /mnt/file"), want);
    }
    host("rm '%s/file'", dir);
    CHECK(run(&g, "cat /mnt/file", NULL) != 0, "a file is there that the host removed");
    discard(&g);
}

/* A part of Linux's source goes through the share and comes back the same. */
TEST(fs, a_tree, 120) {
    const char *dir = directory("dir");

    host("mkdir '%s/in' && tar -C '%s/in' -xf '%s' && tar -C '%s' -cf '%s/in.tar' in", dir, dir,
         image("../e2e/linux.tar"), dir, dir);
    guest g = with_share(ours, dir, 0, CAPSA_SHARE_CACHE_AUTO);
    must(
        &g,
        "mkdir /mnt/out && tar -C /mnt/out -xf /mnt/in.tar && cp -r /mnt/in /tmp/in && diff -r /tmp/in /mnt/out/in && "
        "rm -r /mnt/in && sync");
    host("mkdir '%s/again' && tar -C '%s/again' -xf '%s/in.tar' && diff -r '%s/again/in' '%s/out/in'", dir, dir, dir,
         dir, dir);
    const char *in = path_in(dir, "in");
    CHECK(access(in, F_OK) != 0, "%s is there, which the guest removed", in);
    power_off(&g);
}

/* What is open stays usable when its name goes or another file takes it. */
TEST(fs, unlinked_while_open, 60) {
    const char *dir = directory("dir");

    host("echo first >'%s/a' && echo second >'%s/b'", dir, dir);
    guest g = with_share(ours, dir, 0, CAPSA_SHARE_CACHE_AUTO);
    CHECK_TEXT(must(&g, "cd /mnt && exec 3<a 4>>a && rm a && echo more >&4 && cat <&3 && exec 3<&- 4>&- && ls"),
               "first\nmore\nb");
    CHECK_TEXT(must(&g, "cd /mnt && exec 3<b && echo third >c && mv c b && cat <&3 && cat b && exec 3<&- && ls"),
               "second\nthird\nb");
    CHECK_TEXT(host_text("ls -A '%s'", dir), "b"); /* no files of ours are left */
    CHECK(run(&g, "set -C; echo x >/mnt/b", NULL) != 0, "O_EXCL took a file that was there");
    power_off(&g);
}

/* ---- Several guests and shares ------------------------------------------------------------------------------- */

/* Two machines and the host on one directory: each sees what the others wrote, and locks hold between all of them. */
TEST(fs, two_guests, 90) {
    const char *dir = directory("dir");
    guest one = with_share(ours, dir, 0, CAPSA_SHARE_CACHE_NONE),
          two = with_share(ours, dir, 0, CAPSA_SHARE_CACHE_NONE);
    int fd = open(path_in(dir, "lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0644);

    CHECK(fd >= 0, "open: %s", strerror(errno));
    must(&one, "echo from one >/mnt/1");
    CHECK_TEXT(must(&two, "cat /mnt/1 && echo from two >>/mnt/1"), "from one");
    CHECK_TEXT(must(&one, "cat /mnt/1"), "from one\nfrom two");
    type(&one, "lock /mnt/lock sh -c 'echo got\"\"-it; sleep 1000'");
    await_text(&one, "got-it");
    CHECK(run(&two, "lock /mnt/lock true", NULL) != 0, "both machines have the lock");
    CHECK(flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK, "a machine and the host have the lock");
    discard(&one); /* in the middle of it: the lock goes with the machine */
    CHECK(flock(fd, LOCK_EX | LOCK_NB) == 0, "flock: %s", strerror(errno));
    CHECK(run(&two, "lock /mnt/lock true", NULL) != 0, "the host's lock does not hold in the machine");
    close(fd);
    must(&two, "lock /mnt/lock true");
    discard(&two);
}

/* Several shares are told apart by their tags, and have options of their own. */
TEST(fs, several_shares, 60) {
    const char *one = directory("one"), *two = directory("two"), *three = directory("three");
    capsa_builder *b = builder_for(ours);
    capsa_share_options o = CAPSA_SHARE_OPTIONS_INIT;

    host("echo 1 >'%s/n' && echo 2 >'%s/n' && echo 3 >'%s/n'", one, two, three);
    share(b, "one", one, 0, CAPSA_SHARE_CACHE_AUTO);
    share(b, "two two", two, CAPSA_SHARE_READ_ONLY, CAPSA_SHARE_CACHE_ALWAYS);
    o.owner = CAPSA_SHARE_OWNER_SQUASH;
    o.guest_uid = 1234;
    o.guest_gid = 99;
    OK(capsa_builder_add_share(b, "three", three, &o, &err));
    guest g = boot(b);
    mount_share(&g, "three", "/3");
    mount_share(&g, "'two two'", "/2");
    mount_share(&g, "one", "/1");
    CHECK_TEXT(must(&g, "cat /1/n /2/n /3/n; stat -c '%u %g' /1/n /3/n"), "1\n2\n3\n0 0\n1234 99");
    must(&g, "echo new >/3/made && chown 7:7 /3/made");
    CHECK_TEXT(must(&g, "stat -c '%u %g' /3/made"), "1234 99");
    CHECK_INT(atoi(host_text("stat -c %%u '%s/made'", three)), (int)geteuid());
    CHECK(run(&g, "mount -t virtiofs four /4", NULL) != 0, "a share that is not there was mounted");
    power_off(&g);
}

/* ---- What the guest cannot do -------------------------------------------------------------------------------- */

/* Read-only is enforced on the host, however the guest mounts it. */
TEST(fs, read_only, 60) {
    const char *dir = directory("dir");

    host("echo kept >'%s/file' && mkdir '%s/sub'", dir, dir);
    const char *before = host_text("cd '%s' && find . -exec stat -c '%%n %%a %%s %%y %%z' {} +", dir);
    guest g = with_share(ours, dir, CAPSA_SHARE_READ_ONLY, CAPSA_SHARE_CACHE_AUTO);
    must(&g, "mount -o remount,rw /mnt; cat /mnt/file");
    static const char *const attempts[] = {"echo x >/mnt/new",    "echo x >>/mnt/file",      "rm /mnt/file",
                                           "mkdir /mnt/d",        "rmdir /mnt/sub",          "mv /mnt/file /mnt/f",
                                           "ln /mnt/file /mnt/l", "ln -s x /mnt/l",          "chmod 777 /mnt/file",
                                           "touch /mnt/file",     "truncate -s 0 /mnt/file", "mknod /mnt/n p",
                                           "chown 1:1 /mnt/file"};
    for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++)
        CHECK(run(&g, attempts[i], NULL) != 0, "\"%s\" succeeded", attempts[i]);
    CHECK_TEXT(host_text("cd '%s' && find . -exec stat -c '%%n %%a %%s %%y %%z' {} +", dir), before);
    power_off(&g);
}

/* Links are the guest's to follow, in its own file system; nothing leads out of the directory on the host. */
TEST(fs, no_way_out, 60) {
    const char *dir = directory("dir");

    host("echo secret >'%s/../secret' && ln -s ../secret '%s/up' && ln -s '%s/../secret' '%s/abs' && ln -s / "
         "'%s/root' &&"
         " mkdir '%s/d' && ln -s ../.. '%s/d/twice'",
         dir, dir, dir, dir, dir, dir, dir);
    guest g = with_share(ours, dir, 0, CAPSA_SHARE_CACHE_NONE);
    static const char *const attempts[] = {
        "cat /mnt/../secret",
        "cat /mnt/up",
        "cat /mnt/abs",
        "cat /mnt/d/twice/secret",
        "cat /mnt/root/tmp/secret",
        "cd /mnt/d && cat ../../secret",
    };
    for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++)
        CHECK(run(&g, attempts[i], NULL) != 0, "\"%s\" succeeded", attempts[i]);
    CHECK_TEXT(must(&g, "cat /mnt/root/etc/none 2>/dev/null; ls -d /mnt/root/bin/busybox"), "/mnt/root/bin/busybox");
    /* A directory that moves out of the share while the guest is in it. */
    type(&g, "cd /mnt/d");
    host("mv '%s/d' '%s/../out'", dir, dir);
    CHECK(run(&g, "cat ../secret", NULL) != 0, "a directory that moved out leads out");
    host("mv '%s/../out' '%s/d'", dir, dir);
    /* Devices are made as what they are, and open nothing of the host's. */
    run(&g, "mknod /mnt/null c 1 3", NULL);
    CHECK(run(&g, "mknod /mnt/mem c 1 1 && cat /mnt/mem", NULL) != 0, "a device of the host was opened");
    discard(&g);
}

/* A guest that opens more files than it may gets EMFILE, and the share goes on. */
TEST(fs, many_files, 60) {
    const char *dir = directory("dir");
    capsa_builder *b = builder_for(ours);
    capsa_share_options o = CAPSA_SHARE_OPTIONS_INIT;

    host("cd '%s' && for i in $(seq 300); do echo $i >f$i; done", dir);
    o.max_files = 64;
    OK(capsa_builder_add_share(b, "dir", dir, &o, &err));
    guest g = boot(b);
    mount_share(&g, "dir", "/mnt");
    must(&g,
         "for i in $(seq 300); do (sh -c \"exec 3</mnt/f$i && echo >>/tmp/y && exec sleep 1000\" || echo >>/tmp/n) "
         "2>/tmp/err$i & done; while [ $(cat /tmp/y /tmp/n 2>/dev/null | wc -l) -lt 300 ]; do sleep 0.1; done");
    CHECK(run_number(&g, "wc -l </tmp/n") > 200, "300 files are open");
    CHECK_INT(run_number(&g, "cat /tmp/err* | grep -v 'Too many open files' | wc -l"), 0);
    must(&g, "killall sleep; ls /mnt | wc -l");
    CHECK_TEXT(must(&g, "cat /mnt/f1 /mnt/f150 /mnt/f300"), "1\n150\n300");
    power_off(&g);
}

/* ---- Ends ---------------------------------------------------------------------------------------------------- */

/* A machine that is killed while it writes leaves a directory in order, and at once. */
TEST(fs, killed_while_writing, 60) {
    const char *dir = directory("dir");
    guest g = with_share(ours, dir, 0, CAPSA_SHARE_CACHE_AUTO);

    type(&g,
         "for i in 1 2 3 4; do (while :; do dd if=/dev/zero of=/mnt/$i bs=64k count=100 2>/dev/null; done) & done; "
         "while ! [ -s /mnt/4 ]; do :; done; echo is''-busy");
    await_text(&g, "is-busy");
    OK(capsa_vm_kill(g.vm, &err));
    ended(&g, CAPSA_CAUSE_KILLED);
    host("cd '%s' && cat * | wc -c >/dev/null && rm -r '%s'", dir, dir);
    discard(&g);
}

/* A pause is no end, and what the host does meanwhile is seen after it. */
TEST(fs, paused, 60) {
    const char *dir = directory("dir");
    guest g = with_share(ours, dir, 0, CAPSA_SHARE_CACHE_NONE);

    must(&g, "echo before >/mnt/file");
    OK(capsa_vm_pause(g.vm, &err));
    host("echo meanwhile >>'%s/file'", dir);
    OK(capsa_vm_resume(g.vm, &err));
    CHECK_TEXT(must(&g, "cat /mnt/file"), "before\nmeanwhile");
    must(&g, "umount /mnt && mount -t virtiofs dir /mnt && cat /mnt/file"); /* a new session */
    power_off(&g);
}
