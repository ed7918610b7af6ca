//! The crate with bare guests.
use capsa::*;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::Duration;

#[macro_use]
mod guests;
use guests::{describe, start, PATIENCE};

#[test]
fn objects_go_between_threads() {
    fn check<T: Send + Sync + std::fmt::Debug + 'static>() {}
    check::<Builder>();
    check::<Vm>();
    check::<Console>();
    check::<Cancel>();
    check::<Error>();
    fn borrowed<T: Send + Sync>() {}
    borrowed::<Events<'_>>();
    borrowed::<VsockListener<'_>>();
}

#[test]
fn library() -> Result<()> {
    assert_eq!(version(), env!("CARGO_PKG_VERSION"));
    assert!(has("console") && !has("teleport") && !has("a\0b"));
    assert!(doctor()?.contains("\"kvm\""));
    assert!(metrics()?.contains("capsa_"));
    Ok(())
}

#[test]
fn errors_tell() -> Result<()> {
    let builder = Builder::new()?;
    let error = builder.cpus(0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArg);
    assert_eq!(error.kind().to_string(), "CAPSA_E_INVALID_ARG");
    assert!(error.message().contains("cpus"), "{error}");
    assert_eq!(builder.name("a\0b").unwrap_err().kind(), ErrorKind::InvalidArg);
    assert_eq!(builder.backend("abacus").unwrap_err().kind(), ErrorKind::NotFound);

    let error = builder.linux("/nonexistent/vmlinuz", None)?.build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("/nonexistent/vmlinuz"), "{error}");
    assert!(error.to_string().starts_with(error.message()));
    assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::NotFound);

    let error = Builder::from_json("{\"cpus\": 0, \"wheels\": 4}").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.detail_json().contains("wheels"), "{}", error.detail_json());
    assert_eq!(Error::from(std::io::Error::from(error.clone())), error);
    Ok(())
}

#[test]
fn descriptions() -> Result<()> {
    let builder = describe("off")?;
    builder.name("web")?.cpus(2)?.timeout(Some(Duration::from_micros(59_999_001)))?;
    builder.console(&ConsoleOptions { columns: 100, rows: 30, ring_size: 65536 })?;
    let disk = Disk { format: DiskFormat::Raw, read_only: true, serial: Some("S1".into()), iops: 5, ..Default::default() };
    builder.disk("/images/a.raw", &disk)?;
    let over = Disk { overlay: Some("/o.qcow2".into()), backing_dirs: vec!["/b".into()], root: true, ..Default::default() };
    builder.disk("/images/b.qcow2", &over)?;
    let owner = ShareOwner::Squash { guest_uid: 7, guest_gid: 8, host: Some((9, 10)) };
    builder.share("data", "/srv", &Share { owner, cache: ShareCache::None, ..Default::default() })?;
    let ids = |guest| vec![IdRange { guest, host: 1000, count: 5 }];
    let owner = ShareOwner::Ranges { uids: ids(1), gids: ids(2) };
    builder.share("home", "/home", &Share { owner, read_only: true, acl: true, ..Default::default() })?;
    builder.balloon(Balloon { reporting: false, ..Default::default() })?;
    builder.isolation(Isolation::Process(Jail::Partial))?;
    builder.vsock_listen(80, "/run/a.sock")?.vsock_connect_packets(81, "/run/b.sock")?;
    let mut network = Network { mtu: 9000, dns: vec!["192.0.2.53".into()], no_ipv6: true, ..Default::default() };
    network.hosts.insert("db.example".into(), vec![IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7))]);
    builder.network(Some(&network))?.policy(Some("{\"default\": \"deny-all\"}"))?;
    builder.forward(&Forward { host_port: 8080, ..Forward::tcp(80) })?;

    let json = builder.to_json()?;
    for part in [
        "\"name\":\"web\"", "\"cpus\":2", "\"timeout_ms\":60000", "\"cols\":100", "\"serial\":\"S1\"", "\"iops\":5",
        "/o.qcow2", "\"/b\"", "\"root\":true", "\"tag\":\"data\"", "\"guest_uid\":7", "\"host_gid\":10", "\"count\":5",
        "\"reporting\":false", "\"isolation\":\"process\"", "\"jail\":\"partial\"", "/run/a.sock", "seqpacket",
        "\"mtu\":9000", "192.0.2.53", "db.example", "deny-all", "127.0.0.1:8080",
    ] {
        assert!(json.contains(part), "{part} is not in {json}");
    }
    assert_eq!(Builder::from_json(&json)?.to_json()?, json);
    let copy = builder.try_clone()?;
    copy.network(None)?.cpus(1)?;
    assert_eq!(builder.to_json()?, json);
    assert_ne!(copy.to_json()?, json);
    Ok(())
}

#[test]
fn a_machine_from_start_to_end() -> Result<()> {
    let vm = machine!("serial:early print:ready echo off");
    let mut console = vm.console()?;
    let found = console.expect(&["never".into(), Regex("rea.y\n")], PATIENCE)?;
    assert_eq!((found.index, found.matched(), found.before()), (1, &b"ready\n"[..], &b""[..]));
    assert_eq!(vm.state()?, State::Running);
    console.write_all(b"from rust")?;
    console.eof(PATIENCE)?;

    let exit = thread::scope(|s| s.spawn(|| vm.wait(PATIENCE)).join().expect("no panic"))?;
    assert_eq!((exit.cause, exit.code, exit.signal), (Cause::GuestShutdown, 0, 0));
    assert!(exit.uptime > Duration::ZERO);
    assert_eq!(vm.wait(Wait::NOW)?, exit);
    assert!(vm.exit_json()?.contains("\"cause\""));
    assert_eq!(vm.boot_log()?, b"early\n");
    assert!(vm.stats()?.exits > 0);
    assert!(vm.devices()?.iter().any(|d| d.name == "console" && d.counters.bytes_in > 0));
    assert!(vm.metrics()?.contains("capsa_"));

    let mut rest = String::new();
    console.read_to_string(&mut rest)?;
    assert_eq!(rest, "from rust");
    assert_eq!(console.write(b"late").unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    let mut whole = String::new();
    vm.console()?.stream()?.read_to_string(&mut whole)?;
    assert_eq!(whole, "ready\nfrom rust");
    Ok(())
}

#[test]
fn events_to_the_end() -> Result<()> {
    let vm = machine!("print:ready off");
    let events = vm.events().collect::<Result<Vec<_>>>()?;
    let last = events.last().expect("an event");
    assert_eq!(last.kind, EventType::Exited);
    assert!(events.iter().any(|e| e.kind == EventType::State && e.value == 2), "{events:?}");
    assert!(events.iter().any(|e| e.kind == EventType::ConsoleData), "{events:?}");
    assert!(vm.events().next().is_none());
    assert_eq!(vm.next_event(Wait::NOW).unwrap_err().kind(), ErrorKind::Closed);
    Ok(())
}

#[test]
fn waits_end_early_and_lose_nothing() -> Result<()> {
    let vm = machine!("print:ready spin");
    let console = vm.console()?;
    let error = console.expect(&["never".into()], Duration::from_millis(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(console.expect(&["ready".into()], PATIENCE)?.output, b"ready");
    assert_eq!(vm.wait(Wait::NOW).unwrap_err().kind(), ErrorKind::Timeout);

    let cancel = Cancel::new()?;
    thread::scope(|s| {
        let waits = s.spawn(|| vm.wait(&cancel));
        let reads = s.spawn(|| console.expect(&["never".into()], Wait::from(PATIENCE).or(&cancel)));
        cancel.trigger()?;
        assert_eq!(waits.join().expect("no panic").unwrap_err().kind(), ErrorKind::Cancelled);
        assert_eq!(reads.join().expect("no panic").unwrap_err().kind(), ErrorKind::Cancelled);
        Result::Ok(())
    })?;
    vm.pause()?;
    assert_eq!(vm.state()?, State::Paused);
    vm.resume()?;
    vm.kill()?;
    assert_eq!(vm.wait(PATIENCE)?.cause, Cause::Killed);
    Ok(())
}

#[test]
fn stops() -> Result<()> {
    let vm = machine!("print:ready button off");
    vm.console()?.expect(&["ready".into()], PATIENCE)?;
    assert_eq!(vm.stop(Some(PATIENCE))?, Stage::PowerButton);
    assert_eq!(vm.wait(Wait::NOW)?.cause, Cause::Stopped);
    let vm = machine!("spin");
    let grace = Grace { agent: Some(Duration::ZERO), power_button: Some(Duration::ZERO), kill: None };
    assert_eq!(vm.stop_in_stages(grace, Wait::FOREVER)?.stage, Stage::Kill);
    assert_eq!(vm.stop(None)?, Stage::None);
    Ok(())
}

#[test]
fn a_guest_that_never_comes_up() -> Result<()> {
    let vm = machine!("serial:dying triple");
    let error = vm.wait(PATIENCE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Boot);
    assert_eq!(error.exit().expect("a record").cause, Cause::BootFailed);
    assert!(String::from_utf8_lossy(error.console_tail()).contains("dying"), "{error:?}");
    Ok(())
}

#[test]
fn sockets() -> Result<()> {
    let builder = describe("print:ready spin")?;
    builder.vsock(true)?;
    let Some(_) = start("off")? else { return Ok(()) };
    let vm = builder.start()?;
    let listener = vm.vsock_listen(99, 4)?;
    assert_eq!(listener.port(), 99);
    assert_eq!(listener.accept(Duration::from_millis(1)).unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(vm.vsock_listen(99, 4).unwrap_err().kind(), ErrorKind::Exists);
    drop(listener);
    let listener = vm.vsock_listen(99, 4)?;
    assert_eq!(vm.vsock_connect(7, Duration::from_millis(1)).unwrap_err().kind(), ErrorKind::Timeout);
    thread::scope(|s| {
        let accepts = s.spawn(|| listener.accept(PATIENCE));
        vm.kill()?;
        assert_eq!(accepts.join().expect("no panic").unwrap_err().kind(), ErrorKind::Closed);
        Result::Ok(())
    })
}

#[test]
fn networks() -> Result<()> {
    let Some(_) = start("off")? else { return Ok(()) };
    let builder = describe("print:ready spin")?;
    builder.network(Some(&Network::default()))?.forward(&Forward::tcp(80))?;
    let vm = builder.start()?;
    let open = vm.add_forward(&Forward { protocol: Protocol::Udp, ..Forward::tcp(53) })?;
    assert_eq!((open.guest_port, open.protocol, open.host.as_str()), (53, Protocol::Udp, "127.0.0.1"));
    assert!(open.host_port > 0);
    assert!(vm.forwards_json()?.contains(&format!("\"id\":{}", open.id)));
    vm.remove_forward(open.id)?;
    assert_eq!(vm.remove_forward(open.id).unwrap_err().kind(), ErrorKind::NotFound);
    vm.set_policy(Some("{\"default\": \"deny-all\"}"))?;
    assert_eq!(vm.set_policy(Some("{\"default\": \"perhaps\"}")).unwrap_err().kind(), ErrorKind::InvalidArg);
    vm.set_link(false)?;
    assert_eq!(machine!("spin").set_link(true).unwrap_err().kind(), ErrorKind::Unsupported);
    Ok(())
}
