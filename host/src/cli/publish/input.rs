//! Where the messages come from. Files and standard input are read on a thread of their own, because reading them
//! cannot be interrupted, a little ahead of what is published.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::cli::failure::{Failure, Result};
use crate::cli::line::Line;
use crate::message::Outgoing;

/// Messages read ahead.
const AHEAD: usize = 2048;
/// The longest line, in bytes: a message of 64 MiB in base64.
const LINE: u64 = 96 << 20;

/// What there is to publish.
pub(super) enum Source {
    /// One payload, so many times.
    One(Bytes, u64),
    /// The lines of a file, so many times.
    Lines(PathBuf, u64),
    /// The lines of standard input.
    Stdin,
}

impl Source {
    /// The lines of `file`, which is standard input where it is `-`.
    pub(super) fn lines(file: &Path, repeat: u64) -> Result<Self> {
        if file == Path::new("-") {
            if repeat > 1 {
                return Err(Failure::usage(
                    "standard input can be read once: leave out `--repeat`",
                ));
            }
            return Ok(Self::Stdin);
        }
        // So that a missing file is reported before anything else happens.
        open(file)?;
        Ok(Self::Lines(file.to_owned(), repeat))
    }

    /// How many messages that is. Reads a file once to count its lines; `None` where that cannot be known.
    pub(super) fn total(&self) -> Option<u64> {
        match self {
            Self::One(_, repeat) => Some(*repeat),
            Self::Stdin => None,
            Self::Lines(path, repeat) => {
                let lines = count(path).ok()?;
                Some(lines.saturating_mul(*repeat))
            }
        }
    }
}

/// Lines that are not blank. A pipe cannot be read twice.
fn count(path: &Path) -> io::Result<u64> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let mut reader = BufReader::with_capacity(1 << 16, File::open(path)?);
    let (mut lines, mut blank) = (0, true);
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(lines + u64::from(!blank));
        }
        for byte in buffer {
            if *byte == b'\n' {
                lines += u64::from(!blank);
                blank = true;
            } else {
                blank &= byte.is_ascii_whitespace();
            }
        }
        let read = buffer.len();
        reader.consume(read);
    }
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot read {}: {error}", path.display()))
}

/// A payload's file, whole; `-` is standard input.
pub(super) fn whole(path: &Path) -> Result<Bytes> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().read_to_end(&mut bytes)
    } else {
        open(path)?.read_to_end(&mut bytes)
    };
    read.map_err(|error| unreadable(path, &error))?;
    Ok(Bytes::from(bytes))
}

/// One message that was read.
pub(super) struct Read {
    /// The line, from 1; `None` where there are no lines.
    pub(super) line: Option<u64>,
    /// What it says, or what is wrong with it.
    pub(super) message: std::result::Result<Outgoing, String>,
}

/// The messages, in order. Ends with the source; a failure to read is the last item.
pub(super) struct Input {
    read: mpsc::Receiver<Result<Read>>,
}

impl Input {
    /// Begins to read. `template` holds what lines need not say.
    pub(super) fn start(source: Source, template: Outgoing) -> Result<Self> {
        let (to, read) = mpsc::channel(AHEAD);
        std::thread::Builder::new()
            .name("wharf-input".to_owned())
            .spawn(move || {
                // Nobody takes them any more: publishing has ended.
                let _ended = feed(&source, &template, &to).is_err();
            })
            .map_err(|error| Failure::new(format!("no thread to read with: {error}")))?;
        Ok(Self { read })
    }

    /// Waits for at least one, takes at most `limit`. Empty at the end.
    pub(super) async fn next(&mut self, limit: usize) -> Vec<Result<Read>> {
        let mut batch = Vec::new();
        self.read.recv_many(&mut batch, limit).await;
        batch
    }
}

type To = mpsc::Sender<Result<Read>>;

/// The receiver is gone.
struct Ended;

fn give(to: &To, read: Result<Read>) -> std::result::Result<(), Ended> {
    to.blocking_send(read).map_err(|_| Ended)
}

fn feed(source: &Source, template: &Outgoing, to: &To) -> std::result::Result<(), Ended> {
    match source {
        Source::One(payload, repeat) => (0..*repeat).try_for_each(|_| {
            let message = Outgoing {
                payload: payload.clone(),
                ..template.clone()
            };
            give(
                to,
                Ok(Read {
                    line: None,
                    message: Ok(message),
                }),
            )
        }),
        Source::Stdin => lines(Path::new("-"), io::stdin().lock(), template, to),
        Source::Lines(path, repeat) => (0..*repeat).try_for_each(|_| match open(path) {
            Ok(file) => lines(path, BufReader::with_capacity(1 << 16, file), template, to),
            Err(failure) => give(to, Err(failure)).and(Err(Ended)),
        }),
    }
}

fn lines(
    path: &Path,
    mut from: impl BufRead,
    template: &Outgoing,
    to: &To,
) -> std::result::Result<(), Ended> {
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        match (&mut from).take(LINE).read_until(b'\n', &mut bytes) {
            Ok(0) => return Ok(()),
            Ok(_) if bytes.len() as u64 == LINE => {
                let failure = format!("line {number} is longer than {} MiB", LINE >> 20);
                return give(to, Err(Failure::new(failure))).and(Err(Ended));
            }
            Ok(_) => {}
            Err(error) => return give(to, Err(unreadable(path, &error))).and(Err(Ended)),
        }
        if bytes.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let message = message(&bytes, template);
        give(
            to,
            Ok(Read {
                line: Some(number),
                message,
            }),
        )?;
    }
    Ok(())
}

/// What a line says, and the template where it says nothing. Its headers follow the template's.
fn message(bytes: &[u8], template: &Outgoing) -> std::result::Result<Outgoing, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let line = Line::parse(text)?;
    let mut message = line.message().to_outgoing()?;
    // Where a message once came from is not where it goes.
    message.topic = None;
    message
        .headers
        .splice(0..0, template.headers.iter().cloned());
    let general = template.clone();
    message.key = message.key.or(general.key);
    message.content_type = message.content_type.or(general.content_type);
    message.correlation_id = message.correlation_id.or(general.correlation_id);
    message.reply_to = message.reply_to.or(general.reply_to);
    message.delay_ms = message.delay_ms.or(general.delay_ms);
    message.ttl_ms = message.ttl_ms.or(general.ttl_ms);
    message.priority = message.priority.or(general.priority);
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Header;

    #[test]
    fn a_line_wins_over_the_options() {
        let template = Outgoing {
            key: Some("all".into()),
            headers: vec![Header::text("h", "1".to_owned())],
            priority: Some(3),
            ..Outgoing::default()
        };
        let line = br#"{"key":"own","headers":{"h":"2"},"topic":"elsewhere","payload":1}"#;
        let message = message(line, &template).unwrap();
        assert_eq!(message.key.as_deref(), Some(&b"own"[..]));
        assert_eq!(message.priority, Some(3));
        assert_eq!(message.topic, None);
        let values: Vec<_> = message.headers.iter().map(|h| &h.value[..]).collect();
        assert_eq!(values, [b"1", b"2"]);
    }

    #[test]
    fn blank_lines_are_no_messages() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "{}\n\n  \n{}\n{}").unwrap();
        assert_eq!(count(file.path()).unwrap(), 3);
        let source = Source::lines(file.path(), 2).unwrap();
        assert_eq!(source.total(), Some(6));
        let (to, mut read) = mpsc::channel(16);
        assert!(feed(&source, &Outgoing::default(), &to).is_ok());
        drop(to);
        let lines: Vec<_> = std::iter::from_fn(|| read.blocking_recv())
            .map(|read| read.unwrap().line.unwrap())
            .collect();
        assert_eq!(lines, [1, 4, 5, 1, 4, 5]);
    }
}
