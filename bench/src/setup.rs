//! What the programs run with: the host's binary, the guests, and how long a run is.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

/// Resolved once, before anything is measured.
pub(crate) struct Setup {
    /// Short runs.
    pub(crate) quick: bool,
    /// The `wharf` program.
    pub(crate) wharf: PathBuf,
    rounds: Option<usize>,
    guests: PathBuf,
}

impl Setup {
    pub(crate) fn new(
        quick: bool,
        rounds: Option<usize>,
        wharf: Option<PathBuf>,
        guests: Option<PathBuf>,
    ) -> anyhow::Result<Self> {
        let me = std::env::current_exe().context("this program's own path")?;
        let profile = me.parent().unwrap_or(Path::new("."));
        let wharf = wharf.unwrap_or_else(|| profile.join("wharf"));
        ensure!(
            wharf.exists(),
            "{} is missing: run `cargo build --release -p wharf`, or name it with --wharf",
            wharf.display()
        );
        let guests = guests.unwrap_or_else(|| profile.parent().unwrap_or(profile).join("guests"));
        Ok(Self {
            quick,
            wharf,
            rounds,
            guests,
        })
    }

    /// The component called `name`.
    pub(crate) fn guest(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.guests.join(format!("{name}.wasm"));
        ensure!(
            path.exists(),
            "{} is missing: run `make guests`, or name their folder with --guests",
            path.display()
        );
        Ok(path)
    }

    /// How many rounds, where nobody said, `full` or one.
    pub(crate) fn rounds(&self, full: usize) -> usize {
        self.rounds.unwrap_or(self.pick(full, 1)).max(1)
    }

    /// One of two sizes.
    pub(crate) fn pick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}
