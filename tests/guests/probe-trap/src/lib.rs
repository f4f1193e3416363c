//! A handler whose instantiation traps, so that it must fail its probe: a constructor of the module runs
//! before anything can be called.

use wharf_sdk::prelude::*;

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = fail;

extern "C" fn fail() {
    panic!("this component cannot start");
}

#[wharf_sdk::handler]
fn handle(_: &Message) {}
