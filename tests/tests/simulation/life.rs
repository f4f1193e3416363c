//! One seed from its first life to the end: starts dispatchers over one broker, kills or drains them, and looks at
//! what is left.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::Instant;
use wharf::commit::Destination;
use wharf::config::{OnDeadLetter, Redact};
use wharf::delivery::Inbox;
use wharf::dispatch::attempt::Policy;
use wharf::dispatch::breaker::Settings;
use wharf::dispatch::retry::Schedule;
use wharf::dispatch::{Dispatcher, Line, PluginLine, Subscription};
use wharf::place::PlaceKind;
use wharf::ports::{
    Capabilities, Clock, Ordering, PayloadFrom, Publisher, Subscribed, SubscriptionSpec,
};
use wharf::telemetry::{Metrics, SubscriptionLabels};

use crate::broker::{Place, World};
use crate::oracle::Seen;
use crate::ports::{SimPublisher, SimSettler, SimSource};
use crate::script::Script;
use crate::setup::{End, Setup};

/// A healthy broker and a finite script end within this much simulated time.
const LONGEST: Duration = Duration::from_secs(1200);
/// What the last drain may take when nothing is in hand.
const LIMIT: Duration = Duration::from_secs(25);

/// What one seed came to.
pub struct Ended {
    pub setup: Setup,
    pub wrong: Vec<String>,
    pub seen: Seen,
    pub story: Vec<String>,
}

pub fn play(seed: u64) -> Ended {
    fastrand::seed(seed);
    let mut rng = Rng::with_seed(seed);
    let setup = Setup::draw(&mut rng);
    let world = Arc::new(Mutex::new(World::new(setup.clone(), rng)));
    for end in &setup.lives {
        live(&world, *end);
        if !world.lock().wrong.is_empty() {
            break;
        }
    }
    let mut world = world.lock();
    if world.wrong.is_empty() {
        check_end(&mut world);
    }
    Ended {
        setup,
        wrong: std::mem::take(&mut world.wrong),
        seen: world.seen.clone(),
        story: std::mem::take(&mut world.story),
    }
}

fn live(world: &Arc<Mutex<World>>, end: End) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let lasted = runtime.block_on(async {
        let began = Instant::now();
        world.lock().begin_life();
        let (dispatcher, subscription) = start(world);
        match end {
            End::Crash(at) => tokio::time::sleep(at).await,
            End::Drain(at, limit) => {
                tokio::time::sleep(at).await;
                drain(world, &dispatcher, &subscription, limit).await;
            }
            End::Finish => {
                if tokio::time::timeout(LONGEST, finished(world))
                    .await
                    .is_err()
                {
                    let in_hand = subscription.in_hand();
                    let paused = subscription.paused();
                    world.lock().wrong(format!(
                        "stuck: not finished, {in_hand} in hand, pause {paused:?}"
                    ));
                }
                drain(world, &dispatcher, &subscription, LIMIT).await;
            }
        }
        world.lock().dying = true;
        began.elapsed()
    });
    drop(runtime);
    world.lock().end_life(lasted);
}

async fn finished(world: &Arc<Mutex<World>>) {
    let news = Arc::clone(&world.lock().news);
    loop {
        let settled = news.notified();
        tokio::pin!(settled);
        settled.as_mut().enable();
        if world.lock().all_accepted() {
            return;
        }
        settled.await;
    }
}

/// 7: within its limit, and what it says is true.
async fn drain(
    world: &Arc<Mutex<World>>,
    dispatcher: &Dispatcher,
    subscription: &Subscription,
    limit: Duration,
) {
    let began = Instant::now();
    let idle = {
        let mut world = world.lock();
        let finish_by = world.now() + limit - Duration::from_secs(5).min(limit / 5);
        world.draining = Some(finish_by);
        world.tell("drain".to_owned());
        world.seen.drains += 1;
        world.owned() == 0
    };
    let drained = dispatcher.drain(limit).await;
    let took = began.elapsed();
    let mut world = world.lock();
    world.tell(format!("drained {drained:?}"));
    let (owned, calm) = (world.owned(), world.setup.calm && !world.setup.hangs);
    world.seen.unclean_drains += u64::from(!drained.clean());
    if took > limit + Duration::from_millis(5) {
        world.wrong(format!("the drain took {took:?} of {limit:?}"));
    }
    if owned > drained.unsettled {
        world.wrong(format!(
            "the drain says {drained:?}, but {owned} are not settled"
        ));
    }
    let uncertain = world.setup.ambiguous || world.setup.slow || world.setup.fences;
    if owned < drained.unsettled && !uncertain {
        world.wrong(format!(
            "the drain says {drained:?}, but only {owned} are not settled"
        ));
    }
    if calm && !drained.clean() {
        world.wrong(format!("a drain without faults ended with {drained:?}"));
    }
    // Every run here takes 200 ms at most, and there are two dozen in hand at most.
    if calm && took > Duration::from_secs(6) {
        world.wrong(format!("a drain without faults took {took:?}"));
    }
    if idle && calm && took > Duration::from_millis(5) {
        world.wrong(format!("a drain with nothing in hand took {took:?}"));
    }
    let in_hand = subscription.in_hand();
    // What was read and never handed over has no place but is unsettled all the same.
    if in_hand > drained.unsettled {
        world.wrong(format!(
            "window: {in_hand} places are taken after a drain that left {}",
            drained.unsettled
        ));
    }
}

/// 1: nothing is lost, nothing is left.
fn check_end(world: &mut World) {
    for index in 0..world.entries.len() {
        let entry = &world.entries[index];
        if entry.place != Place::Accepted {
            let place = entry.place;
            world.wrong(format!("m{index} is left over: {place:?}"));
        }
    }
}

fn start(world: &Arc<Mutex<World>>) -> (Dispatcher, Subscription) {
    let setup = world.lock().setup.clone();
    let plugin = PluginLine {
        handler: Arc::new(Script(Arc::clone(world))),
        workers: setup.workers,
        breaker: setup.breaker.then_some(Settings {
            consecutive_failures: 3,
            recovery_timeout: Duration::from_secs(5),
            window: Duration::from_secs(10),
            failure_ratio: None,
            min_calls: 0,
        }),
    };
    let dispatcher = Dispatcher::new((1000, 1 << 30), Clock::starting_at(0), Handle::current());
    let subscriptions = dispatcher.start(plugin, vec![line(world, &setup)]);
    let subscription = subscriptions.into_iter().next().unwrap();
    (dispatcher, subscription)
}

fn destination(name: &str, broker: &str) -> Arc<Destination> {
    Arc::new(Destination::new(name, broker, PlaceKind::Topic, name))
}

fn policy(setup: &Setup) -> Policy {
    let second = Duration::from_secs(1);
    Policy {
        schedule: Schedule::new(setup.max_retries, second / 2, 2.0, 2 * second, 0.2).unwrap(),
        max_deliveries: setup.max_deliveries,
        ordered: setup.ordered(),
        capabilities: Capabilities {
            redelivers: true,
            orders: if setup.ordered() {
                Ordering::Source
            } else {
                Ordering::None
            },
            delays: setup.delays,
            counts_deliveries: true,
            keeps_attempts: true,
            native_dead_letter: false,
            atomic: setup.atomic,
            patience: setup.patience,
        },
    }
}

fn line(world: &Arc<Mutex<World>>, setup: &Setup) -> Line {
    let inbox = Inbox::new();
    let publishers = ["east", "home"].map(|broker| {
        let publisher: Arc<dyn Publisher> = Arc::new(SimPublisher {
            world: Arc::clone(world),
        });
        (Arc::from(broker), publisher)
    });
    let destinations = [("a", "east"), ("b", "east"), ("c", "home")];
    Line {
        spec: SubscriptionSpec {
            name: "in".into(),
            plugin: "p".into(),
            kind: PlaceKind::Topic,
            address: "in".into(),
            group: "g".into(),
            from_start: true,
            payload: PayloadFrom::Field("payload".into()),
            ordered: setup.ordered(),
            filters: Vec::new(),
            prefetch: setup.prefetch,
        },
        broker: "home".into(),
        policy: policy(setup),
        order: setup.order,
        on_dead_letter: OnDeadLetter::Continue,
        redact: Redact::default(),
        destinations: HashMap::from(
            destinations.map(|(name, at)| (name.to_owned(), destination(name, at))),
        ),
        replies: None,
        dead_letters: destination("dlq", "home"),
        publishers: HashMap::from(publishers),
        window: (setup.window, 1 << 20),
        metrics: Metrics::new().subscription(&SubscriptionLabels {
            plugin: "p".to_owned(),
            subscription: "in".to_owned(),
            messaging_system: "sim".to_owned(),
            messaging_destination_name: "in".to_owned(),
            messaging_consumer_group_name: "g".to_owned(),
        }),
        inbox: Arc::clone(&inbox),
        subscribed: Subscribed {
            source: Box::new(SimSource {
                world: Arc::clone(world),
                inbox,
                spare: Vec::new(),
            }),
            settler: Box::new(SimSettler {
                world: Arc::clone(world),
            }),
        },
    }
}
