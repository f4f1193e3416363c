//! Which dead letters.

use super::diagnosis::cause;
use crate::cli::failure::{Failure, Result};
use crate::cli::record::Record;
use crate::commit::Cause;

/// Picks among the dead letters of a subscription.
#[derive(Debug, Default, Clone, clap::Args)]
pub(super) struct Selection {
    /// Only those of this cause (may be repeated)
    #[arg(long = "cause", value_name = "CAUSE")]
    pub(super) causes: Vec<String>,
    /// Only messages with this id (may be repeated)
    #[arg(long = "id", value_name = "ID")]
    pub(super) ids: Vec<String>,
}

impl Selection {
    /// A cause that does not exist selects nothing, which nobody means.
    pub(super) fn check(&self) -> Result<()> {
        let known =
            |cause: &str| cause == "unknown" || Cause::ALL.iter().any(|c| c.as_str() == cause);
        match self.causes.iter().find(|cause| !known(cause)) {
            None => Ok(()),
            Some(wrong) => Err(Failure::usage(format!(
                "`{wrong}` is no cause; there are {}, unknown",
                Cause::ALL.map(Cause::as_str).join(", ")
            ))),
        }
    }

    /// Whether it picks at all.
    pub(super) fn is_empty(&self) -> bool {
        self.causes.is_empty() && self.ids.is_empty()
    }

    pub(super) fn takes(&self, record: &Record) -> bool {
        let cause = || cause(record);
        (self.causes.is_empty() || self.causes.contains(&cause()))
            && (self.ids.is_empty() || self.ids.iter().any(|id| id == record.id()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_cause_is_refused() {
        let of = |cause: &str| Selection {
            causes: vec![cause.to_owned()],
            ids: vec![],
        };
        assert!(of("trap").check().is_ok());
        assert!(of("unknown").check().is_ok());
        let failure = of("traps").check().unwrap_err();
        assert!(
            failure
                .message()
                .starts_with("`traps` is no cause; there are trap, ")
        );
    }
}
