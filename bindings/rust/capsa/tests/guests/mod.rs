//! Bare guests (tests/abi/guest/guest.c), which CAPSA_TEST_GUEST names.
use capsa::{Builder, Result, Vm};
use std::time::Duration;

/// How long a wait may take that is meant to succeed.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn describe(commands: &str) -> Result<Builder> {
    let guest = std::env::var("CAPSA_TEST_GUEST").expect("CAPSA_TEST_GUEST names the bare guest");
    let builder = Builder::new()?;
    builder.linux(&guest, None)?.cmdline(Some(commands))?.memory_mib(32)?;
    Ok(builder)
}

/// A machine with that guest; None, said aloud, where there is no KVM and CAPSA_REQUIRE does not demand it.
pub fn start(commands: &str) -> Result<Option<Vm>> {
    if let Err(e) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        assert!(!std::env::var("CAPSA_REQUIRE").unwrap_or_default().contains("kvm"), "no KVM: {e}");
        eprintln!("skipped: no KVM: {e}");
        return Ok(None);
    }
    describe(commands)?.start().map(Some)
}

macro_rules! machine {
    ($commands:expr) => {
        match guests::start($commands)? {
            Some(vm) => vm,
            None => return Ok(()),
        }
    };
}
