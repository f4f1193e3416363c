//! Texts kept in files and compared to the letter.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Whether the files are written instead of compared.
pub(crate) fn updating() -> bool {
    std::env::var_os("UPDATE_SNAPSHOTS").is_some_and(|value| value == "1")
}

/// Compares one text with one file, and says how they differ.
pub(crate) fn compare(file: &Path, got: &str) -> Result<(), String> {
    let want = std::fs::read_to_string(file).unwrap_or_default();
    if want == got {
        return Ok(());
    }
    if updating() {
        std::fs::write(file, got).map_err(|error| error.to_string())?;
        return Ok(());
    }
    let line = want
        .lines()
        .zip(got.lines())
        .take_while(|(want, got)| want == got)
        .count()
        + 1;
    Err(format!(
        "{} differs from line {line} on; UPDATE_SNAPSHOTS=1 accepts this:\n{got}\n",
        file.display()
    ))
}

/// The snapshots of one folder, one beside each case.
pub(crate) struct Snapshots {
    folder: PathBuf,
    extension: &'static str,
    used: BTreeSet<PathBuf>,
    differences: Vec<String>,
}

impl Snapshots {
    pub(crate) fn new(folder: &str, extension: &'static str) -> Self {
        Self {
            folder: folder.into(),
            extension,
            used: BTreeSet::new(),
            differences: Vec::new(),
        }
    }

    pub(crate) fn compare(&mut self, case: &Path, got: &str) {
        let here = std::env::current_dir().unwrap();
        let got = got.replace(here.to_str().unwrap(), "[here]");
        let file = case.with_extension(self.extension);
        self.differences.extend(compare(&file, &got).err());
        self.used.insert(file);
    }

    /// Fails if a text differed, or if a snapshot has lost its case.
    pub(crate) fn finish(self) {
        let all = std::fs::read_dir(&self.folder)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let extension = |path: &PathBuf| {
            path.extension()
                .is_some_and(|extension| extension == self.extension)
        };
        let lost: Vec<_> = all
            .filter(extension)
            .filter(|path| !self.used.contains(path))
            .collect();
        assert!(lost.is_empty(), "snapshots without a case: {lost:?}");
        assert!(
            self.differences.is_empty(),
            "{}",
            self.differences.join("\n")
        );
    }
}
