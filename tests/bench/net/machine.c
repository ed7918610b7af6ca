/* machine KERNEL INITRD [ARGUMENT...] - boots a guest that reaches this host's loopback at its gateway, with the longest MTU;
 * prints its console. */
#include <capsa.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char everything[] = "{\"default\": \"allow-all\", \"unlock\": [\"host\", \"loopback\"]}";

int main(int argc, char **argv) {
    capsa_error *err = NULL;
    capsa_builder *b = NULL;
    capsa_vm *vm = NULL;
    capsa_console *console = NULL;
    capsa_network_options net = CAPSA_NETWORK_OPTIONS_INIT;
    char buf[4096];
    size_t n = 1;
    if (argc < 3) return 2;
    net.mode = CAPSA_NETWORK_USER;
    net.flags = CAPSA_NETWORK_HOST_ACCESS | CAPSA_NETWORK_NO_IPV6;
    net.mtu = 65520;
    capsa_status s = capsa_builder_new(&b, &err);
    if (!s) s = capsa_builder_boot_linux(b, argv[1], argv[2], &err);
    if (!s) s = capsa_builder_set_memory_mib(b, 256, &err);
    if (!s) s = capsa_builder_set_network(b, &net, &err);
    if (!s) s = capsa_builder_set_policy_json(b, everything, strlen(everything), &err);
    for (int i = 3; i < argc && !s; i++) s = capsa_builder_cmdline_arg(b, argv[i], &err);
    if (!s) s = capsa_builder_build(b, &vm, &err);
    if (!s) s = capsa_vm_start(vm, -1, NULL, &err);
    if (!s) s = capsa_vm_console(vm, &console, &err);
    while (!s && n > 0) {
        s = capsa_console_read(console, -1, NULL, buf, sizeof buf, &n, &err);
        if (!s && n > 0 && write(1, buf, n) < 0) break;
    }
    if (s) fprintf(stderr, "machine: %s\n", capsa_error_message(err));
    capsa_console_free(console);
    capsa_vm_free(vm);
    capsa_builder_free(b);
    return s != CAPSA_OK;
}
