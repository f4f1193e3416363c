//! A handler whose instantiation traps, so that it must fail its probe: `_initialize` runs before
//! anything can be called.

use wharf_sdk::prelude::*;

/// The name by which a module is started. Constructors would be too late: they run with the first call.
#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    panic!("this component cannot start");
}

#[wharf_sdk::handler]
fn handle(_: &Message) {}
