//! What the shipped components share: reading settings, and passing a message on.

mod pass_on;
mod settings;

pub use pass_on::pass_on;
pub use settings::{Once, Settings};
