//! One host owns a file: an advisory lock on `<file>.lock`, held while the owner lives.
//!
//! The operating system gives the lock back when the process ends, however it ends, so there is nothing to clean up
//! after a kill. The process id inside is only for the message a second owner prints.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use super::error::Error;

/// Held by the owner's writer thread until it ends.
#[derive(Debug)]
pub(super) struct OwnerLock {
    file: File,
}

impl Drop for OwnerLock {
    fn drop(&mut self) {
        // Not left to closing alone: a process that is being started at this moment has a copy of the descriptor, and
        // the lock would be held until that process runs its own program.
        if let Err(error) = self.file.unlock() {
            tracing::debug!(%error, "the lock goes with the descriptor");
        }
    }
}

/// Where the lock of a database lies.
pub(super) fn lock_path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// Takes the lock, or says who has it.
pub(super) fn acquire(database: &Path) -> Result<OwnerLock, Error> {
    let folder = |e: std::io::Error| Error::Folder {
        path: database.to_path_buf(),
        reason: e.to_string(),
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(lock_path(database))
        .map_err(folder)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(owned(database, &mut file)),
        Err(TryLockError::Error(e)) => return Err(folder(e)),
    }
    file.set_len(0).map_err(folder)?;
    file.rewind().map_err(folder)?;
    writeln!(file, "{}", std::process::id()).map_err(folder)?;
    Ok(OwnerLock { file })
}

fn owned(database: &Path, file: &mut File) -> Error {
    let mut pid = String::new();
    // Unreadable or not yet written: the message says so instead of a number.
    let read = file.read_to_string(&mut pid);
    let pid = pid.trim();
    Error::Owned {
        path: database.to_path_buf(),
        pid: if read.is_ok() && !pid.is_empty() {
            pid.to_owned()
        } else {
            "(unknown)".to_owned()
        },
    }
}
