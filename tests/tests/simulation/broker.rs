//! The faulty in-memory broker: one source, three logs and a dead-letter log, all of it in one lock.
//!
//! The state of a message is the truth the checks in [`crate::oracle`] compare with. Time is simulated time since the
//! first life began; each life of the host has a runtime, and so a paused clock, of its own.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use tokio::sync::Notify;
use tokio::time::Instant;
use wharf::commit::Settlement;
use wharf::config::Order;
use wharf::delivery::{Delivery, Inbox, Token};
use wharf::message::{Message, Origin};
use wharf::ports::{Room, SettleError};

use crate::oracle::{Calls, Seen};
use crate::script::Plan;
use crate::setup::{FAULTS_END, Setup};

/// Where a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Waiting,
    Delayed(Duration),
    /// Delivered and not settled.
    Owned(u64),
    Accepted,
}

/// One message of the source, and all that is known of it.
#[derive(Debug)]
pub struct Entry {
    pub plan: Plan,
    pub key: Option<u8>,
    pub place: Place,
    /// When it was delivered last.
    pub since: Duration,
    /// The host has said since then what is to become of it, or could not for the broker's sake.
    pub asked: bool,
    /// Not to run before, where it came back early to keep its place.
    pub due: Option<Duration>,
    /// Attempts as given with the latest release.
    pub kept: u32,
    /// Deliveries that ended without a settlement.
    pub strikes: u32,
    /// Runs begun, which is the place in the plan.
    pub runs: usize,
    /// Charged runs, as they were.
    pub charged: u32,
    pub running: bool,
    /// The latest run under the present ownership said Done.
    pub done: bool,
    /// The life in which its last run ended.
    pub decided_in: Option<u32>,
    /// An unclean end happened to it: its count may be short, its outputs may repeat.
    pub loose: bool,
    /// Its outputs may repeat.
    pub may_repeat: bool,
}

/// One record of a destination.
#[derive(Debug, Clone)]
pub struct Record {
    pub id: String,
    pub message: usize,
    pub output: usize,
    pub payload: Bytes,
}

/// Everything outside the host.
pub struct World {
    pub rng: Rng,
    pub setup: Setup,
    pub entries: Vec<Entry>,
    pub logs: BTreeMap<String, Vec<Record>>,
    pub calls: Calls,
    pub seen: Seen,
    pub wrong: Vec<String>,
    /// What happened, in order: equal for equal seeds.
    pub story: Vec<String>,
    /// Rung when there may be something to fetch, and when something was settled.
    pub news: Arc<Notify>,
    pub life: u32,
    /// The host is being killed: what is dropped now is nobody's fault.
    pub dying: bool,
    /// Since when it drains, and until when what is in flight may finish.
    pub draining: Option<Duration>,
    /// Since when an ordered subscription gives back all it has. What a fetch under way brings meanwhile goes back too.
    pub going_back: Option<Duration>,
    tokens: HashMap<u64, usize>,
    last_token: u64,
    before: Duration,
    began: Option<Instant>,
}

/// The message's place in the source, from its id.
pub fn index_of(id: &str) -> usize {
    id.trim_start_matches('m').parse().unwrap()
}

impl World {
    pub fn new(setup: Setup, mut rng: Rng) -> Self {
        let entries = (0..setup.messages).map(|_| Entry {
            plan: Plan::draw(&mut rng, setup.hangs),
            key: (rng.u8(0..8) != 0).then(|| rng.u8(0..setup.keys)),
            place: Place::Waiting,
            since: Duration::ZERO,
            asked: false,
            due: None,
            kept: 0,
            strikes: 0,
            runs: 0,
            charged: 0,
            running: false,
            done: false,
            decided_in: None,
            loose: false,
            may_repeat: false,
        });
        let entries = entries.collect();
        Self {
            rng,
            setup,
            entries,
            logs: BTreeMap::new(),
            calls: Calls::default(),
            seen: Seen::default(),
            wrong: Vec::new(),
            story: Vec::new(),
            news: Arc::new(Notify::new()),
            life: 0,
            dying: false,
            draining: None,
            going_back: None,
            tokens: HashMap::new(),
            last_token: 0,
            before: Duration::ZERO,
            began: None,
        }
    }

    pub fn now(&self) -> Duration {
        self.before + self.began.map_or(Duration::ZERO, |at| at.elapsed())
    }

    pub fn begin_life(&mut self) {
        self.life += 1;
        self.began = Some(Instant::now());
        self.dying = false;
        self.draining = None;
        self.tell(format!("life {}", self.life));
    }

    /// The host is gone: whatever it had comes back. What was not settled counts as a strike.
    pub fn end_life(&mut self, lasted: Duration) {
        self.before += lasted;
        self.began = None;
        self.check_patience();
        self.tokens.clear();
        for entry in &mut self.entries {
            entry.running = false;
            if let Place::Owned(_) = entry.place {
                entry.place = Place::Waiting;
                entry.strikes += 1;
                entry.loose = true;
                entry.may_repeat = true;
                self.seen.abandoned += 1;
            }
        }
    }

    pub fn tell(&mut self, what: String) {
        let now = self.now();
        self.story.push(format!("{now:?} {what}"));
    }

    pub fn fault(&mut self) -> bool {
        let errors = self.setup.errors;
        self.now() < FAULTS_END && errors > 0 && self.rng.u8(..) < errors
    }

    pub fn ambiguous(&mut self) -> bool {
        self.setup.ambiguous && self.now() < FAULTS_END && self.rng.u8(0..12) == 0
    }

    /// How long the next answer takes.
    pub fn pause(&mut self) -> Duration {
        if !self.setup.slow || self.now() >= FAULTS_END {
            return Duration::ZERO;
        }
        match self.rng.u8(0..100) {
            0..60 => Duration::ZERO,
            60..90 => Duration::from_millis(self.rng.u64(1..20)),
            90..98 => Duration::from_millis(self.rng.u64(100..1500)),
            _ => Duration::from_secs(60),
        }
    }

    pub fn owned(&self) -> usize {
        let owned = |e: &&Entry| matches!(e.place, Place::Owned(_));
        self.entries.iter().filter(owned).count()
    }

    /// Whether no other life follows this one.
    pub fn last_life(&self) -> bool {
        self.life as usize >= self.setup.lives.len()
    }

    pub fn all_accepted(&self) -> bool {
        self.entries.iter().all(|e| e.place == Place::Accepted)
    }

    /// The key that orders a message, or `None` where nothing does.
    pub fn order_key(&self, index: usize) -> Option<u8> {
        match self.setup.order {
            Order::None => None,
            Order::Key => self.entries[index].key,
            Order::Source => Some(0),
        }
    }

    /// Delivers what is there, at most `room`; else, when to look again.
    pub fn deliver(
        &mut self,
        room: Room,
        inbox: &Arc<Inbox>,
    ) -> Result<Vec<Delivery>, Option<Duration>> {
        self.check_patience();
        let now = self.now();
        let most = match self.rng.bool() {
            true => room.messages,
            false => self.rng.usize(1..=room.messages),
        };
        let mut taken = Vec::new();
        let mut next = None::<Duration>;
        for index in 0..self.entries.len() {
            match self.entries[index].place {
                Place::Waiting => {}
                Place::Delayed(until) if until <= now => {}
                Place::Delayed(until) => {
                    next = Some(next.map_or(until, |n| n.min(until)));
                    continue;
                }
                _ => continue,
            }
            if taken.len() < most {
                taken.push(self.hand_out(index, inbox));
            }
        }
        if taken.is_empty() {
            return Err(next);
        }
        self.check_window(room);
        self.calls.delivered(now, taken.len());
        Ok(taken)
    }

    fn hand_out(&mut self, index: usize, inbox: &Arc<Inbox>) -> Delivery {
        self.last_token += 1;
        let token = self.last_token;
        self.tokens.insert(token, index);
        let now = self.now();
        let entry = &mut self.entries[index];
        entry.place = Place::Owned(token);
        entry.done = false;
        entry.since = now;
        entry.asked = false;
        let entry_due = entry.due;
        let message = Message {
            id: format!("m{index}").into(),
            id_stable: true,
            subscription: "in".into(),
            topic: "in".into(),
            origin: Origin {
                broker: "home".into(),
                source: "in".into(),
                partition: None,
                position: index.to_string().into(),
                group: None,
            },
            key: entry.key.map(|k| Bytes::copy_from_slice(&[k])),
            headers: Vec::new(),
            payload: Bytes::from(index.to_string()),
            tombstone: false,
            timestamp_ms: 0,
            content_type: None,
            correlation_id: None,
            reply_to: None,
            priority: None,
            expires_at_ms: None,
            attempts: entry.kept,
            first_failed_ms: None,
            deliveries: entry.strikes + 1,
            unrepresentable: None,
            request: false,
        };
        self.tell(format!("deliver m{index}"));
        let mut delivery = Delivery::new(Token(token), message, inbox);
        if self.setup.patience.is_some() {
            let rest = entry_due.map(|due| due.saturating_sub(now));
            delivery.arrived(Instant::now(), rest.map(|rest| Instant::now() + rest));
        }
        delivery
    }

    /// The message behind a token, if this is still its owner.
    pub fn owner(&self, token: Token) -> Option<usize> {
        let index = *self.tokens.get(&token.0)?;
        (self.entries[index].place == Place::Owned(token.0)).then_some(index)
    }

    /// Another owner takes the message away.
    pub fn fence(&mut self, token: Token) {
        if let Some(index) = self.owner(token) {
            self.tell(format!("fence m{index}"));
            let entry = &mut self.entries[index];
            entry.place = Place::Waiting;
            entry.strikes += 1;
            entry.loose = true;
            entry.may_repeat = true;
            self.news.notify_waiters();
        }
    }

    /// Settles one message and checks that it may be.
    pub fn settle(&mut self, token: Token, settlement: Settlement) -> Result<(), SettleError> {
        let Some(index) = self.owner(token) else {
            return Err(SettleError::Fenced("it is not yours".to_owned()));
        };
        self.check_patience();
        match settlement {
            Settlement::Accept => {
                self.check_accept(index);
                self.entries[index].place = Place::Accepted;
                self.tell(format!("accept m{index}"));
            }
            Settlement::Release {
                after, attempts, ..
            } => {
                self.check_release(index, attempts);
                self.tell(format!("release m{index} {after:?} {attempts}"));
                let now = self.now();
                let ordered = self.setup.ordered();
                let entry = &mut self.entries[index];
                entry.kept = attempts;
                entry.due = after.map(|after| now + after);
                entry.place = match entry.due {
                    // It keeps its place, and so comes at once.
                    Some(due) if !ordered => Place::Delayed(due),
                    _ => Place::Waiting,
                };
            }
        }
        self.news.notify_waiters();
        Ok(())
    }
}
