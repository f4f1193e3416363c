//! `examples/orders`: the demo itself, in a hurry, with the program the tests are run with.

use std::process::Command;

use wharf_tests::guests::guest;

#[test]
fn the_demo_adds_up() {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("wharf");
    let components = guest("orders").parent().unwrap().to_owned();
    let data = tempfile::tempdir().unwrap();
    let done = Command::new("../examples/orders/demo.sh")
        .args([&program, &components])
        .env("DEMO_DATA", data.path())
        .env("DEMO_RATE", "2000")
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&done.stdout);
    let err = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{out}\n{err}");
    assert!(out.contains("Everything adds up"), "{out}\n{err}");
    assert!(!out.contains('\u{1b}'), "no colours away from a terminal");
    let left = std::fs::read_dir(data.path()).unwrap().count();
    assert_eq!(left, 0, "it leaves nothing behind");
}
