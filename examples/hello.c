/* hello KERNEL INITRD COMMAND - boots Linux, runs a command in its shell and ends with the command's exit status.
 * cc hello.c -o hello $(pkg-config --cflags --libs capsa) */
#include <capsa.h>
#include <stdio.h>

int main(int argc, char **argv) {
    capsa_error *err = NULL;
    capsa_builder *builder = NULL;
    capsa_vm *vm = NULL;
    capsa_console *console = NULL;
    capsa_output *output = NULL;
    capsa_pattern prompt[] = {CAPSA_LITERAL("# ")};
    int32_t status = 125;

    if (argc != 4) return fputs("usage: hello KERNEL INITRD COMMAND\n", stderr), 2;
    if (capsa_builder_new(&builder, &err) || capsa_builder_boot_linux(builder, argv[1], argv[2], &err) ||
        capsa_builder_cmdline_arg(builder, "quiet", &err) || capsa_builder_build(builder, &vm, &err) ||
        capsa_vm_start(vm, -1, NULL, &err) || capsa_vm_console(vm, &console, &err) ||
        capsa_console_expect(console, 300000, NULL, prompt, 1, NULL, NULL, &err) ||
        capsa_console_run(console, 60000, NULL, argv[3], &status, &output, &err))
        fprintf(stderr, "%s\n%s\n", capsa_error_message(err), capsa_error_hint(err));
    fputs(capsa_output_data(output, NULL), stdout);

    capsa_error_free(err); /* freeing NULL is fine */
    capsa_output_free(output);
    capsa_console_free(console);
    capsa_vm_free(vm); /* ends the machine */
    capsa_builder_free(builder);
    return status;
}
