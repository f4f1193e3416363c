//! `wharf schema`: the JSON Schema of the configuration, for editors.

use super::failure::{Failure, Result};
use super::output::Out;

pub(super) fn main() -> Result<()> {
    let text = serde_json::to_string_pretty(&crate::config::json_schema())
        .map_err(|error| Failure::new(format!("cannot write JSON: {error}")))?;
    Out::new().line(text)
}
