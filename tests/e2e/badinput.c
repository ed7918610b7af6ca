/*
 * badinput.c - what people and broken files give to the library: every one ends in its typed error, before anything
 * runs, with a message that says what is wrong, and for files a hint that says what to do. Misuse of handles and structures is in tests/abi.
 */
#define _GNU_SOURCE
#include "harness.h"

#include <elf.h>
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static capsa_builder *builder;

/* Builds with these files and expects the refusal, in less than a second (longer under emulation). */
static void refuse(const char *what, const char *kernel, const char *initrd, capsa_status want, const char *word) {
    capsa_vm *vm = NULL;

    printf(" %s\n", what);
    OK(capsa_builder_boot_linux(builder, kernel, initrd, &err));
    double begin = now();
    capsa_status status = capsa_builder_build(builder, &vm, &err);
    CHECK(status == CAPSA_OK || *capsa_error_hint(err), "%s: no hint with \"%s\"", what, capsa_error_message(err));
    REFUSED(status, want, word);
    CHECK(now() - begin < (emulated() ? 20 : 1), "%s: it took %.1f s", what, now() - begin);
    CHECK(!vm, "%s: a machine was given out", what);
}

static void refuse_bytes(const char *what, const void *data, size_t len, capsa_status want, const char *word) {
    refuse(what, file_of(data, len), NULL, want, word);
}

/* ---- Kernels: files that are none --------------------------------------------------------------------------- */

TEST(badinput, not_a_file, 60) {
    char path[4096];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    builder = builder_for(ours);
    refuse("missing", "/nowhere/bzImage", NULL, CAPSA_E_NOT_FOUND, "/nowhere/bzImage");
    refuse("directory", "/", NULL, CAPSA_E_CONFIG, "directory");
    refuse("device", "/dev/zero", NULL, CAPSA_E_CONFIG, "/dev/zero");
    snprintf(path, sizeof path, "%s/fifo", scratch());
    CHECK(!mkfifo(path, 0600), "mkfifo");
    refuse("pipe without a writer", path, NULL, CAPSA_E_CONFIG, "FIFO");
    snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", scratch());
    CHECK(!bind(s, (struct sockaddr *)&address, sizeof address), "bind");
    refuse("socket", address.sun_path, NULL, CAPSA_E_CONFIG, NULL);
    close(s);
    snprintf(path, sizeof path, "%s/dangling", scratch());
    CHECK(!symlink("nothing", path), "symlink");
    refuse("dangling link", path, NULL, CAPSA_E_NOT_FOUND, "dangling");
    snprintf(path, sizeof path, "%s/loop", scratch());
    CHECK(!symlink("loop", path), "symlink");
    refuse("link to itself", path, NULL, CAPSA_E_CONFIG, NULL);
    snprintf(path, sizeof path, "%s/sparse", scratch());
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && !ftruncate(fd, 1LL << 40), "a sparse file of 1 TiB");
    close(fd);
    refuse("sparse file of 1 TiB", path, NULL, CAPSA_E_BOOT, "neither");
    memset(path, 'x', sizeof path);
    path[0] = '/';
    path[sizeof path - 1] = 0;
    capsa_vm *vm = NULL;
    capsa_status status = capsa_builder_boot_linux(builder, path, NULL, &err);
    if (status == CAPSA_OK) {
        REFUSED(capsa_builder_build(builder, &vm, &err), CAPSA_E_CONFIG, NULL);
    } else {
        REFUSED(status, CAPSA_E_INVALID_ARG, NULL);
    }
    capsa_builder_free(builder);
}

TEST(badinput, no_kernel, 60) {
    static const char gzip[] = "\x1f\x8b\x08\0\0\0\0\0\0\3";
    static const char *const texts[] = {"MZ", "#!/bin/sh\nexec true\n", "\x7f\x45LF"};
    uint8_t noise[4096];

    builder = builder_for(ours);
    refuse_bytes("empty", "", 0, CAPSA_E_CONFIG, "empty");
    refuse_bytes("one byte", "x", 1, CAPSA_E_BOOT, NULL);
    srand(1);
    for (size_t i = 0; i < sizeof noise; i++) noise[i] = (uint8_t)rand();
    refuse_bytes("noise", noise, sizeof noise, CAPSA_E_BOOT, "neither");
    refuse_bytes("gzip", gzip, sizeof gzip, CAPSA_E_UNSUPPORTED, NULL);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        capsa_vm *vm = NULL;
        OK(capsa_builder_boot_linux(builder, file_of(texts[i], strlen(texts[i])), NULL, &err));
        capsa_status status = capsa_builder_build(builder, &vm, &err);
        REFUSED(status, status == CAPSA_E_UNSUPPORTED ? CAPSA_E_UNSUPPORTED : CAPSA_E_BOOT, NULL);
    }
    refuse("an initrd for a kernel", image("initrd.cpio"), NULL, CAPSA_E_UNSUPPORTED, NULL);
    capsa_builder_free(builder);
}

/* ---- bzImage ------------------------------------------------------------------------------------------------ */

/* Offsets in the setup header (Documentation/arch/x86/boot.rst). */
enum { setup_sects = 0x1f1, syssize = 0x1f4, magic = 0x202, version = 0x206, loadflags = 0x211, xloadflags = 0x236 };
enum { init_size = 0x260 };

/* A copy of our kernel with `size` bytes of it overwritten, cut to len (0: whole). */
static void refuse_patched(const char *what, size_t at, uint64_t value, size_t size, size_t len, capsa_status want,
                           const char *word) {
    size_t whole;
    uint8_t *k = slurp(image("bzImage"), &whole);

    memcpy(k + at, &value, size);
    refuse_bytes(what, k, len ? len : whole, want, word);
    free(k);
}

TEST(badinput, bzimage, 120) {
    builder = builder_for(ours);
    refuse_patched("cut in the boot sector", 0, 0x5a4d, 2, 300, CAPSA_E_UNSUPPORTED, "header");
    refuse_patched("cut in the setup header", 0, 0x5a4d, 2, 0x240, CAPSA_E_BOOT, NULL);
    refuse_patched("cut in the setup code", 0, 0x5a4d, 2, 4000, CAPSA_E_BOOT, NULL);
    refuse_patched("cut in the kernel", 0, 0x5a4d, 2, 1 << 20, CAPSA_E_BOOT, NULL);
    refuse_patched("other magic", magic, 0x20202020, 4, 0, CAPSA_E_BOOT, NULL);
    refuse_patched("protocol 2.05", version, 0x0205, 2, 0, CAPSA_E_UNSUPPORTED, "2.05");
    refuse_patched("no 64-bit entry", xloadflags, 0, 2, 0, CAPSA_E_UNSUPPORTED, "64");
    refuse_patched("kernel larger than the file", syssize, 0xffffffff, 4, 0, CAPSA_E_BOOT, NULL);
    refuse_patched("255 setup sectors in a small file", setup_sects, 255, 1, 100000, CAPSA_E_BOOT, NULL);
    refuse_patched("needs 2 GiB to unpack", init_size, 0x80000000, 4, 0, CAPSA_E_CONFIG, "memory");
    refuse_patched("needs 4 GiB to unpack", init_size, 0xffffffff, 4, 0, CAPSA_E_CONFIG, "memory");
    capsa_builder_free(builder);
}

/* setup_sects 0 means 4 (the header's history); the file is then read at another place, and what comes of it is the
 * guest's affair: it must end, and be recorded. */
TEST(badinput, bzimage_entered_at_the_wrong_place, 60) {
    size_t len;
    uint8_t *k = slurp(image("bzImage"), &len);
    capsa_vm *vm = NULL;

    builder = builder_for(ours);
    k[setup_sects] = 0;
    OK(capsa_builder_boot_linux(builder, file_of(k, len), NULL, &err));
    OK(capsa_builder_set_timeout(builder, 3000, &err));
    capsa_status status = capsa_builder_build(builder, &vm, &err);
    if (status != CAPSA_OK) {
        REFUSED(status, CAPSA_E_BOOT, NULL);
    } else {
        capsa_exit_info info = CAPSA_EXIT_INFO_INIT;
        OK(capsa_vm_start(vm, patience(10000), NULL, &err));
        status = capsa_vm_wait(vm, patience(60000), NULL, &info, NULL);
        CHECK(status == CAPSA_OK || status == CAPSA_E_BOOT, "%s", capsa_status_name(status));
        CHECK(info.cause == CAPSA_CAUSE_BOOT_FAILED || info.cause == CAPSA_CAUSE_TIMED_OUT, "cause %u", info.cause);
    }
    free(k);
    capsa_vm_free(vm);
    capsa_builder_free(builder);
}

/* ---- ELF ---------------------------------------------------------------------------------------------------- */

/* A kernel of one segment at 16 MiB with one instruction, hlt. */
struct elf {
    Elf64_Ehdr head;
    Elf64_Phdr segment;
    uint8_t code[8];
};

static struct elf sound(void) {
    struct elf e = {
        .head = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                 .e_type = ET_EXEC,
                 .e_machine = EM_X86_64,
                 .e_version = EV_CURRENT,
                 .e_entry = 0x1000000,
                 .e_phoff = sizeof(Elf64_Ehdr),
                 .e_ehsize = sizeof(Elf64_Ehdr),
                 .e_phentsize = sizeof(Elf64_Phdr),
                 .e_phnum = 1},
        .segment = {.p_type = PT_LOAD,
                    .p_flags = PF_R | PF_W | PF_X,
                    .p_offset = offsetof(struct elf, code),
                    .p_vaddr = 0x1000000,
                    .p_paddr = 0x1000000,
                    .p_filesz = 8,
                    .p_memsz = 8,
                    .p_align = 1},
        .code = {0xf4},
    };
    return e;
}

/* BROKEN(what, class, field = value): the sound file with one thing changed. */
#define BROKEN(what, want, change)                                                                                    \
    do {                                                                                                              \
        struct elf e = sound();                                                                                       \
        e.change;                                                                                                     \
        refuse_bytes(what, &e, sizeof e, want, NULL);                                                                 \
    } while (0)

TEST(badinput, elf, 120) {
    struct elf good = sound();
    capsa_vm *vm = NULL;

    builder = builder_for(ours);
    OK(capsa_builder_boot_linux(builder, file_of(&good, sizeof good), NULL, &err));
    OK(capsa_builder_build(builder, &vm, &err)); /* so that the refusals below are for what was changed */
    capsa_vm_free(vm);

    refuse_bytes("cut in the header", &good, 20, CAPSA_E_BOOT, NULL);
    refuse_bytes("cut after the header", &good, sizeof(Elf64_Ehdr), CAPSA_E_BOOT, NULL);
    refuse_bytes("cut in the segment", &good, sizeof good - 4, CAPSA_E_BOOT, NULL);
    BROKEN("32-bit", CAPSA_E_UNSUPPORTED, head.e_ident[EI_CLASS] = ELFCLASS32);
    BROKEN("big-endian", CAPSA_E_UNSUPPORTED, head.e_ident[EI_DATA] = ELFDATA2MSB);
    BROKEN("arm64", CAPSA_E_UNSUPPORTED, head.e_machine = EM_AARCH64);
    BROKEN("object file", CAPSA_E_UNSUPPORTED, head.e_type = ET_REL);
    BROKEN("program headers past the end", CAPSA_E_BOOT, head.e_phoff = 1 << 20);
    BROKEN("program headers that wrap", CAPSA_E_BOOT, head.e_phoff = UINT64_MAX - 8);
    BROKEN("65535 program headers", CAPSA_E_BOOT, head.e_phnum = 0xffff);
    BROKEN("no program headers", CAPSA_E_BOOT, head.e_phnum = 0);
    BROKEN("small program headers", CAPSA_E_BOOT, head.e_phentsize = 8);
    BROKEN("segment past the end", CAPSA_E_BOOT, segment.p_offset = 1 << 20);
    BROKEN("segment that wraps", CAPSA_E_BOOT, segment.p_offset = UINT64_MAX - 4);
    BROKEN("more bytes in the file than in memory", CAPSA_E_BOOT, segment.p_memsz = 4);
    BROKEN("segment in the machine's own tables", CAPSA_E_BOOT, segment.p_paddr = 0x20000);
    BROKEN("segment above the memory", CAPSA_E_CONFIG, head.e_entry = e.segment.p_paddr = 0x40000000);
    BROKEN("segment in the device window", CAPSA_E_BOOT, head.e_entry = e.segment.p_paddr = 0xd0100000);
    BROKEN("segment that wraps in memory", CAPSA_E_BOOT, segment.p_paddr = UINT64_MAX - 4);
    BROKEN("segment of 2^63 bytes", CAPSA_E_BOOT, segment.p_memsz = 1ull << 63);
    BROKEN("entry outside", CAPSA_E_BOOT, head.e_entry = 0x2000000);
    BROKEN("nothing to load", CAPSA_E_BOOT, segment.p_type = PT_NOTE);
    capsa_builder_free(builder);
}

/* ---- initrd ------------------------------------------------------------------------------------------------- */

static const char *sparse(const char *name, long long size) {
    static char path[4096];

    snprintf(path, sizeof path, "%s/%s", scratch(), name);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && !ftruncate(fd, size), "%s", path);
    close(fd);
    return path;
}

TEST(badinput, initrd, 60) {
    const char *kernel = image("bzImage");

    builder = builder_for(ours);
    refuse("missing", kernel, "/nowhere/initrd", CAPSA_E_NOT_FOUND, "/nowhere/initrd");
    refuse("empty", kernel, file_of("", 0), CAPSA_E_CONFIG, "empty");
    refuse("directory", kernel, "/", CAPSA_E_CONFIG, "directory");
    refuse("as large as the memory", kernel, sparse("equal", 256 << 20), CAPSA_E_CONFIG, "256");
    refuse("larger than the memory", kernel, sparse("more", 300 << 20), CAPSA_E_CONFIG, "300");
    refuse("1 TiB", kernel, sparse("huge", 1LL << 40), CAPSA_E_CONFIG, "memory");
    OK(capsa_builder_set_memory_mib(builder, 6144, &err));
    refuse("more than lies below the window", kernel, sparse("window", 4LL << 30), CAPSA_E_CONFIG, "memory");
    capsa_builder_free(builder);
}

/* ---- Command line ------------------------------------------------------------------------------------------- */

/* A bad argument is refused by its setter or, with all else, by the build. */
static void refuse_argument(const char *what, const char *arg, const char *word) {
    capsa_builder *b = builder_for(ours);
    capsa_vm *vm = NULL;

    printf(" %s\n", what);
    capsa_status status = capsa_builder_cmdline_arg(b, arg, &err);
    if (status == CAPSA_OK) {
        status = capsa_builder_build(b, &vm, &err);
        REFUSED(status, status == CAPSA_E_LIMIT ? CAPSA_E_LIMIT : CAPSA_E_CONFIG, word);
    } else {
        REFUSED(status, CAPSA_E_INVALID_ARG, word);
    }
    capsa_builder_free(b);
}

TEST(badinput, command_line, 60) {
    char text[8192];
    capsa_vm *vm = NULL;

    refuse_argument("line break", "a\nb", NULL);
    refuse_argument("not UTF-8", "a\xff", "UTF-8");
    refuse_argument("empty", "", "empty");
    refuse_argument("open quotation", "a=\"b", "quotation");
    memset(text, 'x', sizeof text);
    text[8191] = 0;
    refuse_argument("8191 bytes", text, NULL);
    text[2040] = 0;
    refuse_argument("fits by itself, not with the machine's own", text, NULL);

    builder = builder_for(ours);
    text[2040] = 'x';
    text[3000] = 0;
    OK(capsa_builder_set_cmdline(builder, text, &err));
    REFUSED(capsa_builder_build(builder, &vm, &err), CAPSA_E_LIMIT, "3000");
    OK(capsa_builder_set_cmdline(builder, "console=hvc0", &err));
    OK(capsa_builder_cmdline_arg(builder, "quiet", &err));
    REFUSED(capsa_builder_build(builder, &vm, &err), CAPSA_E_CONFIG, NULL);
    capsa_builder_free(builder);
}

/* ---- Memory and processors ---------------------------------------------------------------------------------- */

static void refuse_size(const char *what, uint32_t cpus, uint64_t mib, const char *word) {
    capsa_builder *b = builder_for(ours);
    capsa_vm *vm = NULL;

    printf(" %s\n", what);
    capsa_status status = capsa_builder_set_cpus(b, cpus, &err);
    if (status == CAPSA_OK) status = capsa_builder_set_memory_mib(b, mib, &err);
    if (status != CAPSA_OK) {
        REFUSED(status, CAPSA_E_INVALID_ARG, word);
    } else {
        status = capsa_builder_build(b, &vm, &err);
        int other = status == CAPSA_E_UNSUPPORTED || status == CAPSA_E_NO_MEMORY || status == CAPSA_E_LIMIT;
        REFUSED(status, other ? status : CAPSA_E_CONFIG, word);
    }
    capsa_builder_free(b);
}

TEST(badinput, sizes, 60) {
    refuse_size("no processors", 0, 256, NULL);
    refuse_size("100000 processors", 100000, 256, NULL);
    refuse_size("no memory", 1, 0, NULL);
    refuse_size("1 MiB, too little for any kernel", 1, 1, "memory");
    refuse_size("16 MiB, too little for this kernel", 1, 16, "memory");
    refuse_size("2^44 MiB, 2^64 bytes", 1, 1ull << 44, NULL);
    refuse_size("2^44 + 256 MiB, which wraps to 256", 1, (1ull << 44) + 256, NULL);
    refuse_size("2^64 - 1 MiB", 1, UINT64_MAX, NULL);
    refuse_size("1 PiB", 1, 1ull << 30, NULL);
}

/* Memory around the window that starts at 3328 MiB: all of these are fine. */
TEST(badinput, sizes_that_are_fine, 60) {
    static const uint64_t sizes[] = {3072, 3073, 3327, 3328, 3329, 4095, 4096, 4097};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        capsa_builder *b = builder_for(ours);
        capsa_vm *vm = NULL;
        OK(capsa_builder_set_memory_mib(b, sizes[i], &err));
        OK(capsa_builder_build(b, &vm, &err));
        capsa_vm_free(vm);
        capsa_builder_free(b);
    }
}

/* All problems of a description at once. */
TEST(badinput, all_problems_at_once, 60) {
    static const char json[] = "{\"boot\":{\"kernel\":\"\"},\"cpus\":0,\"memory_mib\":0}";
    capsa_builder *b = NULL;
    capsa_vm *vm = NULL;
    capsa_status status = capsa_builder_from_json(json, sizeof json - 1, &b, &err);

    if (status == CAPSA_OK) status = capsa_builder_build(b, &vm, &err);
    CHECK_INT(capsa_status_class(status), CAPSA_E_CONFIG);
    const char *detail = capsa_error_detail_json(err);
    int problems = 0;
    for (const char *p = detail; (p = strstr(p, "\"field\":")); p++) problems++;
    CHECK(problems >= 3, "the detail is %s", detail);
    REFUSED(status, CAPSA_E_CONFIG, "kernel");
    capsa_builder_free(b);
}

/* ---- Calls at the wrong time -------------------------------------------------------------------------------- */

TEST(badinput, wrong_state, 60) {
    capsa_vm *vm = NULL;
    capsa_console *console = NULL;
    char *json = NULL;
    uint32_t stage;

    builder = builder_for((kind){"spin", NULL});
    OK(capsa_builder_build(builder, &vm, &err));
    OK(capsa_vm_console(vm, &console, &err));
    REFUSED(capsa_vm_stop(vm, 0, NULL, &stage, &err), CAPSA_E_STATE, NULL);
    REFUSED(capsa_vm_pause(vm, &err), CAPSA_E_STATE, NULL);
    REFUSED(capsa_vm_resume(vm, &err), CAPSA_E_STATE, NULL);
    REFUSED(capsa_vm_exit_json(vm, &json, &err), CAPSA_E_STATE, NULL);
    OK(capsa_vm_start(vm, patience(5000), NULL, &err));
    REFUSED(capsa_vm_start(vm, patience(5000), NULL, &err), CAPSA_E_STATE, "start");
    REFUSED(capsa_vm_resume(vm, &err), CAPSA_E_STATE, NULL);
    OK(capsa_vm_kill(vm, &err));
    REFUSED(capsa_vm_start(vm, patience(5000), NULL, &err), CAPSA_E_STATE, NULL);
    REFUSED(capsa_vm_pause(vm, &err), CAPSA_E_STATE, NULL);
    REFUSED(capsa_console_resize(console, 80, 25, &err), CAPSA_E_STATE, NULL);
    capsa_console_free(console);
    capsa_vm_free(vm);
    capsa_builder_free(builder);
}

TEST(badinput, unknown_backend, 60) {
    capsa_builder *b = NULL;

    OK(capsa_builder_new(&b, &err));
    REFUSED(capsa_builder_set_backend(b, "xen", &err), CAPSA_E_NOT_FOUND, "xen");
    capsa_builder_free(b);
}

/* Without /dev/kvm the library says what is missing and what to do. */
TEST(badinput, no_permission_for_kvm, 60) {
    capsa_vm *vm = NULL;

    builder = builder_for(ours);
    if (getuid() == 0)
        CHECK(!setgroups(0, NULL) && !setresgid(65534, 65534, 65534) && !setresuid(65534, 65534, 65534),
              "cannot become nobody");
    if (faccessat(AT_FDCWD, "/dev/kvm", R_OK | W_OK, AT_EACCESS) == 0) {
        printf("  not tested: everyone may use /dev/kvm on this host\n");
        capsa_builder_free(builder);
        return;
    }
    REFUSED(capsa_builder_build(builder, &vm, &err), CAPSA_E_UNAVAILABLE, "/dev/kvm");
    capsa_builder_free(builder);
}
