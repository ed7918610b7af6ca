/*
 * once [-disk FORMAT PATH] KERNEL INITRD [ARGUMENT...] - boots a machine and waits for its end; 0 when the guest asked for
 * a reboot. With a disk, what the guest says goes to standard output. With CAPSA_BENCH_STATS set, prints the machine's
 * statistics.
 */
#include <capsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Copies the console to standard output until the machine ends. */
static capsa_status copy(capsa_vm *vm, capsa_error **err) {
    capsa_console *console = NULL;
    char data[4096];
    size_t len = 0;
    capsa_status s = capsa_vm_console(vm, &console, err);
    while (!s && !(s = capsa_console_read(console, -1, NULL, data, sizeof data, &len, err)) && len)
        fwrite(data, 1, len, stdout);
    capsa_console_free(console);
    if (s == CAPSA_E_CLOSED) {
        capsa_error_free(*err);
        *err = NULL;
        s = CAPSA_OK;
    }
    return s;
}

int main(int argc, char **argv) {
    capsa_error *err = NULL;
    capsa_builder *b = NULL;
    capsa_vm *vm = NULL;
    capsa_exit_info info = CAPSA_EXIT_INFO_INIT;
    capsa_disk_options disk = CAPSA_DISK_OPTIONS_INIT;
    char *json = NULL, *path = NULL;
    if (argc > 3 && !strcmp(argv[1], "-disk")) {
        disk.format = strcmp(argv[2], "raw") ? CAPSA_DISK_FORMAT_QCOW2 : CAPSA_DISK_FORMAT_RAW;
        path = argv[3], argv += 3, argc -= 3;
    }
    if (argc < 3) return 2;
    capsa_status s = capsa_builder_new(&b, &err);
    if (!s) s = capsa_builder_boot_linux(b, argv[1], argv[2], &err);
    if (!s) s = capsa_builder_set_memory_mib(b, 256, &err);
    if (!s && path) s = capsa_builder_add_disk(b, path, &disk, &err);
    for (int i = 3; i < argc && !s; i++) s = capsa_builder_cmdline_arg(b, argv[i], &err);
    if (!s) s = capsa_builder_build(b, &vm, &err);
    if (!s) s = capsa_vm_start(vm, -1, NULL, &err);
    if (!s && path) s = copy(vm, &err);
    if (!s) s = capsa_vm_wait(vm, -1, NULL, &info, &err);
    if (!s && getenv("CAPSA_BENCH_STATS")) s = capsa_vm_stats_json(vm, &json, &err);
    if (json) puts(json);
    capsa_mem_free(json);
    if (s) fprintf(stderr, "%s\n", capsa_error_message(err));
    capsa_vm_free(vm);
    capsa_builder_free(b);
    return s || info.cause != CAPSA_CAUSE_REBOOT;
}
