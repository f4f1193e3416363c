//! `wharf dlq`: dead letters.
//!
//! A dead letter is the message as it was, byte for byte, with headers that say what became of it
//! (`dispatch::dead_letter` writes them). They lie in a place of their own, which these commands read as they
//! would any other, beside a running host. A broker takes part by [`Letters`], nothing else here knows which it is.

mod diagnosis;
mod embedded;
#[cfg(feature = "kafka")]
mod kafka;
mod letters;
mod list;
#[cfg(feature = "nats")]
mod nats;
mod purge;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
#[cfg(feature = "redis")]
mod redis;
mod redrive;
mod scan;
mod selection;
mod show;
mod target;

pub(super) use self::letters::Letters;
#[cfg(feature = "rabbitmq")]
pub(super) use self::rabbitmq::RabbitLetters;
#[cfg(feature = "redis")]
pub(super) use self::redis::RedisLetters;
use super::failure::Result;

/// The commands.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Count the dead letters of every subscription by their causes
    List(list::Args),
    /// Show dead letters with what is known about them
    Show(show::Args),
    /// Send dead letters back to be handled again
    Redrive(redrive::Args),
    /// Delete dead letters
    Purge(purge::Args),
}

pub(super) fn main(command: Command) -> Result<()> {
    match command {
        Command::List(args) => list::main(args),
        Command::Show(args) => show::main(args),
        Command::Redrive(args) => redrive::main(args),
        Command::Purge(args) => purge::main(args),
    }
}
