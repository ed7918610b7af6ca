//! What is dropped is gone. A process of its own: it counts descriptors.
use capsa::*;
use std::io::Read;

#[macro_use]
mod guests;
use guests::PATIENCE;

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("/proc").count()
}

#[test]
fn dropping_ends_and_frees() -> Result<()> {
    drop(machine!("spin"));
    let before = descriptors();
    let vm = machine!("print:last spin");
    let console = vm.console()?;
    console.expect(&["last\n".into()], PATIENCE)?;
    let mut other = vm.console()?;
    drop(vm);
    let mut rest = String::new();
    other.read_to_string(&mut rest)?;
    assert_eq!(rest, "last\n");
    assert_eq!(console.expect(&["more".into()], PATIENCE).unwrap_err().kind(), ErrorKind::Closed);
    drop((console, other));
    assert_eq!(descriptors(), before);
    Ok(())
}
