//! Walks over the dead letters that are there now.
//!
//! What arrives while it walks is not looked at: a message that is sent back and fails again would otherwise be met
//! again and again. So a walk ends after as many messages as there were when it began.

use super::letters::Letters;
use super::selection::Selection;
use super::target::Target;
use crate::cli::failure::Result;
use crate::cli::record::Record;

/// Messages read at once.
const BATCH: usize = 256;

/// One walk.
pub(super) struct Scan<'a> {
    letters: &'a dyn Letters,
    target: &'a Target,
    selection: &'a Selection,
    after: Option<String>,
    /// How many are still to be looked at.
    left: u64,
    /// How many may still be selected.
    room: u64,
}

impl<'a> Scan<'a> {
    /// `limit`: how many are selected at most.
    pub(super) async fn new(
        letters: &'a dyn Letters,
        target: &'a Target,
        selection: &'a Selection,
        limit: Option<u64>,
    ) -> Result<Self> {
        Ok(Self {
            letters,
            target,
            selection,
            after: None,
            left: letters.count(&target.at.name).await?,
            room: limit.unwrap_or(u64::MAX),
        })
    }

    /// How many there are to be looked at.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// The next of those selected, oldest first; `None` at the end. May be empty before that.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Record>>> {
        let limit = usize::try_from(self.left).unwrap_or(BATCH).min(BATCH);
        if limit == 0 || self.room == 0 {
            return Ok(None);
        }
        let after = self.after.as_deref();
        let mut found = self
            .letters
            .browse(&self.target.at.name, after, limit)
            .await?;
        let Some(last) = found.last() else {
            return Ok(None);
        };
        self.after = Some(last.position.clone());
        self.left = self.left.saturating_sub(found.len() as u64);
        found.retain(|record| self.target.owns(record) && self.selection.takes(record));
        found.truncate(usize::try_from(self.room).unwrap_or(usize::MAX));
        self.room -= found.len() as u64;
        Ok(Some(found))
    }
}
