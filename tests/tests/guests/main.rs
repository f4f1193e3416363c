//! Every guest, the hostile ones above all, and what becomes of it.

mod contract;
mod every;
mod faults;
mod isolation;
mod limits;
mod neighbours;
mod refused;

use serde_json::Value;
use wharf::handler::Outcome;
use wharf::message::{Message, Outgoing};
use wharf_tests::plugins::{Host, message};

/// A host of this suite.
fn host() -> Host {
    Host::start(COMPILER)
}

const COMPILER: &str = env!("CARGO_BIN_EXE_compile-component");

/// An order for the puppet.
fn order(order: Value) -> Message {
    message(order.to_string())
}

/// The outputs of a call that must have gone well.
fn outputs(handled: wharf::handler::Handled) -> Vec<Outgoing> {
    match handled.result {
        Ok(Outcome::Done(outputs)) => outputs,
        other => panic!("expected outputs, got {other:?}"),
    }
}

/// The payload of the only output, as JSON.
fn answer(handled: wharf::handler::Handled) -> Value {
    let outputs = outputs(handled);
    assert_eq!(outputs.len(), 1);
    serde_json::from_slice(&outputs[0].payload).expect("JSON")
}
