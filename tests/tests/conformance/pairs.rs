//! Every broker as a source of every broker: nothing but configuration, and a count at the end.
//!
//! One host reads from all of them and publishes to all of them, a plugin for each pair. What is shown here is that a
//! message arrives once whatever lies between, and that its source has nothing left then; what happens when something
//! breaks on the way is what the scenarios are about.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use wharf::message::Outgoing;
use wharf_tests::count::{Item, message};
use wharf_tests::host::{PATIENCE, Place, eventually_or};

use crate::subject::{Left, Subject};

const MESSAGES: usize = 20;

/// A broker among others.
pub(crate) trait Party {
    fn column(&self) -> &'static str;
    fn broker(&self) -> String;
    fn source(&self, place: &str) -> String;
    fn destination(&self, place: &str) -> String;
    fn create<'a>(&'a self, place: &'a str) -> LocalBoxFuture<'a, ()>;
    fn publish<'a>(&'a self, to: &'a str, messages: &'a [Outgoing]) -> LocalBoxFuture<'a, ()>;
    fn items<'a>(&'a self, place: &'a str) -> LocalBoxFuture<'a, Vec<Item>>;
    fn left<'a>(&'a self, place: &'a str, group: &'a str) -> LocalBoxFuture<'a, Left>;
}

impl<B: Subject> Party for B {
    fn column(&self) -> &'static str {
        B::COLUMN
    }

    fn broker(&self) -> String {
        Subject::broker(self, None)
    }

    fn source(&self, place: &str) -> String {
        Subject::source(self, place)
    }

    fn destination(&self, place: &str) -> String {
        Subject::destination(self, place)
    }

    fn create<'a>(&'a self, place: &'a str) -> LocalBoxFuture<'a, ()> {
        Subject::create(self, place).boxed_local()
    }

    fn publish<'a>(&'a self, to: &'a str, messages: &'a [Outgoing]) -> LocalBoxFuture<'a, ()> {
        Subject::publish(self, to, messages).boxed_local()
    }

    fn items<'a>(&'a self, place: &'a str) -> LocalBoxFuture<'a, Vec<Item>> {
        Subject::items(self, place).boxed_local()
    }

    fn left<'a>(&'a self, place: &'a str, group: &'a str) -> LocalBoxFuture<'a, Left> {
        Subject::left(self, place, group).boxed_local()
    }
}

/// Adds a broker to the table. It runs when this is done.
pub(crate) async fn join<B: Subject + 'static>(parties: &mut Vec<Box<dyn Party>>, place: &Place) {
    let subject = match B::shared().await {
        Some(shared) => shared,
        None => {
            let folder = place.path(&format!("broker-{}", parties.len()));
            std::fs::create_dir(&folder).expect("a folder");
            let mut own = B::place(&folder);
            own.up().await;
            own
        }
    };
    parties.push(Box::new(subject));
}

/// From the first broker to the second, by their places in the table.
#[derive(Clone, Copy)]
struct Pair(usize, usize);

impl Pair {
    fn of(parties: usize) -> impl Iterator<Item = Self> {
        (0..parties).flat_map(move |from| (0..parties).map(move |to| Self(from, to)))
    }

    fn plugin(self) -> String {
        format!("pair-{}-{}", self.0, self.1)
    }

    fn input(self) -> String {
        format!("in.{}", self.plugin())
    }

    fn output(self) -> String {
        format!("out.{}", self.plugin())
    }

    fn payload(self, number: usize) -> Bytes {
        format!("from {} to {}, number {number}", self.0, self.1).into()
    }
}

fn configuration(parties: &[Box<dyn Party>]) -> String {
    let mut text = "brokers:\n".to_owned();
    for (number, party) in parties.iter().enumerate() {
        text += &format!("  b{number}: {}\n", party.broker());
    }
    text += "plugins:\n";
    for pair in Pair::of(parties.len()) {
        let source = parties[pair.0].source(&pair.input());
        let destination = parties[pair.1].destination(&pair.output());
        text += &format!(
            "  {}:\n    component: puppet.wasm\n    instances: 1\n    \
             subscribe: {{ in: {{ broker: b{}, {source} }} }}\n    \
             publish: {{ out: {{ broker: b{}, {destination} }} }}\n",
            pair.plugin(),
            pair.0,
            pair.1
        );
    }
    text
}

/// What has to have come, and what came, where that is not the same.
async fn missing(party: &dyn Party, pair: Pair) -> Result<(), String> {
    let items = party.items(&pair.output()).await;
    let found: BTreeSet<Bytes> = items.iter().map(|item| item.payload.clone()).collect();
    let wanted: BTreeSet<Bytes> = (0..MESSAGES).map(|number| pair.payload(number)).collect();
    match found == wanted && items.len() == MESSAGES {
        true => Ok(()),
        false => Err(format!("{} came, {found:?}", items.len())),
    }
}

pub(crate) async fn play(table: impl AsyncFnOnce(&mut Vec<Box<dyn Party>>, &Place)) {
    let place = Place::new();
    place.put("puppet", "puppet.wasm");
    let mut parties = Vec::new();
    table(&mut parties, &place).await;
    for pair in Pair::of(parties.len()) {
        parties[pair.0].create(&pair.input()).await;
        parties[pair.1].create(&pair.output()).await;
    }
    place.configure_drain("10s", &configuration(&parties));
    let host = place.run().await;
    host.ready(true).await;
    for pair in Pair::of(parties.len()) {
        let messages: Vec<Outgoing> = (0..MESSAGES)
            .map(|number| message(format!("m-{number}"), pair.payload(number)))
            .collect();
        parties[pair.0].publish(&pair.input(), &messages).await;
    }
    for pair in Pair::of(parties.len()) {
        let (from, to) = (&parties[pair.0], &parties[pair.1]);
        let what = format!("all messages from {} at {}", from.column(), to.column());
        eventually_or(&what, PATIENCE, async || missing(&**to, pair).await).await;
        let what = format!("nothing left on {} for {}", from.column(), to.column());
        eventually_or(&what, PATIENCE, async || {
            match from.left(&pair.input(), &pair.plugin()).await {
                Left::NOTHING => Ok(()),
                left => Err(left),
            }
        })
        .await;
    }
    host.ready(true).await;
}
