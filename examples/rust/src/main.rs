//! hello KERNEL INITRD COMMAND: boots Linux, runs a command in its shell and ends with the command's exit status.
use capsa::Builder;
use std::io::Write;
use std::time::Duration;

fn run(kernel: &str, initrd: &str, command: &str) -> capsa::Result<i32> {
    let vm = Builder::new()?.linux(kernel, Some(initrd))?.arg("quiet")?.start()?;
    let console = vm.console()?;
    console.expect(&["# ".into()], Duration::from_secs(300))?;
    let done = console.run(command, Duration::from_secs(60))?;
    std::io::stdout().write_all(&done.output)?;
    Ok(done.status) // dropping the machine ends it
}

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [kernel, initrd, command] = &arguments[..] else {
        eprintln!("usage: hello KERNEL INITRD COMMAND");
        std::process::exit(2)
    };
    std::process::exit(run(kernel, initrd, command).unwrap_or_else(|error| {
        eprintln!("{error}"); // what failed, why, and what to do about it
        125
    }));
}
