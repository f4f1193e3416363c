//! Looking into lists and sorted sets and moving what is there, for commands, as [`browse`](super::browse) does for streams.
//!
//! Items have no ids at rest. One is named by how many were to be read before it and by a digest of its bytes, and found
//! by the digest: others may take and add items meanwhile.

use std::sync::Arc;

use redis::Value;

use super::RedisBroker;
use super::entry;
use super::envelope::{self, Known, Reading};
use super::output::Output;
use super::wire::Kept;
use crate::commit::Publication;
use crate::message::Message;
use crate::place::PlaceKind;
use crate::ports::{Broker as _, BrokerError};

/// What the scripts call a place.
fn word(kind: PlaceKind) -> &'static str {
    match kind {
        PlaceKind::SortedSet => "zset",
        _ => "list",
    }
}

/// An item that is to be moved.
struct Item<'a> {
    kind: PlaceKind,
    place: &'a str,
    at: u64,
    digest: &'a str,
}

/// Writes the command that puts an output where it goes.
fn put(cmd: &mut redis::Cmd, output: &Output<'_>) {
    cmd.arg(output.verb());
    output.write(cmd);
}

impl RedisBroker {
    /// What lies under a name; `None` where nothing does, or something that holds no messages.
    pub async fn kind_of(&self, place: &str) -> Result<Option<PlaceKind>, BrokerError> {
        let answer = self.ask(redis::cmd("TYPE").arg(place)).await?;
        Ok(match entry::text(answer).as_deref() {
            Some("stream") => Some(PlaceKind::Stream),
            Some("list") => Some(PlaceKind::List),
            Some("zset") => Some(PlaceKind::SortedSet),
            _ => None,
        })
    }

    /// How many items a list or a sorted set has; 0 where there is none.
    pub async fn items(&self, kind: PlaceKind, place: &str) -> Result<u64, BrokerError> {
        let verb = match kind {
            PlaceKind::SortedSet => "ZCARD",
            _ => "LLEN",
        };
        let answer = self.ask(redis::cmd(verb).arg(place)).await?;
        let count = entry::int(&answer).and_then(|n| n.try_into().ok());
        Ok(count.unwrap_or(0))
    }

    /// Up to `limit` items behind the first `skip`, in the order in which they would be read. Nothing is taken. A message's
    /// `origin.position` is `<how many before it + gone>:<digest>`; `gone` is how many were removed since the walk began, so
    /// that positions of one walk fit each other.
    pub async fn look(
        &self,
        kind: PlaceKind,
        place: &str,
        skip: u64,
        gone: u64,
        limit: usize,
    ) -> Result<Vec<Message>, BrokerError> {
        let script = &self.scripts.look;
        let mut cmd = script.call(&[place]);
        cmd.arg(word(kind)).arg(skip).arg(limit);
        let answer = script.run(&self.data, &cmd).await;
        let answer = answer.map_err(|e| self.data.error(&e))?;
        let reading = Reading {
            broker: Arc::clone(&self.options.name),
            subscription: "".into(),
            place: place.into(),
            group: "".into(),
        };
        let mut rows = entry::items(answer).unwrap_or_default().into_iter();
        let mut messages = Vec::with_capacity(rows.len() / 2);
        let mut at = skip + gone;
        while let (Some(value), Some(digest)) = (rows.next(), rows.next()) {
            let (Some(value), Some(digest)) = (entry::bytes(value), entry::text(digest)) else {
                continue;
            };
            let known = Known {
                position: format!("{at}:{digest}").into(),
                stable: false,
                at_ms: 0,
                kept: Kept::default(),
            };
            messages.push(envelope::read(value, &reading, known));
            at += 1;
        }
        Ok(messages)
    }

    /// Removes the item at `position`, and publishes `to` in the same step where there is one. False, and nothing published,
    /// where it is not there (any more). Between two slots of a cluster it is published first, so that a failure between the
    /// two leaves it in both, with one id.
    pub async fn take_out(
        &self,
        kind: PlaceKind,
        place: &str,
        position: &str,
        gone: u64,
        to: Option<&Publication>,
    ) -> Result<bool, BrokerError> {
        let Some((at, digest)) = position.split_once(':') else {
            return Ok(false);
        };
        let at = at.parse::<u64>().unwrap_or(0).saturating_sub(gone);
        let output = to.map(Output::new).transpose();
        let output = output.map_err(|e| BrokerError::Refused(e.to_string()))?;
        let item = Item {
            kind,
            place,
            at,
            digest,
        };
        let Some(output) = &output else {
            return self.moved(&item, None, |_| {}).await;
        };
        if self.endpoint.together(place, output.place()) {
            let to = Some(output.place());
            return self.moved(&item, to, |cmd| put(cmd, output)).await;
        }
        let look = |cmd: &mut redis::Cmd| {
            cmd.arg("look");
        };
        if !self.moved(&item, None, look).await? {
            return Ok(false);
        }
        for result in self.publisher().publish(to.as_slice()).await {
            result.map_err(|e| BrokerError::Unavailable(e.to_string()))?;
        }
        let _removed = self.moved(&item, None, |_| {}).await?;
        Ok(true)
    }

    /// Calls the script that moves an item; `what` adds what is to be done with it. Whether it was there.
    async fn moved(
        &self,
        item: &Item<'_>,
        to: Option<&str>,
        what: impl FnOnce(&mut redis::Cmd),
    ) -> Result<bool, BrokerError> {
        let keys: Vec<&str> = std::iter::once(item.place).chain(to).collect();
        let script = &self.scripts.moves;
        let mut cmd = script.call(&keys);
        cmd.arg(word(item.kind)).arg(item.at).arg(item.digest);
        what(&mut cmd);
        let answer = script.run(&self.data, &cmd).await;
        let answer = answer.map_err(|e| self.data.error(&e))?;
        Ok(answer == Value::Int(1))
    }
}
