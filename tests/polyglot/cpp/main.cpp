// main.cpp - interpreter of the polyglot suite (README.md) over the C header as C++ uses it: owners, exceptions, threads.
#include "handles.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <poll.h>
#include <set>
#include <sstream>
#include <sys/socket.h>
#include <thread>
#include <vector>

namespace {

using Arguments = std::map<std::string, std::string>;

const char *const causes[] = {"none",    "guest-shutdown", "main-exited", "reboot",    "panic",       "oom",
                              "stopped", "killed",         "timed-out",   "vmm-crash", "boot-failed", "triple-fault"};
const char *const states[] = {"created", "starting", "running", "paused", "stopping", "stopped", "failed"};
const char *const stages[] = {"none", "agent", "power-button", "kill"};
const char *const events[] = {
    "",    "state", "ready",       "exited",     "exec-exited", "console-data", "port-bound", "policy-deny",
    "oom", "log",   "events-lost", "disk-error", "crash-kernel"};

std::string text(const Arguments &a, const char *key) {
    auto at = a.find(key);
    return at == a.end() ? "" : at->second;
}
std::int64_t number(const Arguments &a, const char *key) { return std::strtoll(text(a, key).c_str(), nullptr, 10); }
const char *given(const Arguments &a, const char *key) {
    auto at = a.find(key);
    return at == a.end() ? nullptr : at->second.c_str();
}

// What the script has made, by name.
Builder builder = make<Builder>(capsa_builder_new);
std::map<std::string, VM> vms;
std::map<std::string, Console> consoles;
std::map<std::string, Descriptor> streams;
std::map<std::string, capsa_forward_info> forwards;
std::map<std::string, capsa_vm *> watched;
struct Listener {
    capsa_vm *vm;
    std::uint32_t port;
    Descriptor fd;
    ~Listener() { capsa_vm_vsock_unlisten(vm, port, nullptr); }
};
std::map<std::string, std::unique_ptr<Listener>> listeners;

capsa_vm *vm(const Arguments &a) { return vms.at(text(a, "vm")).get(); }
capsa_console *console(const Arguments &a) { return consoles.at(text(a, "of")).get(); }

void clear() {
    streams.clear();
    listeners.clear();
    consoles.clear();
    forwards.clear();
    vms.clear();
    builder = make<Builder>(capsa_builder_new);
}

// The system's own calls must succeed here.
template <class T> T must(T result, const char *what) {
    if (result < 0) throw std::system_error(errno, std::generic_category(), what);
    return result;
}

Descriptor blocking(int fd) {
    must(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK), "fcntl");
    return Descriptor(fd);
}

std::string wait_for(capsa_vm *of, std::int64_t ms, capsa_cancel *cancel = nullptr) {
    capsa_exit_info info = CAPSA_EXIT_INFO_INIT;
    call(capsa_vm_wait, of, ms, cancel, &info);
    return std::string(causes[info.cause]) + " " + std::to_string(info.code) + " " + std::to_string(info.signal);
}

// One property of the description.
const std::map<std::string, std::function<void(const Arguments &, const std::string &)>> properties = {
    {"name", [](auto &, auto &value) { call(capsa_builder_set_name, builder.get(), value.c_str()); }},
    {"backend", [](auto &, auto &value) { call(capsa_builder_set_backend, builder.get(), value.c_str()); }},
    {"linux",
     [](auto &a, auto &value) { call(capsa_builder_boot_linux, builder.get(), value.c_str(), given(a, "initrd")); }},
    {"arg", [](auto &, auto &value) { call(capsa_builder_cmdline_arg, builder.get(), value.c_str()); }},
    {"cmdline", [](auto &, auto &value) { call(capsa_builder_set_cmdline, builder.get(), value.c_str()); }},
    {"cpus", [](auto &a, auto &) { call(capsa_builder_set_cpus, builder.get(), number(a, "value")); }},
    {"memory_mib", [](auto &a, auto &) { call(capsa_builder_set_memory_mib, builder.get(), number(a, "value")); }},
    {"timeout_ms", [](auto &a, auto &) { call(capsa_builder_set_timeout, builder.get(), number(a, "value")); }},
    {"isolation",
     [](auto &, auto &value) {
         auto isolation = value == "process" ? CAPSA_ISOLATION_PROCESS : CAPSA_ISOLATION_NONE;
         call(capsa_builder_set_isolation, builder.get(), isolation, 0);
     }},
    {"ring_size",
     [](auto &a, auto &) {
         capsa_console_options o = CAPSA_CONSOLE_OPTIONS_INIT;
         o.ring_size = static_cast<std::uint64_t>(number(a, "value"));
         call(capsa_builder_set_console, builder.get(), &o);
     }},
    {"vsock", [](auto &, auto &) { call(capsa_builder_set_vsock, builder.get(), 1); }},
    {"vsock_listen",
     [](auto &a, auto &value) {
         call(capsa_builder_vsock_listen, builder.get(), number(a, "port"), value.c_str(), 0);
     }},
    {"policy",
     [](auto &, auto &value) { call(capsa_builder_set_policy_json, builder.get(), value.data(), value.size()); }},
    {"disk",
     [](auto &, auto &value) {
         capsa_disk_options o = CAPSA_DISK_OPTIONS_INIT;
         o.format = CAPSA_DISK_FORMAT_RAW;
         call(capsa_builder_add_disk, builder.get(), value.c_str(), &o);
     }},
    {"share",
     [](auto &a, auto &value) {
         capsa_share_options o = CAPSA_SHARE_OPTIONS_INIT;
         o.flags = given(a, "read_only") ? CAPSA_SHARE_READ_ONLY : 0;
         call(capsa_builder_add_share, builder.get(), text(a, "tag").c_str(), value.c_str(), &o);
     }},
    {"network",
     [](auto &a, auto &) {
         capsa_network_options o = CAPSA_NETWORK_OPTIONS_INIT;
         o.mode = CAPSA_NETWORK_USER;
         o.flags = CAPSA_NETWORK_HOST_ACCESS;
         o.mtu = static_cast<std::uint32_t>(number(a, "value"));
         call(capsa_builder_set_network, builder.get(), &o);
     }},
    {"forward",
     [](auto &a, auto &) {
         capsa_forward_options o = CAPSA_FORWARD_OPTIONS_INIT;
         o.guest_port = static_cast<std::uint16_t>(number(a, "value"));
         call(capsa_builder_add_forward, builder.get(), &o);
     }},
};

std::string cancelled(capsa_vm *of) {
    auto cancel = make<Cancel>(capsa_cancel_new);
    std::string end;
    std::exception_ptr thrown;
    std::thread waits([&] {
        try {
            end = wait_for(of, -1, cancel.get());
        } catch (...) {
            thrown = std::current_exception();
        }
    });
    capsa_cancel_trigger(cancel.get(), nullptr);
    waits.join();
    if (thrown) std::rethrow_exception(thrown);
    return end;
}

// Machines of one description at once.
std::string many(const Arguments &a) {
    auto n = static_cast<std::size_t>(number(a, "count"));
    std::vector<std::string> ends(n);
    std::vector<std::exception_ptr> thrown(n);
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < n; i++)
        threads.emplace_back([&, i] {
            try {
                auto made = make<VM>(capsa_builder_build, builder.get());
                call(capsa_vm_start, made.get(), -1, nullptr);
                ends[i] = wait_for(made.get(), number(a, "ms"));
            } catch (...) {
                thrown[i] = std::current_exception();
            }
        });
    for (auto &thread : threads) thread.join();
    for (auto &exception : thrown)
        if (exception) std::rethrow_exception(exception);
    std::string all;
    for (auto &end : ends) all += (all.empty() ? "" : " ") + end;
    return all;
}

// Machines are made and dropped, one after the other.
void churn(const Arguments &a) {
    for (auto n = number(a, "count"); n > 0; n--) {
        auto made = make<VM>(capsa_builder_build, builder.get());
        if (given(a, "started")) call(capsa_vm_start, made.get(), -1, nullptr);
    }
}

std::string events_of(capsa_vm *of) {
    std::set<std::string> seen;
    for (;;) {
        capsa_event event = CAPSA_EVENT_INIT;
        try {
            call(capsa_vm_next_event, of, -1, nullptr, &event, nullptr);
        } catch (const Failure &failure) {
            if (failure.status == CAPSA_E_CLOSED) break;
            throw;
        }
        seen.insert(events[event.type]);
    }
    std::string all;
    for (auto &name : seen) all += (all.empty() ? "" : " ") + name;
    return all;
}

std::string expect(const Arguments &a) {
    std::vector<capsa_pattern> patterns;
    std::string literal = text(a, "literal"), regex = text(a, "regex");
    if (given(a, "literal"))
        patterns.push_back({sizeof(capsa_pattern), CAPSA_PATTERN_LITERAL, literal.data(), literal.size()});
    if (given(a, "regex"))
        patterns.push_back({sizeof(capsa_pattern), CAPSA_PATTERN_REGEX, regex.data(), regex.size()});
    capsa_match match = CAPSA_MATCH_INIT;
    capsa_output *raw = nullptr;
    call(capsa_console_expect, console(a), number(a, "ms"), nullptr, patterns.data(), patterns.size(), &match, &raw);
    Output output(raw);
    return std::to_string(match.pattern) + " " + (capsa_output_data(raw, nullptr) + match.start);
}

std::string run(const Arguments &a) {
    std::int32_t status = 0;
    capsa_output *raw = nullptr;
    call(capsa_console_run, console(a), number(a, "ms"), nullptr, text(a, "command").c_str(), &status, &raw);
    Output output(raw);
    return std::to_string(status) + " " + capsa_output_data(raw, nullptr);
}

std::string read_all(capsa_console *of) {
    std::string all;
    char piece[4096];
    for (std::size_t got = 1; got;) {
        call(capsa_console_read, of, -1, nullptr, piece, sizeof piece, &got);
        all.append(piece, got);
    }
    return all;
}

// Reads a console from its beginning to its end, so many times, and counts the bytes.
std::string drain(const Arguments &a) {
    std::vector<char> piece(65536);
    std::size_t size = 0;
    for (auto n = number(a, "count"); n > 0; n--) {
        auto opened = make<Console>(capsa_vm_console, vm(a));
        for (std::size_t got = 1; got; size += got)
            call(capsa_console_read, opened.get(), -1, nullptr, piece.data(), piece.size(), &got);
    }
    return std::to_string(size);
}

// Types to a guest that echoes, and waits for the echo.
void ping(const Arguments &a) {
    capsa_pattern pattern = CAPSA_LITERAL("ping");
    std::size_t written = 0;
    for (auto n = number(a, "count"); n > 0; n--) {
        call(capsa_console_write, console(a), -1, nullptr, "ping", 4, &written);
        call(capsa_console_expect, console(a), -1, nullptr, &pattern, 1, nullptr, nullptr);
    }
}

void accept_one(const Arguments &a) {
    pollfd p = {listeners.at(text(a, "of"))->fd.get(), POLLIN, 0};
    if (must(poll(&p, 1, static_cast<int>(number(a, "ms"))), "poll") == 0)
        throw Failure(CAPSA_E_TIMEOUT, "no connection came in time", "");
    streams[text(a, "as")] = blocking(must(accept(p.fd, nullptr, nullptr), "accept"));
}

void connect_to(const Arguments &a) {
    auto &forward = forwards.at(text(a, "of"));
    sockaddr_in at = {};
    at.sin_family = AF_INET;
    at.sin_port = htons(forward.host_port);
    inet_pton(AF_INET, forward.host, &at.sin_addr);
    Descriptor fd(must(socket(AF_INET, SOCK_STREAM, 0), "socket"));
    must(connect(fd.get(), reinterpret_cast<sockaddr *>(&at), sizeof at), "connect");
    streams[text(a, "as")] = std::move(fd);
}

// Sends a text and the end, and reads to the end.
std::string exchange(int fd, const std::string &data) {
    for (std::size_t done = 0; done < data.size();)
        done += static_cast<std::size_t>(must(send(fd, data.data() + done, data.size() - done, MSG_NOSIGNAL), "send"));
    must(shutdown(fd, SHUT_WR), "shutdown");
    std::string all;
    char piece[4096];
    while (auto n = must(read(fd, piece, sizeof piece), "read")) all.append(piece, static_cast<std::size_t>(n));
    return all;
}

std::string add_forward(const Arguments &a) {
    capsa_forward_options o = CAPSA_FORWARD_OPTIONS_INIT;
    capsa_forward_info info = CAPSA_FORWARD_INFO_INIT;
    o.guest_port = static_cast<std::uint16_t>(number(a, "port"));
    call(capsa_vm_add_forward, vm(a), &o, &info);
    forwards[text(a, "as")] = info;
    return std::string(info.host) + " " + std::to_string(info.guest_port);
}

// Does something, and gives nothing.
template <class F> std::function<std::string(const Arguments &)> nothing(F f) {
    return [f](const Arguments &a) {
        f(a);
        return std::string();
    };
}

const std::map<std::string, std::function<std::string(const Arguments &)>> words = {
    {"clear", nothing([](auto &) { clear(); })},
    {"version", [](auto &) { return std::string(capsa_version_string()); }},
    {"has", [](auto &a) { return std::string(capsa_has(text(a, "feature").c_str()) ? "true" : "false"); }},
    {"set", nothing([](auto &a) { properties.at(text(a, "what"))(a, text(a, "value")); })},
    {"json", [](auto &) { return from_library(capsa_builder_to_json, builder.get()); }},
    {"from_json", nothing([](auto &a) {
         std::string json = text(a, "json");
         capsa_builder *raw = nullptr;
         call(capsa_builder_from_json, json.data(), json.size(), &raw);
         builder.reset(raw);
     })},
    {"build", nothing([](auto &a) { vms[text(a, "vm")] = make<VM>(capsa_builder_build, builder.get()); })},
    {"start", nothing([](auto &a) { call(capsa_vm_start, vm(a), -1, nullptr); })},
    {"state",
     [](auto &a) {
         std::uint32_t state = 0;
         call(capsa_vm_state, vm(a), &state);
         return std::string(states[state]);
     }},
    {"wait", [](auto &a) { return wait_for(vm(a), number(a, "ms")); }},
    {"stop",
     [](auto &a) {
         std::uint32_t stage = 0;
         call(capsa_vm_stop, vm(a), number(a, "ms"), nullptr, &stage);
         return std::string(stages[stage]);
     }},
    {"kill", nothing([](auto &a) { call(capsa_vm_kill, vm(a)); })},
    {"pause", nothing([](auto &a) { call(capsa_vm_pause, vm(a)); })},
    {"resume", nothing([](auto &a) { call(capsa_vm_resume, vm(a)); })},
    {"close", nothing([](auto &a) {
         if (!vms.erase(text(a, "of"))) listeners.erase(text(a, "of"));
     })},
    {"cancelled", [](auto &a) { return cancelled(vm(a)); }},
    {"boot_log",
     [](auto &a) {
         auto output = make<Output>(capsa_vm_boot_log, vm(a));
         return std::string(capsa_output_data(output.get(), nullptr));
     }},
    {"stats",
     [](auto &a) {
         capsa_stats s = CAPSA_STATS_INIT;
         call(capsa_vm_stats, vm(a), &s);
         return std::to_string(s.cpus) + " " + std::to_string(s.memory_bytes >> 20);
     }},
    {"watch", nothing([](auto &a) { watched[text(a, "as")] = vm(a); })},
    {"events", [](auto &a) { return events_of(watched.at(text(a, "of"))); }},
    {"many", many},
    {"churn", nothing(churn)},
    {"console", nothing([](auto &a) { consoles[text(a, "as")] = make<Console>(capsa_vm_console, vm(a)); })},
    {"expect", expect},
    {"run", run},
    {"type", nothing([](auto &a) {
         std::string data = text(a, "text");
         std::size_t written = 0;
         call(capsa_console_write, console(a), -1, nullptr, data.data(), data.size(), &written);
     })},
    {"interrupt", nothing([](auto &a) { call(capsa_console_interrupt, console(a), -1, nullptr); })},
    {"eof", nothing([](auto &a) { call(capsa_console_eof, console(a), -1, nullptr); })},
    {"resize",
     nothing([](auto &a) { call(capsa_console_resize, console(a), number(a, "columns"), number(a, "rows")); })},
    {"read_all", [](auto &a) { return read_all(console(a)); }},
    {"drain", drain},
    {"states", nothing([](auto &a) {
         capsa_vm *of = vm(a);
         std::uint32_t state = 0;
         for (auto n = number(a, "count"); n > 0; n--) call(capsa_vm_state, of, &state);
     })},
    {"ping", nothing(ping)},
    {"dial", nothing([](auto &a) {
         int fd = -1;
         call(capsa_vm_vsock_connect, vm(a), number(a, "port"), 0, number(a, "ms"), nullptr, &fd);
         streams[text(a, "as")] = blocking(fd);
     })},
    {"listen", nothing([](auto &a) {
         auto port = static_cast<std::uint32_t>(number(a, "port"));
         int fd = -1;
         call(capsa_vm_vsock_listen, vm(a), port, 0, 16, &fd);
         listeners[text(a, "as")].reset(new Listener{vm(a), port, Descriptor(fd)});
     })},
    {"accept", nothing(accept_one)},
    {"add_forward", add_forward},
    {"remove_forward", nothing([](auto &a) { call(capsa_vm_remove_forward, vm(a), forwards.at(text(a, "of")).id); })},
    {"connect", nothing(connect_to)},
    {"exchange", [](auto &a) { return exchange(streams.at(text(a, "of")).get(), text(a, "text")); }},
    {"policy", nothing([](auto &a) {
         const char *rules = given(a, "json");
         call(capsa_vm_set_policy_json, vm(a), rules, rules ? std::strlen(rules) : 0);
     })},
    {"link", nothing([](auto &a) { call(capsa_vm_set_link, vm(a), number(a, "up")); })},
    {"file",
     [](auto &a) {
         std::ostringstream all;
         all << std::ifstream(text(a, "path")).rdbuf();
         return all.str();
     }},
};

std::string decode(const std::string &value) {
    std::string all;
    for (std::size_t i = 0; i < value.size(); i++) {
        if (value[i] != '%') {
            all += value[i];
            continue;
        }
        all += static_cast<char>(std::stoi(value.substr(i + 1, 2), nullptr, 16));
        i += 2;
    }
    return all;
}

std::string encode(const std::string &value) {
    std::string all;
    char hex[4];
    for (unsigned char c : value) {
        std::snprintf(hex, sizeof hex, std::isalnum(c) ? "%c" : "%%%02X", c);
        all += hex;
    }
    return all;
}

} // namespace

int main() {
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream parts(line);
        std::string word, pair;
        Arguments a;
        parts >> word;
        while (parts >> pair) a[pair.substr(0, pair.find('='))] = decode(pair.substr(pair.find('=') + 1));
        auto known = words.find(word);
        try {
            if (known == words.end())
                std::cout << "unknown " << word << std::endl;
            else
                std::cout << "ok " + encode(known->second(a)) << std::endl;
        } catch (const Failure &failure) {
            std::cout << "error " << capsa_status_name(capsa_status_class(failure.status))
                      << (failure.hint.empty() ? " nohint " : " hint ") << encode(failure.what()) << std::endl;
        }
    }
    clear();
}
