//! A payment provider that is slow at times.
//!
//! There is none here. The reference of a payment says how it would behave, so that every run of the example
//! shows the same: `…-t2` does not answer before the third attempt, `…-t9` never within reason.

use wharf_sdk::prelude::*;

/// Whether the payment is there. A timeout is worth a retry.
pub fn confirm(reference: &str, attempt: u32) -> Result {
    let timeouts = reference
        .rsplit_once("-t")
        .and_then(|(_, count)| count.parse().ok());
    if attempt <= timeouts.unwrap_or(0) {
        let reason = format!("the provider did not answer for payment {reference} in time");
        return retry(reason).code("payment-timeout");
    }
    Ok(())
}
