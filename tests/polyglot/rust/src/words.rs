//! What the words of the script do.
use crate::{Arguments, Outcome};
use capsa::*;
use std::collections::{BTreeSet, HashMap};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

/// A connection of either kind.
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// What the script has made, by name. A listener borrows its machine: there is one for each word that needs it.
pub struct Interpreter {
    builder: Builder,
    consoles: HashMap<String, Console>,
    streams: HashMap<String, Stream>,
    forwards: HashMap<String, OpenForward>,
    listeners: HashMap<String, VsockListener<'static>>,
    watched: HashMap<String, Events<'static>>,
    vms: HashMap<String, &'static Vm>,
}

/// guest-shutdown is GuestShutdown.
fn name_of(variant: impl std::fmt::Debug) -> String {
    let mut name = String::new();
    for c in format!("{variant:?}").chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}

fn exit_of(exit: Exit) -> String {
    format!("{} {} {}", name_of(exit.cause), exit.code, exit.signal)
}

fn text_of(data: Vec<u8>) -> String {
    String::from_utf8_lossy(&data).into_owned()
}

fn patience(a: &Arguments) -> Duration {
    Duration::from_millis(a.number("ms"))
}

/// set: one property of the description.
fn describe(b: &Builder, a: &Arguments) -> Result<String> {
    let value = a.text("value");
    match a.text("what") {
        "name" => b.name(value),
        "backend" => b.backend(value),
        "linux" => b.linux(value, a.get("initrd")),
        "arg" => b.arg(value),
        "cmdline" => b.cmdline(Some(value)),
        "cpus" => b.cpus(a.number("value")),
        "memory_mib" => b.memory_mib(a.number("value")),
        "timeout_ms" => b.timeout(Some(Duration::from_millis(a.number("value")))),
        "isolation" => b.isolation(if value == "process" { Isolation::Process(Jail::Full) } else { Isolation::None }),
        "disk" => b.disk(value, &Disk { format: DiskFormat::Raw, ..Default::default() }),
        "share" => {
            let read_only = a.get("read_only").is_some();
            b.share(a.text("tag"), value, &Share { read_only, ..Default::default() })
        }
        "ring_size" => b.console(&ConsoleOptions { ring_size: a.number("value"), ..Default::default() }),
        "vsock" => b.vsock(true),
        "vsock_listen" => b.vsock_listen(a.number("port"), value),
        "network" => b.network(Some(&Network { host_access: true, mtu: a.number("value"), ..Default::default() })),
        "policy" => b.policy(Some(value)),
        "forward" => b.forward(&Forward::tcp(a.number("value"))),
        other => panic!("nothing is called {other}"),
    }?;
    Ok(String::new())
}

impl Interpreter {
    pub fn new() -> Result<Self> {
        let builder = Builder::new()?;
        let (consoles, streams, forwards) = Default::default();
        let (listeners, watched, vms) = Default::default();
        Ok(Self { builder, consoles, streams, forwards, listeners, watched, vms })
    }

    /// Frees a machine: its box is made ours again.
    fn free(vm: &'static Vm) {
        // SAFETY: it came from Box::leak, its name is gone from the table, and listeners go before machines.
        drop(unsafe { Box::from_raw(std::ptr::from_ref(vm).cast_mut()) });
    }

    pub fn step(&mut self, word: &str, a: &Arguments) -> Outcome {
        let done = || String::new();
        match word {
            "clear" => self.clear().map(|()| done()),
            "version" => Ok(version()),
            "has" => Ok(has(a.text("feature")).to_string()),
            "set" => describe(&self.builder, a),
            "json" => self.builder.to_json(),
            "from_json" => Builder::from_json(a.text("json")).map(|b| {
                self.builder = b;
                done()
            }),
            "build" => self.builder.build().map(|vm| {
                self.vms.insert(a.text("vm").into(), Box::leak(Box::new(vm)));
                done()
            }),
            "close" => {
                match self.vms.remove(a.text("of")) {
                    Some(vm) => Self::free(vm),
                    None => drop(self.listeners.remove(a.text("of"))),
                }
                Ok(done())
            }
            "many" => self.many(a),
            "churn" => self.churn(a).map(|()| done()),
            "events" => self.watched.remove(a.text("of")).into_iter().flatten().map(|e| e.map(|e| name_of(e.kind)))
                .collect::<Result<BTreeSet<_>>>().map(|names| names.into_iter().collect::<Vec<_>>().join(" ")),
            "file" => Ok(std::fs::read_to_string(a.text("path")).expect("a file")),
            _ => {
                if let Some(vm) = a.get("vm") {
                    return self.machine(word, self.vms[vm], a);
                }
                return self.talk(word, a);
            }
        }
        .into()
    }

    fn clear(&mut self) -> Result<()> {
        self.streams.clear();
        self.listeners.clear();
        self.watched.clear();
        self.consoles.clear();
        self.vms.drain().for_each(|(_, vm)| Self::free(vm));
        self.builder = Builder::new()?;
        Ok(())
    }

    /// Makes machines and drops them, one after the other.
    fn churn(&self, a: &Arguments) -> Result<()> {
        for _ in 0..a.number::<u32>("count") {
            let vm = self.builder.build()?;
            if a.get("started").is_some() {
                vm.start(Wait::FOREVER)?;
            }
        }
        Ok(())
    }

    /// Runs machines of one description at once.
    fn many(&self, a: &Arguments) -> Result<String> {
        let life = || {
            let vm = self.builder.start()?;
            vm.wait(patience(a)).map(exit_of)
        };
        let ends = thread::scope(|s| {
            let all: Vec<_> = (0..a.number("count")).map(|_: u32| s.spawn(life)).collect();
            all.into_iter().map(|one| one.join().expect("no panic")).collect::<Result<Vec<_>>>()
        });
        Ok(ends?.join(" "))
    }

    /// Words about a machine.
    fn machine(&mut self, word: &str, vm: &'static Vm, a: &Arguments) -> Outcome {
        let done = |()| String::new();
        match word {
            "start" => vm.start(Wait::FOREVER).map(done),
            "state" => vm.state().map(name_of),
            "wait" => vm.wait(patience(a)).map(exit_of),
            "stop" => vm.stop(Some(patience(a))).map(name_of),
            "kill" => vm.kill().map(done),
            "pause" => vm.pause().map(done),
            "resume" => vm.resume().map(done),
            "cancelled" => Cancel::new().and_then(|cancel| {
                thread::scope(|s| {
                    let waiting = s.spawn(|| vm.wait(&cancel));
                    cancel.trigger()?;
                    waiting.join().expect("no panic").map(exit_of)
                })
            }),
            "boot_log" => vm.boot_log().map(text_of),
            "stats" => vm.stats().map(|s| format!("{} {}", s.cpus, s.memory_bytes >> 20)),
            "watch" => Ok(done(drop(self.watched.insert(a.text("as").into(), vm.events())))),
            "console" => vm.console().map(|c| done(drop(self.consoles.insert(a.text("as").into(), c)))),
            "states" => (0..a.number::<u32>("count")).try_for_each(|_| vm.state().map(drop)).map(done),
            "drain" => drain(vm, a.number("count")),
            "dial" => vm.vsock_connect(a.number("port"), patience(a)).map(|s| {
                done(drop(self.streams.insert(a.text("as").into(), Stream::Unix(s))))
            }),
            "listen" => vm.vsock_listen(a.number("port"), 16).map(|l| {
                done(drop(self.listeners.insert(a.text("as").into(), l)))
            }),
            "add_forward" => vm.add_forward(&Forward::tcp(a.number("port"))).map(|f| {
                let text = format!("{} {}", f.host, f.guest_port);
                self.forwards.insert(a.text("as").into(), f);
                text
            }),
            "remove_forward" => vm.remove_forward(self.forwards[a.text("of")].id).map(done),
            "policy" => vm.set_policy(a.get("json")).map(done),
            "link" => vm.set_link(a.text("up") == "1").map(done),
            _ => return Outcome::Unknown,
        }
        .into()
    }

    /// Words about consoles, sockets and forwarded ports.
    fn talk(&mut self, word: &str, a: &Arguments) -> Outcome {
        let of = a.text("of");
        let console = || &self.consoles[of];
        let done = |()| String::new();
        match word {
            "expect" => {
                let patterns: Vec<_> =
                    a.get("literal").map(Pattern::from).into_iter().chain(a.get("regex").map(Regex)).collect();
                console().expect(&patterns, patience(a)).map(|m| {
                    format!("{} {}", m.index, String::from_utf8_lossy(m.matched()))
                })
            }
            "run" => console().run(a.text("command"), patience(a)).map(|done| {
                format!("{} {}", done.status, String::from_utf8_lossy(&done.output))
            }),
            "type" => { &mut console() }.write_all(a.text("text").as_bytes()).map(done).map_err(Error::from),
            "interrupt" => console().interrupt(Wait::FOREVER).map(done),
            "eof" => console().eof(Wait::FOREVER).map(done),
            "resize" => console().resize(a.number("columns"), a.number("rows")).map(done),
            "read_all" => {
                let mut all = Vec::new();
                { &mut console() }.read_to_end(&mut all).map(|_| text_of(all)).map_err(Error::from)
            }
            "ping" => (0..a.number::<u32>("count")).try_for_each(|_| {
                { &mut console() }.write_all(b"ping")?;
                console().expect(&[Literal(b"ping")], Wait::FOREVER).map(drop)
            }).map(done),
            "accept" => self.listeners[of].accept(patience(a)).map(|s| {
                done(drop(self.streams.insert(a.text("as").into(), Stream::Unix(s))))
            }),
            "connect" => {
                let forward = &self.forwards[of];
                let stream = TcpStream::connect((forward.host.as_str(), forward.host_port)).expect("a connection");
                self.streams.insert(a.text("as").into(), Stream::Tcp(stream));
                Ok(String::new())
            }
            "exchange" => exchange(self.streams.get_mut(of).expect("a stream"), a.text("text")),
            _ => return Outcome::Unknown,
        }
        .into()
    }
}

impl Drop for Interpreter {
    fn drop(&mut self) {
        let _ = self.clear();
    }
}

/// Reads a console from its beginning to its end, so many times, and counts the bytes.
fn drain(vm: &Vm, count: u32) -> Result<String> {
    let (mut size, mut piece) = (0, vec![0; 65536]);
    for _ in 0..count {
        let mut console = vm.console()?;
        loop {
            match Read::read(&mut console, &mut piece)? {
                0 => break,
                n => size += n,
            }
        }
    }
    Ok(size.to_string())
}

/// Sends a text and the end, and reads to the end.
fn exchange(stream: &mut Stream, text: &str) -> Result<String> {
    let mut all = Vec::new();
    match stream {
        Stream::Unix(s) => {
            s.write_all(text.as_bytes())?;
            s.shutdown(Shutdown::Write)?;
            s.read_to_end(&mut all)?;
        }
        Stream::Tcp(s) => {
            s.write_all(text.as_bytes())?;
            s.shutdown(Shutdown::Write)?;
            s.read_to_end(&mut all)?;
        }
    }
    Ok(text_of(all))
}
