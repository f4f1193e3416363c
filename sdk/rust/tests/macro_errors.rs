//! What the attribute says about functions that cannot be handlers, and that those which can, compile.
//!
//! After a deliberate change of a message: `TRYBUILD=overwrite cargo test -p wharf-sdk --test macro_errors`.

#[test]
fn what_cannot_be_a_handler_says_why() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
    cases.pass("tests/ui/pass/*.rs");
}
