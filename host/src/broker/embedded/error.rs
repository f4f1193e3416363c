//! What can go wrong with the file, in words that say what to do about it.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use crate::ports::{BrokerError, PublishError, SettleError};

/// Why the embedded broker could not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Another `run` has the file.
    #[error(
        "{path} is in use by process {pid}: one host owns an embedded file. Stop that host, or give this one a file of its own"
    )]
    Owned {
        /// The database.
        path: PathBuf,
        /// What the other one wrote into the lock file.
        pid: String,
    },
    /// The file is on a file system whose locks cannot be trusted.
    #[error(
        "{path} is on a network file system ({kind}), where file locks and memory maps cannot be relied on: put it on a local disk"
    )]
    Network {
        /// The database.
        path: PathBuf,
        /// The file system's type.
        kind: String,
    },
    /// The folder cannot be made, read or written.
    #[error("the folder of {path} cannot be used: {reason}")]
    Folder {
        /// The database.
        path: PathBuf,
        /// The operating system's words.
        reason: String,
    },
    /// The file exists and was not made by this broker.
    #[error(
        "{path} is not an embedded broker's file: {reason}. Nothing was changed; name another file"
    )]
    Foreign {
        /// The database.
        path: PathBuf,
        /// How that was seen.
        reason: String,
    },
    /// The file was made by a newer version.
    #[error(
        "{path} has schema version {found}, this program knows up to {known}: use the newer program"
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// No room. Nothing accepted is lost; work goes on by itself when there is room again.
    #[error("the disk is full under {path}: make room, the broker goes on by itself")]
    Full {
        /// The database.
        path: PathBuf,
    },
    /// Another process wrote for longer than we wait.
    #[error("{path} is being written by another process")]
    Busy {
        /// The database.
        path: PathBuf,
    },
    /// The broker was closed, or its writer ended.
    #[error("the embedded broker is closed")]
    Closed,
    /// Only the owner consumes.
    #[error(
        "{path} was opened for publishing and reading only: subscriptions belong to the process that runs the host"
    )]
    NotOwner {
        /// The database.
        path: PathBuf,
    },
    /// No such topic.
    #[error("there is no topic {0:?} in this file")]
    NoTopic(String),
    /// Anything else SQLite says.
    #[error("{path}: {reason}")]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// SQLite's words.
        reason: String,
    },
}

impl Error {
    /// Sorts what SQLite says into what a caller can act on.
    pub(super) fn from_sqlite(path: &Path, error: &rusqlite::Error) -> Self {
        let path = path.to_path_buf();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full { path },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { path },
            Some(ErrorCode::NotADatabase) => Self::Foreign {
                path,
                reason: "it is not a SQLite database".to_owned(),
            },
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                Self::Folder {
                    path,
                    reason: error.to_string(),
                }
            }
            _ => Self::Sqlite {
                path,
                reason: error.to_string(),
            },
        }
    }
}

impl From<Error> for BrokerError {
    fn from(error: Error) -> Self {
        match error {
            Error::NotOwner { .. } | Error::Foreign { .. } | Error::Newer { .. } => {
                Self::Refused(error.to_string())
            }
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<Error> for PublishError {
    fn from(error: Error) -> Self {
        Self::Destination(error.to_string())
    }
}

impl From<Error> for SettleError {
    fn from(error: Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}
