/* once KERNEL INITRD [ARGUMENT...] - boots a machine and waits for its end; 0 when the guest asked for a reboot. With
 * CAPSA_BENCH_STATS set, prints the machine's statistics. */
#include <capsa.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    capsa_error *err = NULL;
    capsa_builder *b = NULL;
    capsa_vm *vm = NULL;
    capsa_exit_info info = CAPSA_EXIT_INFO_INIT;
    char *json = NULL;
    if (argc < 3) return 2;
    capsa_status s = capsa_builder_new(&b, &err);
    if (!s) s = capsa_builder_boot_linux(b, argv[1], argv[2], &err);
    if (!s) s = capsa_builder_set_memory_mib(b, 256, &err);
    for (int i = 3; i < argc && !s; i++) s = capsa_builder_cmdline_arg(b, argv[i], &err);
    if (!s) s = capsa_builder_build(b, &vm, &err);
    if (!s) s = capsa_vm_start(vm, -1, NULL, &err);
    if (!s) s = capsa_vm_wait(vm, -1, NULL, &info, &err);
    if (!s && getenv("CAPSA_BENCH_STATS")) s = capsa_vm_stats_json(vm, &json, &err);
    if (json) puts(json);
    capsa_mem_free(json);
    if (s) fprintf(stderr, "%s\n", capsa_error_message(err));
    capsa_vm_free(vm);
    capsa_builder_free(b);
    return s || info.cause != CAPSA_CAUSE_REBOOT;
}
