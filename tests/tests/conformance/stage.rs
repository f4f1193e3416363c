//! A broker with the hosts that work on it, and what every scenario does the same way.

use std::cell::Cell;
use std::time::Duration;

use futures_util::future::join;
use tokio::time::Instant;
use wharf::message::Outgoing;
use wharf_tests::count::{Fate, Item, Work};
use wharf_tests::host::{Host, PATIENCE, Place, eventually, eventually_or};

use crate::subject::{Left, Subject};
use crate::table::{Need, Row};

/// What is a scenario's own at a broker that others may be played on at the same time: all of it bears its name. To
/// the plugin they are still `in` and `out`.
pub(crate) struct Names {
    /// Where the messages are published.
    pub(crate) input: String,
    /// Where outputs go.
    pub(crate) output: String,
    /// Where dead letters go.
    pub(crate) letters: String,
    /// The plugin, and its group.
    pub(crate) plugin: String,
}

impl Names {
    fn of(scenario: &str) -> Self {
        Self {
            input: format!("in.{scenario}"),
            output: format!("out.{scenario}"),
            letters: format!("dlq.in.{scenario}"),
            plugin: scenario.to_owned(),
        }
    }

    /// What the host puts behind the id of a message for that of its first output.
    pub(crate) fn first(&self) -> String {
        format!("/{}/0", self.plugin)
    }
}

/// Fails twice at most, and soon.
pub(crate) const RETRY: &str =
    "    retry: { max_retries: 2, initial_interval: 20ms, max_interval: 50ms }\n";

/// How much of something: so much, or what this variable says. `make chaos` sets it.
pub(crate) fn times(variable: &str, usually: usize) -> usize {
    match std::env::var(variable) {
        Ok(text) => text.parse().expect(variable),
        Err(_) => usually,
    }
}

/// Plays one scenario on one broker, unless the table says that it cannot be.
pub(crate) async fn play<B: Subject>(
    name: &str,
    needs: &[Need],
    scenario: impl AsyncFnOnce(&mut Stage<B>),
) {
    let row = Row::of::<B>();
    let lacks = row.lacks(needs);
    if !lacks.is_empty() {
        println!("{name} is left out on {}: it lacks {lacks:?}", B::COLUMN);
        return;
    }
    let shared = !needs.contains(&Need::Server);
    let mut stage = Stage::<B>::new(row, name, shared).await;
    scenario(&mut stage).await;
    assert_eq!(
        stage.left().await,
        Left::NOTHING,
        "what is left on {} at the end",
        B::COLUMN
    );
}

/// One broker, and a folder for the hosts on it.
pub(crate) struct Stage<B: Subject> {
    pub(crate) subject: B,
    pub(crate) place: Place,
    pub(crate) row: Row,
    pub(crate) names: Names,
}

/// What a host is told. The plugin is the puppet; it reads `in` and publishes to `out` unless something else is said.
pub(crate) struct Setup<'a, B: Subject> {
    stage: &'a Stage<B>,
    port: Option<u16>,
    drain: &'static str,
    elsewhere: Option<String>,
    publish: Option<String>,
    more: String,
}

impl<B: Subject> Setup<'_, B> {
    /// The broker is reached at this port.
    pub(crate) fn through(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Outputs go to another broker.
    pub(crate) fn to<E: Subject>(mut self, elsewhere: &E) -> Self {
        self.elsewhere = Some(elsewhere.broker(None));
        let destination = elsewhere.destination(&self.stage.names.output);
        self.publish = Some(format!("out: {{ broker: elsewhere, {destination} }}"));
        self
    }

    /// Outputs go to another place of the same broker.
    pub(crate) fn out(mut self, place: &str) -> Self {
        let destination = self.stage.subject.destination(place);
        self.publish = Some(format!("out: {{ broker: b, {destination} }}"));
        self
    }

    /// It may publish nothing.
    pub(crate) fn mute(mut self) -> Self {
        self.publish = None;
        self
    }

    /// How long stopping may take.
    pub(crate) fn drain(mut self, drain: &'static str) -> Self {
        self.drain = drain;
        self
    }

    /// Further keys of the plugin, a line each, indented by four.
    pub(crate) fn with(mut self, more: &str) -> Self {
        self.more += more;
        self
    }

    /// Puts it where hosts find it.
    pub(crate) fn write(self) {
        let (subject, names) = (&self.stage.subject, &self.stage.names);
        let mut text = format!("brokers:\n  b: {}\n", subject.broker(self.port));
        if let Some(elsewhere) = self.elsewhere {
            text += &format!("  elsewhere: {elsewhere}\n");
        }
        let source = subject.source(&names.input);
        text += &format!(
            "plugins:\n  {}:\n    component: puppet.wasm\n    subscribe: {{ in: {{ broker: b, {source} }} }}\n",
            names.plugin
        );
        if let Some(publish) = self.publish {
            text += &format!("    publish: {{ {publish} }}\n");
        }
        text += &self.more;
        self.stage.place.configure_drain(self.drain, &text);
    }
}

impl<B: Subject> Stage<B> {
    /// `shared`: where a broker of its own is dear, one that other scenarios are played on will do.
    async fn new(row: Row, scenario: &str, shared: bool) -> Self {
        let (place, names) = (Place::new(), Names::of(scenario));
        place.put("puppet", "puppet.wasm");
        let folder = place.path("broker");
        std::fs::create_dir(&folder).expect("a folder");
        let shared = if shared { B::shared().await } else { None };
        let subject = match shared {
            Some(subject) => subject,
            None => {
                let mut subject = B::place(&folder);
                subject.up().await;
                subject
            }
        };
        for place in [&names.input, &names.output, &names.letters] {
            subject.create(place).await;
        }
        Self {
            subject,
            place,
            row,
            names,
        }
    }

    /// What a host is to be told.
    pub(crate) fn setup(&self) -> Setup<'_, B> {
        let setup = Setup {
            stage: self,
            port: None,
            drain: "10s",
            elsewhere: None,
            publish: None,
            more: String::new(),
        };
        setup.out(&self.names.output)
    }

    /// Another broker, not running, that can be started and killed.
    pub(crate) fn elsewhere(&self) -> B::Elsewhere {
        let folder = self.place.path("elsewhere");
        std::fs::create_dir(&folder).expect("a folder");
        B::Elsewhere::place(&folder)
    }

    /// Starts a host and waits until it is connected, so that it misses nothing that is published from now on.
    pub(crate) async fn host(&self) -> Host {
        let host = self.place.run().await;
        host.ready(true).await;
        host
    }

    /// Publishes to `in`.
    pub(crate) async fn publish(&self, messages: &[Outgoing]) {
        self.subject.publish(&self.names.input, messages).await;
    }

    /// Publishes in pieces, so that about `ahead` messages at most have not ended.
    pub(crate) async fn feed(&self, work: &Work, ahead: u64) {
        let mut published = self.ended().await;
        for piece in work.messages.chunks(100) {
            self.publish(piece).await;
            published += piece.len() as u64;
            eventually("what was published ends", PATIENCE, async || {
                (self.ended().await + ahead >= published).then_some(())
            })
            .await;
        }
    }

    /// Publishes mixed work, with about `ahead` messages that have not ended, for as long as `task` takes. So whatever
    /// the task does is done under load, on a slow machine too.
    pub(crate) async fn under_load<T>(
        &self,
        ahead: u64,
        task: impl Future<Output = T>,
    ) -> (Work, T) {
        let done = Cell::new(false);
        let publishing = async {
            let mut work = Work::default();
            while !done.get() {
                let published = work.messages.len();
                let piece = Work::mixed_from(published, 100);
                self.publish(&piece.messages).await;
                work.extend(piece);
                eventually("what was published ends", PATIENCE, async || {
                    let enough = self.ended().await + ahead >= work.messages.len() as u64;
                    (enough || done.get()).then_some(())
                })
                .await;
            }
            work
        };
        let task = async {
            let answer = task.await;
            done.set(true);
            answer
        };
        join(publishing, task).await
    }

    /// Outputs and dead letters.
    pub(crate) async fn ended(&self) -> u64 {
        let (outputs, letters) = (&self.names.output, &self.names.letters);
        self.subject.count(outputs).await + self.subject.count(letters).await
    }

    /// Waits until there are so many outputs and dead letters.
    pub(crate) async fn until_ended(&self, count: u64) {
        let what = format!("{count} outputs and dead letters on {}", B::COLUMN);
        eventually_or(&what, PATIENCE, async || match self.ended().await {
            ended if ended >= count => Ok(()),
            ended => Err(ended),
        })
        .await;
    }

    /// What the broker says is left of `in`.
    pub(crate) async fn left(&self) -> Left {
        let (input, group) = (&self.names.input, &self.names.plugin);
        self.subject.left(input, group).await
    }

    /// Waits until the broker says that nothing is left.
    pub(crate) async fn until_settled(&self) {
        let what = format!("nothing left on {}", B::COLUMN);
        eventually_or(&what, PATIENCE, async || match self.left().await {
            Left::NOTHING => Ok(()),
            left => Err(left),
        })
        .await;
    }

    /// Waits until all that was published has ended and is settled.
    pub(crate) async fn until_done(&self, work: &Work) {
        // Where the broker keeps nothing, nothing is ever left.
        let ending = work.ending(|fate| fate != Fate::Nothing);
        self.until_ended(ending as u64).await;
        self.until_settled().await;
    }

    pub(crate) async fn outputs(&self) -> Vec<Item> {
        self.subject.items(&self.names.output).await
    }

    pub(crate) async fn letters(&self) -> Vec<Item> {
        self.subject.items(&self.names.letters).await
    }

    /// Waits for the end, then counts: each message has had its fate, once.
    pub(crate) async fn check(&self, work: &Work) {
        self.until_done(work).await;
        work.check(&self.outputs().await, &self.letters().await);
    }

    /// As [`check`](Self::check) after something died: repeats are allowed where outputs and settlement are not one
    /// step at this broker. Answers the outputs without them.
    pub(crate) async fn check_after_a_crash(&self, work: &Work) -> Vec<Item> {
        self.until_done(work).await;
        let ending = work.ending(|fate| fate != Fate::Nothing);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (mut outputs, mut letters) = (self.outputs().await, self.letters().await);
            if !self.row.can.atomic {
                outputs = once(outputs);
                letters = once(letters);
            }
            // Where some came twice, all have not yet ended when so many have.
            if outputs.len() + letters.len() >= ending || Instant::now() >= deadline {
                work.check(&outputs, &letters);
                return outputs;
            }
            self.until_settled().await;
        }
    }

    /// Tells a host to stop, waits until it has, in good order, and answers what it said.
    pub(crate) async fn stop(&self, mut host: Host) -> String {
        host.signal("TERM");
        let status = host.exit(Duration::from_secs(20)).await;
        assert!(status.success(), "{status}: {}", host.said());
        host.said()
    }
}

/// Without repeats.
fn once(items: Vec<Item>) -> Vec<Item> {
    let mut seen = std::collections::BTreeSet::new();
    let first = items
        .into_iter()
        .filter(|item| seen.insert(item.id.clone()));
    first.collect()
}
