//! The twin on the embedded broker: the adapter itself, without dispatch and without Wasm.

use std::sync::Arc;

use anyhow::{Context, bail};
use futures_util::future::join;
use wharf::broker::embedded::Embedded;
use wharf::commit::{Commit, Destination, Publication, Settlement};
use wharf::config;
use wharf::delivery::{Delivery, Entry, Inbox};
use wharf::message::{Message, Outgoing};
use wharf::place::PlaceKind;
use wharf::ports::{Broker, Committed, PayloadFrom, Room, Subscribed, SubscriptionSpec};

use super::{BATCH, Work};

pub(super) async fn run(file: &str, work: Work) -> anyhow::Result<()> {
    let broker = Embedded::open_owner("b", &config::Embedded::new(file))?;
    pump(&broker, work).await
}

/// What every benchmark reads.
pub(crate) fn spec(address: &str) -> SubscriptionSpec {
    SubscriptionSpec {
        name: address.into(),
        plugin: "bench".into(),
        kind: PlaceKind::Topic,
        address: address.into(),
        group: "bench".into(),
        from_start: true,
        payload: PayloadFrom::Field("payload".into()),
        ordered: false,
        filters: Vec::new(),
        prefetch: BATCH,
    }
}

/// Where every benchmark publishes.
pub(crate) fn destination(address: &str) -> Arc<Destination> {
    Arc::new(Destination::new(address, "b", PlaceKind::Topic, address))
}

/// Reads `in`, handles, and commits output and settlement in one transaction, until dropped. A batch is handled while
/// the one before it is committed.
pub(crate) async fn pump(broker: &dyn Broker, work: Work) -> anyhow::Result<()> {
    const ROOM: Room = Room {
        messages: BATCH,
        bytes: 16 << 20,
    };
    let inbox = Inbox::new();
    let opened = broker.subscribe(spec("in"), Arc::clone(&inbox)).await?;
    let Subscribed {
        mut source,
        mut settler,
    } = opened;
    let out = destination("out");
    let mut batch: Vec<Box<Commit>> = Vec::new();
    loop {
        let commits: Vec<&Commit> = batch.iter().map(|commit| &**commit).collect();
        let committing = async {
            match commits.is_empty() {
                true => Vec::new(),
                false => settler.commit(&commits).await,
            }
        };
        let handling = async { handle(source.fetch(ROOM).await?, &inbox, &out, work) };
        let (committed, handled) = join(committing, handling).await;
        if let Some(not) = committed.iter().find(|done| **done != Committed::Done) {
            bail!("the twin could not commit: {not:?}");
        }
        batch = handled?;
    }
}

// The inbox hands commits over boxed; unpacking them would be a copy the host does not make either.
#[allow(clippy::vec_box)]
fn handle(
    deliveries: Vec<Delivery>,
    inbox: &Inbox,
    out: &Arc<Destination>,
    work: Work,
) -> anyhow::Result<Vec<Box<Commit>>> {
    for delivery in deliveries {
        let message = output(delivery.message(), work)?;
        let publication = Publication {
            destination: Arc::clone(out),
            message,
        };
        delivery.commit(|parcel| Commit {
            parcel,
            publications: vec![publication],
            settlement: Settlement::Accept,
            cause: None,
            version: "".into(),
            lane: None,
        });
    }
    let mut ended = Vec::new();
    inbox.try_take(&mut ended);
    let commits = ended.into_iter().map(|entry| match entry {
        Entry::Commit(commit) => Some(commit),
        Entry::Dropped(_) => None,
    });
    commits
        .collect::<Option<_>>()
        .context("a delivery was dropped")
}

fn output(message: &Message, work: Work) -> anyhow::Result<Outgoing> {
    let id = Some(format!("{}/bench/0", message.id).into());
    Ok(match work.payload(&message.payload)? {
        Some(payload) => Outgoing {
            id,
            key: message.key.clone(),
            payload: payload.into(),
            content_type: Some("application/json".into()),
            ..Outgoing::default()
        },
        None => Outgoing {
            id,
            key: message.key.clone(),
            headers: message.headers.clone(),
            payload: message.payload.clone(),
            content_type: message.content_type.clone(),
            ..Outgoing::default()
        },
    })
}
