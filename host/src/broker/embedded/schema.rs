//! The tables, and opening a connection to them.
//!
//! | table | row |
//! |---|---|
//! | `topics` | a topic and the last sequence it gave out |
//! | `groups` | a consumer group of a topic: where it `start`ed, and the `cursor` up to which it has taken messages |
//! | `messages` | one published message, id `topic << 40 \| seq` |
//! | `pending` | one message a group has to remember by itself: in hand, delayed, or ready again |
//!
//! A plain message costs a group nothing until it is fetched: the cursor says it is still to come. A message that is
//! delayed or has a priority stands `apart`: it gets a `pending` row per group when it is published, and cursors pass
//! over it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::error::Error;
use super::filesystem;

/// "WHRF": says in the file's header whose it is.
const APPLICATION_ID: i64 = 0x5748_5246;
/// Raised with every change of the tables.
const VERSION: i64 = 2;
/// Between two tries while another process's transaction is under way. SQLite's own waits grow to a tenth of a second, in
/// which a busy owner begins dozens of transactions; who publishes from another process waited for a second.
const BUSY: Duration = Duration::from_millis(1);
/// How often it is tried: for five seconds and a little.
const TRIES: i32 = 5000;

/// In hand: delivered and not settled. `due_ms` is NULL.
pub(super) const IN_HAND: i64 = 0;
/// Not before `due_ms`.
pub(super) const DELAYED: i64 = 1;
/// To be delivered next.
pub(super) const READY: i64 = 2;

/// From each version to the next. A step that was released is never changed.
const STEPS: [&str; VERSION as usize] = [TABLES, FIRST_FAILED];

/// When the first attempt failed, milliseconds since 1970-01-01 UTC.
const FIRST_FAILED: &str = "ALTER TABLE pending ADD COLUMN first_failed_ms INTEGER";

const TABLES: &str = "
CREATE TABLE topics (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    last_seq INTEGER NOT NULL
);
CREATE TABLE groups (
    id INTEGER PRIMARY KEY,
    topic INTEGER NOT NULL,
    name TEXT NOT NULL,
    start INTEGER NOT NULL,
    cursor INTEGER NOT NULL,
    UNIQUE (topic, name)
);
CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    published_ms INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    payload BLOB NOT NULL,
    tombstone INTEGER NOT NULL,
    apart INTEGER NOT NULL,
    key BLOB,
    headers BLOB,
    raw_headers BLOB,
    content_type TEXT,
    correlation_id TEXT,
    reply_to TEXT,
    priority INTEGER,
    due_ms INTEGER,
    expires_ms INTEGER
);
CREATE TABLE pending (
    grp INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    state INTEGER NOT NULL,
    due_ms INTEGER,
    deliveries INTEGER NOT NULL,
    -- How many of them ended in a release: those say nothing of a message that stops hosts.
    released INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    PRIMARY KEY (grp, seq)
) WITHOUT ROWID;
-- Only what waits is indexed: the common row is in hand from its insertion to its deletion and touches neither.
CREATE INDEX pending_delayed ON pending (grp, due_ms) WHERE state = 1;
CREATE INDEX pending_ready ON pending (grp, priority DESC, seq) WHERE state = 2;
";

/// Makes the folder and checks what it lies on.
pub(super) fn prepare_folder(path: &Path) -> Result<(), Error> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let folder = |e: std::io::Error| Error::Folder {
        path: path.to_path_buf(),
        reason: e.to_string(),
    };
    std::fs::create_dir_all(&parent).map_err(folder)?;
    match filesystem::remote(&parent).map_err(folder)? {
        Some(kind) => Err(Error::Network {
            path: path.to_path_buf(),
            kind,
        }),
        None => Ok(()),
    }
}

/// A connection that writes. Makes the tables where the file is new.
pub(super) fn open_writer(path: &Path) -> Result<Connection, Error> {
    let sqlite = |e: rusqlite::Error| Error::from_sqlite(path, &e);
    let mut conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(sqlite)?;
    conn.busy_handler(Some(wait)).map_err(sqlite)?;
    conn.set_prepared_statement_cache_capacity(64);
    // Whose file it is, before anything is written to it.
    check(path, &conn)?;
    conn.pragma_update(None, "journal_mode", "wal")
        .map_err(sqlite)?;
    conn.pragma_update(None, "synchronous", "full")
        .map_err(sqlite)?;
    conn.pragma_update(None, "wal_autocheckpoint", 4000)
        .map_err(sqlite)?;
    conn.pragma_update(None, "journal_size_limit", 64 << 20)
        .map_err(sqlite)?;
    conn.pragma_update(None, "cache_size", -16_384)
        .map_err(sqlite)?;
    conn.execute_batch("BEGIN IMMEDIATE").map_err(sqlite)?;
    // Another process may have made the tables while we waited for the lock.
    let found = check(path, &conn)?;
    if found < VERSION {
        for step in &STEPS[usize::try_from(found).unwrap_or(0)..] {
            conn.execute_batch(step).map_err(sqlite)?;
        }
        conn.pragma_update(None, "application_id", APPLICATION_ID)
            .map_err(sqlite)?;
        conn.pragma_update(None, "user_version", VERSION)
            .map_err(sqlite)?;
    }
    conn.execute_batch("COMMIT").map_err(sqlite)?;
    Ok(conn)
}

/// Whether to try again, after `tries` of them.
fn wait(tries: i32) -> bool {
    let again = tries < TRIES;
    if again {
        std::thread::sleep(BUSY);
    }
    again
}

/// A connection that only reads. The file exists: a writer made it.
pub(super) fn open_reader(path: &Path) -> Result<Connection, Error> {
    let sqlite = |e: rusqlite::Error| Error::from_sqlite(path, &e);
    let mut conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(sqlite)?;
    conn.busy_handler(Some(wait)).map_err(sqlite)?;
    conn.pragma_update(None, "query_only", true)
        .map_err(sqlite)?;
    Ok(conn)
}

/// The version of the file's tables, 0 where it is new and has none; an error when it is not ours.
fn check(path: &Path, conn: &Connection) -> Result<i64, Error> {
    let sqlite = |e: rusqlite::Error| Error::from_sqlite(path, &e);
    let number = |name: &str| {
        conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0))
            .map_err(sqlite)
    };
    let (application, version) = (number("application_id")?, number("user_version")?);
    if application == APPLICATION_ID {
        return if version > VERSION {
            Err(Error::Newer {
                path: path.to_path_buf(),
                found: version,
                known: VERSION,
            })
        } else {
            Ok(version)
        };
    }
    let objects: i64 = conn
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(sqlite)?;
    if application == 0 && version == 0 && objects == 0 {
        Ok(0)
    } else {
        Err(Error::Foreign {
            path: path.to_path_buf(),
            reason: "it is another program's SQLite database".to_owned(),
        })
    }
}

/// What the former owner had in hand is due at once. Its delivery was counted when it was fetched.
pub(super) fn reclaim(path: &Path, conn: &Connection) -> Result<(), Error> {
    conn.execute(
        "UPDATE pending SET state = ?1, due_ms = NULL WHERE state = ?2",
        [READY, IN_HAND],
    )
    .map(drop)
    .map_err(|e| Error::from_sqlite(path, &e))
}
