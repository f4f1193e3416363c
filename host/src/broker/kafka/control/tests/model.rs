//! Random schedules: polls, fetches, settlements, rebalances, crashes. After each step nothing is committed past a
//! message that was not accepted; in the end every message was.

use proptest::prelude::*;

use super::*;

const PARTITIONS: i32 = 3;

#[derive(Debug, Clone)]
enum Step {
    Produce(i32, i64),
    Poll,
    /// Turn, so many milliseconds later.
    Turn(u64),
    Fetch(usize),
    Accept(usize),
    /// Release, charged or not, at once or later.
    Release(usize, bool, u64),
    /// The client commits what it was told to store.
    AutoCommit,
    /// The next commit fails.
    Break,
    Revoke(i32),
    Lose(i32),
    Assign(i32),
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let partition = 0..PARTITIONS;
    prop_oneof![
        8 => (partition.clone(), 1..4_i64).prop_map(|(p, gap)| Step::Produce(p, gap)),
        10 => Just(Step::Poll),
        8 => (0..400_u64).prop_map(Step::Turn),
        8 => (1..6_usize).prop_map(Step::Fetch),
        10 => any::<usize>().prop_map(Step::Accept),
        3 => (any::<usize>(), any::<bool>(), 0..500_u64).prop_map(|(i, c, ms)| Step::Release(i, c, ms)),
        2 => Just(Step::AutoCommit),
        1 => Just(Step::Break),
        1 => partition.clone().prop_map(Step::Revoke),
        1 => partition.clone().prop_map(Step::Lose),
        2 => partition.prop_map(Step::Assign),
        1 => Just(Step::Crash),
    ]
}

#[derive(Debug, Default)]
struct Partition {
    log: BTreeSet<i64>,
    end: i64,
    /// Ours; where the client reads next.
    position: Option<i64>,
    paused: bool,
    stored: Option<(i64, String)>,
    committed: Option<(i64, String)>,
    accepted: BTreeSet<i64>,
    /// Those of which the present owner knows, as those before it left in order.
    told: BTreeSet<i64>,
    /// What was charged in truth.
    charged: BTreeMap<i64, u32>,
    /// In hand under the present assignment, in the order handed out.
    in_hand: Vec<(i64, Token, u32)>,
    /// How often it was said that a message is handed out alone.
    begins: BTreeMap<i64, u32>,
    /// Released in order: everything in hand goes back before more is fetched.
    rewinding: bool,
}

impl Partition {
    fn first_unaccepted(&self) -> i64 {
        let mut open = self.log.iter().filter(|o| !self.accepted.contains(o));
        open.next().copied().unwrap_or(self.end)
    }

    fn commit(&mut self, position: &Position) {
        self.committed = Some((position.offset, position.metadata.clone()));
    }
}

struct World {
    control: Control<(i32, i64)>,
    partitions: Vec<Partition>,
    now: Instant,
    /// Only the first in hand of a partition is settled, and what is behind a released one goes back unstarted.
    ordered: bool,
    broken: bool,
    next: i32,
}

fn new_control(ordered: bool) -> Control<(i32, i64)> {
    Control::new(
        Bounds {
            buffer: amount(6),
            window: amount(8),
        },
        ordered,
    )
}

impl World {
    fn new(ordered: bool) -> Self {
        Self {
            control: new_control(ordered),
            partitions: (0..PARTITIONS).map(|_| Partition::default()).collect(),
            now: Instant::now(),
            ordered,
            broken: false,
            next: 0,
        }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Produce(p, gap) => {
                let partition = &mut self.partitions[p as usize];
                let offset = partition.end + gap - 1;
                partition.log.insert(offset);
                partition.end = offset + 1;
            }
            Step::Poll => self.poll(),
            Step::Turn(ms) => {
                self.now += Duration::from_millis(ms);
                self.turn();
            }
            Step::Fetch(n) => self.fetch(n),
            Step::Accept(index) => self.accept(index),
            Step::Release(index, charge, ms) => self.release(index, charge, ms),
            Step::AutoCommit => {
                for partition in &mut self.partitions {
                    partition.auto_commit();
                }
            }
            Step::Break => self.broken = true,
            Step::Revoke(p) => self.revoke(p),
            Step::Lose(p) => {
                self.control.lost(&[place(p)]);
                self.partitions[p as usize].gone();
            }
            Step::Assign(p) => self.assign(p),
            Step::Crash => {
                self.control = new_control(self.ordered);
                for partition in &mut self.partitions {
                    partition.gone();
                }
            }
        }
        self.check();
    }

    fn check(&self) {
        for partition in &self.partitions {
            let first = partition.first_unaccepted();
            for (offset, _) in [&partition.committed, &partition.stored]
                .into_iter()
                .flatten()
            {
                assert!(*offset <= first, "{offset} is past {first}, not accepted");
            }
        }
    }

    fn poll(&mut self) {
        for _ in 0..PARTITIONS {
            self.next = (self.next + 1) % PARTITIONS;
            let partition = &mut self.partitions[self.next as usize];
            let Some(position) = partition.position.filter(|_| !partition.paused) else {
                continue;
            };
            let Some(offset) = partition.log.range(position..).next().copied() else {
                continue;
            };
            partition.position = Some(offset + 1);
            self.control
                .message(TOPIC, self.next, offset, 1, (self.next, offset));
            return;
        }
    }

    fn turn(&mut self) {
        let (actions, _) = self.control.turn(self.now);
        for action in actions {
            match action {
                Action::Pause(places) => self.each(&places, |p| {
                    assert!(!std::mem::replace(&mut p.paused, true), "paused twice");
                }),
                Action::Resume(places) => self.each(&places, |p| {
                    assert!(std::mem::take(&mut p.paused), "resumed although not paused");
                }),
                Action::Begin(position) => {
                    let works = !std::mem::take(&mut self.broken);
                    if works {
                        let partition = &mut self.partitions[position.place.partition as usize];
                        partition.commit(&position);
                        *partition.begins.entry(position.offset).or_default() += 1;
                    }
                    self.control.began(&position, works, self.now);
                }
                Action::Store(positions) => {
                    for position in positions {
                        let stored = (position.offset, position.metadata);
                        let partition = &mut self.partitions[position.place.partition as usize];
                        assert!(partition.stored.as_ref().is_none_or(|(o, _)| *o < stored.0));
                        partition.stored = Some(stored);
                    }
                }
                Action::Send(positions) => {
                    let works = !std::mem::take(&mut self.broken);
                    for position in positions.iter().filter(|_| works) {
                        self.partitions[position.place.partition as usize].commit(position);
                    }
                    self.control.answered(&positions, works);
                }
                Action::Commit(positions) | Action::Flush(positions, _) => {
                    if std::mem::take(&mut self.broken) {
                        self.control.not_committed(&positions);
                        continue;
                    }
                    for position in &positions {
                        self.partitions[position.place.partition as usize].commit(position);
                    }
                }
            }
        }
    }

    fn each(&mut self, places: &[Place], act: impl Fn(&mut Partition)) {
        for place in places {
            act(&mut self.partitions[place.partition as usize]);
        }
    }

    fn fetch(&mut self, n: usize) {
        if self.partitions.iter().any(|p| p.rewinding) {
            let in_hand = self
                .partitions
                .iter()
                .map(|p| p.in_hand.len())
                .sum::<usize>();
            if in_hand > 0 {
                return;
            }
            for partition in &mut self.partitions {
                partition.rewinding = false;
            }
        }
        for handed in self.control.fetch(room(n)) {
            let (p, offset) = handed.message;
            let partition = &mut self.partitions[p as usize];
            assert!(
                partition.in_hand.iter().all(|(o, _, _)| *o != offset),
                "twice in hand"
            );
            assert!(!partition.told.contains(&offset), "{offset} is repeated");
            let truth = partition.charged.get(&offset).copied().unwrap_or(0);
            assert!(handed.kept.attempts <= truth, "a count is never long");
            let begins = partition.begins.get(&offset).copied().unwrap_or(0);
            assert!(handed.deliveries <= begins.max(1), "nor is this one");
            partition
                .in_hand
                .push((offset, handed.token, handed.kept.attempts));
        }
    }

    fn pick(&mut self, index: usize) -> Option<(usize, (i64, Token, u32))> {
        let all: Vec<(usize, usize)> = self
            .partitions
            .iter()
            .enumerate()
            .flat_map(|(p, part)| {
                let n = if self.ordered {
                    part.in_hand.len().min(1)
                } else {
                    part.in_hand.len()
                };
                (0..n).map(move |i| (p, i))
            })
            .collect();
        if all.is_empty() {
            return None;
        }
        let (p, i) = all[index % all.len()];
        Some((p, self.partitions[p].in_hand.remove(i)))
    }

    fn accept(&mut self, index: usize) {
        let Some((p, (offset, token, _))) = self.pick(index) else {
            return;
        };
        self.control
            .settle(token, Settlement::Accept, self.now)
            .unwrap();
        let partition = &mut self.partitions[p];
        partition.accepted.insert(offset);
        partition.told.insert(offset);
        if self.ordered {
            assert!(
                partition.first_unaccepted() > offset,
                "{offset} out of order"
            );
        }
    }

    fn release(&mut self, index: usize, charge: bool, ms: u64) {
        let Some((p, (offset, token, attempts))) = self.pick(index) else {
            return;
        };
        let attempts = attempts + u32::from(charge);
        let settlement = Settlement::Release {
            after: (ms > 250).then(|| Duration::from_millis(ms)),
            attempts,
            first_failed_ms: None,
        };
        self.control.settle(token, settlement, self.now).unwrap();
        let partition = &mut self.partitions[p];
        let truth = partition.charged.entry(offset).or_default();
        *truth = attempts.max(*truth);
        if self.ordered {
            partition.rewinding = true;
            for (offset, token, attempts) in std::mem::take(&mut partition.in_hand) {
                let truth = partition.charged.get(&offset).copied().unwrap_or(0);
                assert!(attempts <= truth);
                self.control
                    .settle(token, super::released(attempts), self.now)
                    .unwrap();
            }
        }
    }

    fn revoke(&mut self, p: i32) {
        let places = [place(p)];
        self.control.leaving(&places);
        for position in self.control.revoked(&places) {
            let partition = &mut self.partitions[p as usize];
            assert!(
                partition
                    .committed
                    .as_ref()
                    .is_none_or(|(o, _)| *o <= position.offset)
            );
            partition.commit(&position);
        }
        let partition = &mut self.partitions[p as usize];
        let told = match partition.position {
            Some(_) => std::mem::take(&mut partition.told),
            None => BTreeSet::new(),
        };
        partition.gone();
        partition.told = told;
    }

    fn assign(&mut self, p: i32) {
        let partition = &mut self.partitions[p as usize];
        if partition.position.is_some() {
            return;
        }
        let committed = partition.committed.clone();
        partition.position = Some(committed.as_ref().map_or(0, |(o, _)| *o));
        // The client remembers pauses.
        partition.paused = true;
        let first = self
            .control
            .assigned(&place(p), committed.as_ref().map(|(o, m)| (*o, m.as_str())));
        if let Some(first) = first {
            self.partitions[p as usize].commit(&first);
        }
    }

    /// Everything was accepted, the group has no lag, and no attempts are left behind.
    fn done(&self) -> bool {
        self.partitions.iter().all(|p| {
            let committed = p.committed.as_ref();
            // Without attempts; owners that died there are counted all the same.
            let settled = committed.is_some_and(|(o, m)| *o == p.end && !m.contains(':'));
            p.first_unaccepted() == p.end && (p.log.is_empty() || settled)
        })
    }
}

impl Partition {
    fn auto_commit(&mut self) {
        if let Some(stored) = &self.stored
            && self.committed.as_ref().is_none_or(|c| stored.0 > c.0)
        {
            self.committed = Some(stored.clone());
        }
    }

    /// Not ours any more.
    fn gone(&mut self) {
        self.position = None;
        self.stored = None;
        self.told.clear();
        self.in_hand.clear();
        self.rewinding = false;
    }
}

fn all_of_it(ordered: bool, steps: Vec<Step>) {
    let mut world = World::new(ordered);
    for step in steps {
        world.run(step);
    }
    // No more mishaps: everything is accepted and committed within bounded time.
    for p in 0..PARTITIONS {
        world.run(Step::Assign(p));
    }
    for _ in 0..1000 {
        world.run(Step::Turn(400));
        world.run(Step::AutoCommit);
        if world.done() {
            break;
        }
        for _ in 0..8 {
            world.run(Step::Poll);
        }
        world.run(Step::Fetch(9));
        while world.partitions.iter().any(|p| !p.in_hand.is_empty()) {
            world.run(Step::Accept(0));
        }
    }
    assert!(world.done(), "not all was accepted and committed");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_is_lost(steps in prop::collection::vec(step(), 0..250)) {
        all_of_it(false, steps);
    }

    #[test]
    fn order_is_kept_where_heads_go_first(steps in prop::collection::vec(step(), 0..250)) {
        all_of_it(true, steps);
    }
}
