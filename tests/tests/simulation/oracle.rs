//! What must be true, checked at the moment it could become false. The numbers are those of the guarantees' list in
//! `docs/simulation.md`.

mod patience;

use std::time::Duration;

use bytes::Bytes;
use wharf::commit::Publication;
use wharf::handler::AttemptInfo;
use wharf::message::Outgoing;
use wharf::ports::Room;

use crate::broker::{Place, Record, World, index_of};
use crate::script::Act;
use crate::setup::FAULTS_END;

/// What the seeds met, so that a suite that never meets a fault cannot pass.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub runs: u64,
    pub accepted: u64,
    pub dead: u64,
    pub outages: u64,
    pub ambiguous: u64,
    pub abandoned: u64,
    pub drains: u64,
    pub unclean_drains: u64,
    pub aborted: u64,
    /// Given back because the broker would not wait for them much longer.
    pub given_back: u64,
}

impl Seen {
    pub fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.accepted += other.accepted;
        self.dead += other.dead;
        self.outages += other.outages;
        self.ambiguous += other.ambiguous;
        self.abandoned += other.abandoned;
        self.drains += other.drains;
        self.unclean_drains += other.unclean_drains;
        self.aborted += other.aborted;
        self.given_back += other.given_back;
    }

    pub fn assert_all_was_met(&self) {
        let all = [
            self.runs,
            self.accepted,
            self.dead,
            self.outages,
            self.ambiguous,
            self.abandoned,
            self.drains,
            self.unclean_drains,
            self.aborted,
            self.given_back,
        ];
        assert!(
            all.iter().all(|n| *n > 0),
            "something never happened: {self:?}"
        );
    }
}

/// Calls within the present second of simulated time.
#[derive(Debug, Default)]
pub struct Calls {
    second: u64,
    calls: usize,
    delivered: usize,
    /// Runs begun, and messages that were decided without one.
    runs: usize,
}

impl Calls {
    fn at(&mut self, now: Duration) -> &mut Self {
        if self.second != now.as_secs() {
            *self = Self {
                second: now.as_secs(),
                ..Self::default()
            };
        }
        self
    }

    pub fn delivered(&mut self, now: Duration, messages: usize) {
        self.at(now).delivered += messages;
    }
}

impl World {
    pub fn wrong(&mut self, what: String) {
        let now = self.now();
        let life = self.life;
        if self.wrong.len() < 10 {
            self.wrong
                .push(format!("at {now:?} in life {life}: {what}"));
        }
    }

    /// 9: nothing spins.
    pub fn called(&mut self, what: &'static str) {
        let now = self.now();
        let window = self.setup.window;
        let calls = self.calls.at(now);
        calls.calls += 1;
        let (n, runs, delivered) = (calls.calls, calls.runs, calls.delivered);
        if n == 60 + 5 * (runs + delivered) {
            self.wrong(format!("spins: {n} calls within a second, the last a {what}, for {runs} runs and {delivered} deliveries"));
        }
        if delivered > runs + 3 * window + 5 {
            self.wrong(format!(
                "walks through the backlog: {delivered} deliveries for {runs} runs within a second"
            ));
        }
    }

    /// 6: never more in hand than the window, or twice that where messages wait in the host.
    pub fn check_window(&mut self, room: Room) {
        let window = self.setup.window;
        let in_host = self.setup.ordered() || !self.setup.delays;
        let most = if in_host { 2 * window } else { window };
        let owned = self.owned();
        if owned > most || room.messages > window.min(self.setup.prefetch) {
            self.wrong(format!(
                "window: {owned} in hand with {room:?} asked for, at most {most}"
            ));
        }
    }

    /// 3 at the start of a run.
    pub fn check_deliveries(&mut self, index: usize, deliveries: u32) {
        let most = self.setup.max_deliveries;
        if deliveries > most {
            self.wrong(format!(
                "m{index} runs at its delivery {deliveries}, and at most {most} may"
            ));
        }
    }

    /// 4 and 5 at the start of a run.
    pub fn started(&mut self, index: usize, info: AttemptInfo) -> (Act, Duration, Vec<Outgoing>) {
        let now = self.now();
        self.calls.at(now).runs += 1;
        self.seen.runs += 1;
        self.tell(format!("run m{index} attempt {}", info.attempt));
        let entry = &self.entries[index];
        let (charged, loose) = (entry.charged, entry.loose);
        if entry.running {
            self.wrong(format!("m{index} runs twice at once"));
        }
        if info.attempt > charged + 1 || (!loose && info.attempt != charged + 1) {
            self.wrong(format!(
                "m{index} is told attempt {} after {charged} charged runs",
                info.attempt
            ));
        }
        if info.attempt > info.max_attempts || (!loose && charged > self.setup.max_retries) {
            self.wrong(format!("m{index} runs again after {charged} charged runs"));
        }
        self.check_turn(index);
        let entry = &self.entries[index];
        self.going_back = self.going_back.filter(|since| entry.since < *since);
        let down = now < self.setup.unavailable_until;
        let entry = &mut self.entries[index];
        let run = entry.runs.min(entry.plan.acts.len());
        let act = match entry.plan.acts.get(run) {
            _ if down => Act::Unavailable,
            Some(act) => *act,
            None => Act::Done,
        };
        if !down {
            entry.runs += 1;
        }
        entry.running = true;
        (act, entry.plan.takes[run], self.outputs(index))
    }

    fn check_turn(&mut self, index: usize) {
        let Some(key) = self.order_key(index) else {
            return;
        };
        for before in 0..index {
            if self.order_key(before) != Some(key) {
                continue;
            }
            let entry = &self.entries[before];
            // One that was delivered too often is decided without a run.
            let unrun = entry.strikes >= self.setup.max_deliveries;
            let decided =
                entry.place == Place::Accepted || entry.decided_in == Some(self.life) || unrun;
            if entry.running || !decided {
                self.wrong(format!(
                    "order: m{index} runs while m{before} of its key is not decided"
                ));
            }
        }
    }

    fn outputs(&self, index: usize) -> Vec<Outgoing> {
        let plan = &self.entries[index].plan;
        let output = |(n, to): (usize, &&'static str)| Outgoing {
            destination: (*to).into(),
            payload: match plan.poison {
                Some(poison) if poison == n => Bytes::from(format!("poison {index} {n}")),
                _ => Bytes::from(format!("{index} {n}")),
            },
            ..Outgoing::default()
        };
        plan.outputs.iter().enumerate().map(output).collect()
    }

    pub fn ended(&mut self, index: usize, act: Act) {
        let (life, max_retries) = (self.life, self.setup.max_retries);
        self.tell(format!("ended m{index} {act:?}"));
        let entry = &mut self.entries[index];
        entry.running = false;
        entry.charged += u32::from(act.charged());
        entry.done = act == Act::Done;
        // The host's own count may be shorter after a crash; then it is not the last yet, and the order check is
        // only as strict as the host can be.
        if act.last(entry.charged, max_retries) {
            entry.decided_in = Some(life);
        }
    }

    /// 7: what is in flight may finish until the flush begins.
    pub fn aborted(&mut self, index: usize) {
        self.entries[index].running = false;
        if self.dying {
            return;
        }
        self.seen.aborted += 1;
        let now = self.now();
        match self.draining {
            Some(finish_by) if now >= finish_by => {}
            _ => self.wrong(format!("m{index} is aborted while it had time")),
        }
    }

    /// Whether a publication is refused for what it is.
    pub fn refuses(&self, publication: &Publication) -> bool {
        if publication.message.payload.starts_with(b"poison") {
            return true;
        }
        if publication.address() != "dlq" {
            return false;
        }
        let id = publication.message.id.as_deref().unwrap_or_default();
        let plan = &self.entries[index_of(id)].plan;
        let headers = &publication.message.headers;
        let explained = headers.iter().any(|h| &*h.name == "__dlq.errors.message");
        (plan.heavy && explained) || (plan.stuck && self.now() < FAULTS_END && !self.setup.calm)
    }

    /// The publisher will be told that this was not taken, although it was.
    pub fn repeats(&mut self, publication: &Publication) {
        let record = record(publication);
        self.entries[record.message].may_repeat = true;
    }

    /// 3 and 4 when a record is taken.
    pub fn append(&mut self, publication: &Publication) {
        let record = record(publication);
        let address = publication.address().to_owned();
        let (index, id) = (record.message, record.id.clone());
        self.tell(format!("append {address} {id}"));
        if address == "dlq" {
            self.check_letter(index, publication);
        }
        let log = self.logs.entry(address.clone()).or_default();
        let earlier = log.iter().find(|r| r.id == id).cloned();
        let newer = log
            .iter()
            .map(|r| (r.message, r.output))
            .filter(|newest| *newest > (index, record.output))
            .collect::<Vec<_>>();
        log.push(record.clone());
        match earlier {
            Some(earlier) if earlier.payload != record.payload => {
                self.wrong(format!("{id} repeats with other content"));
            }
            Some(_) if !self.entries[index].may_repeat => {
                self.wrong(format!(
                    "{id} is published twice to {address}, and nothing failed"
                ));
            }
            Some(_) => {}
            None if address != "dlq" => {
                let key = self.order_key(index);
                let overtaken = newer
                    .iter()
                    .any(|(m, _)| *m == index || (key.is_some() && self.order_key(*m) == key));
                if key.is_some() && overtaken {
                    self.wrong(format!(
                        "order: {id} comes after a newer one of its key in {address}"
                    ));
                }
            }
            None => {}
        }
    }

    fn check_letter(&mut self, index: usize, publication: &Publication) {
        self.seen.dead += 1;
        let header = |name: &str| {
            let found = publication
                .message
                .headers
                .iter()
                .find(|h| &*h.name == name);
            found.map_or(String::new(), |h| {
                String::from_utf8_lossy(&h.value).into_owned()
            })
        };
        let (cause, attempts) = (header("wharf-cause"), header("wharf-attempts"));
        let attempts: u32 = attempts.parse().unwrap_or(u32::MAX);
        let entry = &self.entries[index];
        let (charged, loose, strikes) = (entry.charged, entry.loose, entry.strikes);
        if attempts > charged || (!loose && attempts != charged) {
            self.wrong(format!(
                "the dead letter of m{index} counts {attempts} attempts of {charged}"
            ));
        }
        if cause == "crash-loop" {
            let now = self.now();
            self.calls.at(now).runs += 1;
        }
        let fits = match cause.as_str() {
            "exhausted" | "trap" => attempts > self.setup.max_retries,
            "undeliverable" => self.entries[index].plan.poison.is_some(),
            "crash-loop" => strikes >= self.setup.max_deliveries,
            "rejected" | "bad-output" | "denied" => true,
            _ => false,
        };
        if !fits {
            self.wrong(format!(
                "the dead letter of m{index} says {cause} after {attempts} attempts"
            ));
        }
    }

    fn in_log(&self, address: &str, id: &str) -> bool {
        let log = self.logs.get(address);
        log.is_some_and(|log| log.iter().any(|r| r.id == id))
    }

    /// Whether every output of a message is where it belongs.
    pub fn outputs_there(&self, index: usize) -> bool {
        let outputs = &self.entries[index].plan.outputs;
        let there = |(n, to): (usize, &&'static str)| self.in_log(to, &format!("m{index}/p/{n}"));
        outputs.iter().enumerate().all(there)
    }

    /// 1, 2 and 4 when a message is accepted.
    pub fn check_accept(&mut self, index: usize) {
        self.seen.accepted += 1;
        let done = self.entries[index].done && self.outputs_there(index);
        let dead = self.in_log("dlq", &format!("m{index}"));
        if !done && !dead {
            let said = self.entries[index].done;
            self.wrong(format!("m{index} is accepted, but neither done (handler said so: {said}) with its outputs there, nor dead-lettered"));
        }
        let entry = &self.entries[index];
        let both = entry.done && dead && entry.plan.poison.is_none();
        // A host that died or drained may have written a dead letter without hearing of it; the next one runs it anew.
        if both && !entry.loose && !entry.may_repeat {
            self.wrong(format!("m{index} is both done and dead"));
        }
        if let Some(key) = self.order_key(index) {
            let open = |before: &usize| {
                self.order_key(*before) == Some(key)
                    && self.entries[*before].place != Place::Accepted
            };
            if let Some(before) = (0..index).find(open) {
                self.wrong(format!(
                    "order: m{index} is accepted before m{before} of its key"
                ));
            }
        }
    }
}

fn record(publication: &Publication) -> Record {
    let id = publication
        .message
        .id
        .as_deref()
        .unwrap_or_default()
        .to_owned();
    let mut parts = id.split('/');
    let message = index_of(parts.next().unwrap_or_default());
    let output = parts.nth(1).map_or(0, |n| n.parse().unwrap());
    Record {
        id,
        message,
        output,
        payload: publication.message.payload.clone(),
    }
}
