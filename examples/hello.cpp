// hello KERNEL INITRD COMMAND - as hello.c, with destructors and exceptions.
// c++ -std=c++17 hello.cpp -o hello $(pkg-config --cflags --libs capsa)
#include <capsa.h>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>

template <auto Free> struct Deleter {
    template <class T> void operator()(T *p) const { Free(p); }
};
template <class T, auto Free> using Handle = std::unique_ptr<T, Deleter<Free>>;

using Error = Handle<capsa_error, capsa_error_free>;
using Builder = Handle<capsa_builder, capsa_builder_free>;
using VM = Handle<capsa_vm, capsa_vm_free>;
using Console = Handle<capsa_console, capsa_console_free>;
using Output = Handle<capsa_output, capsa_output_free>;

// Calls a function of the library with a place for its error as the last argument, and throws what it puts there.
template <class Function, class... Arguments> void call(Function function, Arguments... arguments) {
    capsa_error *raw = nullptr;
    if (function(arguments..., &raw) == CAPSA_OK) return;
    Error error(raw);
    throw std::runtime_error(std::string(capsa_error_message(raw)) + "\n" + capsa_error_hint(raw));
}

// Calls a function that makes an object from another one.
template <class Owner, class T, class From>
Owner make(capsa_status (*function)(From *, T **, capsa_error **), From *from) {
    T *made = nullptr;
    call(function, from, &made);
    return Owner(made);
}

int main(int argc, char **argv) try {
    if (argc != 4) throw std::runtime_error("usage: hello KERNEL INITRD COMMAND");
    capsa_builder *raw = nullptr;
    call(capsa_builder_new, &raw);
    Builder builder(raw);
    call(capsa_builder_boot_linux, raw, argv[1], argv[2]);
    call(capsa_builder_cmdline_arg, raw, "quiet");
    VM vm = make<VM>(capsa_builder_build, raw);
    call(capsa_vm_start, vm.get(), -1, nullptr);
    Console console = make<Console>(capsa_vm_console, vm.get());

    capsa_pattern prompt = CAPSA_LITERAL("# ");
    call(capsa_console_expect, console.get(), 300000, nullptr, &prompt, 1, nullptr, nullptr);
    capsa_output *text = nullptr;
    std::int32_t status = 125;
    call(capsa_console_run, console.get(), 60000, nullptr, argv[3], &status, &text);
    Output output(text);
    std::fputs(capsa_output_data(text, nullptr), stdout);
    return status;
} catch (const std::exception &e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 125;
}
