//! What each broker can do and is, and which scenarios that leaves out.
//!
//! What it can do is what its adapter declares. What it is (a server, something hosts share) no adapter declares; it
//! is written beside the broker here. `docs/capabilities.md` shows both, and a test holds the page to them.

use std::path::Path;

use wharf::broker::embedded::Embedded;
use wharf::broker::kafka::KafkaBroker;
use wharf::broker::nats::NatsBroker;
use wharf::broker::rabbitmq::RabbitBroker;
use wharf::broker::redis::{Options, RedisBroker};
use wharf::config;
use wharf::ports::{Broker, Capabilities, Ordering};

use crate::subject::Subject;

/// What a broker is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nature {
    /// A process beside the host, reached over a network: it can be absent, die and be cut off.
    pub(crate) server: bool,
    /// Several hosts can read it as one group.
    pub(crate) shared: bool,
    /// Somebody else can delete a source while it is read.
    pub(crate) deletable: bool,
    /// A destination can refuse everything for a while.
    pub(crate) obstructable: bool,
    /// A destination that does not exist is made by the first message to it.
    pub(crate) makes_destinations: bool,
    /// What is published is there until somebody reads it.
    pub(crate) keeps: bool,
    /// What headers can be.
    pub(crate) headers: Headers,
}

/// What headers of a broker can be, in messages of any client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Headers {
    /// A name can come twice, and the order is kept.
    pub(crate) repeat: bool,
    /// A value can be any bytes.
    pub(crate) any_bytes: bool,
    /// A name can be empty.
    pub(crate) nameless: bool,
}

/// What a scenario needs from its broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Redelivers,
    Orders,
    Delays,
    CountsEachDelivery,
    KeepsAttempts,
    Patience,
    Server,
    Shared,
    Deletable,
    Obstructable,
    Keeps,
}

/// One broker's row of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) column: &'static str,
    pub(crate) can: Capabilities,
    pub(crate) is: Nature,
    counts_each: bool,
}

impl Row {
    /// Called within a runtime.
    pub(crate) fn of<B: Subject>() -> Self {
        Self {
            column: B::COLUMN,
            can: B::capabilities(),
            is: B::nature(),
            counts_each: B::COUNTS_EACH_DELIVERY,
        }
    }

    fn has(&self, need: Need) -> bool {
        match need {
            Need::Redelivers => self.can.redelivers,
            Need::Orders => self.can.orders != Ordering::None,
            Need::Delays => self.can.delays,
            Need::CountsEachDelivery => self.can.counts_deliveries && self.counts_each,
            Need::KeepsAttempts => self.can.keeps_attempts,
            Need::Patience => self.can.patience.is_some(),
            Need::Server => self.is.server,
            Need::Shared => self.is.shared,
            Need::Deletable => self.is.deletable,
            Need::Obstructable => self.is.obstructable,
            Need::Keeps => self.is.keeps,
        }
    }

    /// What is needed and not there. A scenario is left out for this, and for nothing else.
    pub(crate) fn lacks(&self, needs: &[Need]) -> Vec<Need> {
        let lacking = needs.iter().filter(|need| !self.has(**need));
        lacking.copied().collect()
    }

    /// What the page says of it: the beginning of the line, and the beginning of the cell.
    fn page(&self) -> [(&'static str, &'static str); 18] {
        let yes = |is: bool| if is { "yes" } else { "no" };
        let (can, is) = (&self.can, &self.is);
        let orders = match can.orders {
            Ordering::None => "no",
            Ordering::Source => "the whole source",
            Ordering::Partition => "each partition",
        };
        let patience = match can.patience {
            None => "unlimited",
            Some(_) => "limited",
        };
        [
            ("redelivers", yes(can.redelivers)),
            ("orders", orders),
            ("delays", yes(can.delays)),
            ("counts deliveries", yes(can.counts_deliveries)),
            (
                "counts each delivery",
                yes(can.counts_deliveries && self.counts_each),
            ),
            ("keeps attempts", yes(can.keeps_attempts)),
            ("native dead letter", yes(can.native_dead_letter)),
            ("atomic", yes(can.atomic)),
            ("patience", patience),
            ("a server of its own", yes(is.server)),
            ("shared by several hosts", yes(is.shared)),
            ("a source can be deleted", yes(is.deletable)),
            ("a destination can refuse", yes(is.obstructable)),
            ("makes destinations", yes(is.makes_destinations)),
            ("keeps what nobody reads", yes(is.keeps)),
            ("headers repeat, in order", yes(is.headers.repeat)),
            ("headers of any bytes", yes(is.headers.any_bytes)),
            ("headers without a name", yes(is.headers.nameless)),
        ]
    }
}

/// The lines of every table of the page, as cells without their blanks.
fn lines(page: &str) -> Vec<Vec<&str>> {
    let lines = page.lines().filter(|line| line.starts_with('|'));
    let cells = lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect());
    cells.collect()
}

fn wrong(page: &str, rows: &[Row]) -> Vec<String> {
    let mut wrong = Vec::new();
    let lines = lines(page);
    for head in lines.iter().filter(|line| line[0].is_empty()) {
        let brokers: Vec<&str> = rows.iter().map(|row| row.column).collect();
        if head[1..head.len() - 1] != brokers {
            wrong.push(format!(
                "a table is about {head:?}, the suite about {brokers:?}"
            ));
            return wrong;
        }
    }
    for (at, row) in (1..).zip(rows) {
        for (name, value) in row.page() {
            let line = lines.iter().find(|line| line[0] == name);
            let cell = line.and_then(|line| line.get(at));
            if !cell.is_some_and(|cell| cell.starts_with(value)) {
                wrong.push(format!("{}, {name}: {cell:?}, not {value}", row.column));
            }
        }
    }
    wrong
}

macro_rules! table_of {
    ([] $($file:ident::$scenario:ident [$($need:ident)*];)*) => {
        const SCENARIOS: &[(&str, &[Need])] = &[$((stringify!($scenario), &[$(Need::$need),*])),*];
    };
}
each_scenario!(table_of []);

#[tokio::test]
async fn what_is_skipped_is_what_is_listed() {
    let mut skipped = String::new();
    for (broker, row) in crate::rows() {
        for (scenario, needs) in SCENARIOS {
            for need in row.lacks(needs) {
                skipped += &format!("{broker} {scenario} {need:?}\n");
            }
        }
    }
    assert_eq!(
        skipped,
        include_str!("skipped.txt"),
        "left: what the table leaves out, right: skipped.txt"
    );
}

#[tokio::test]
async fn the_page_says_what_the_adapters_declare() {
    let page = include_str!("../../../docs/capabilities.md");
    let mut rows: Vec<Row> = crate::rows().into_iter().map(|(_, row)| row).collect();
    assert_eq!(wrong(page, &rows), Vec::<String>::new());
    // One difference is noticed, and so is a broker that is missing here.
    rows[0].can.delays = !rows[0].can.delays;
    assert_eq!(wrong(page, &rows).len(), 1);
    rows.pop();
    assert_eq!(wrong(page, &rows).len(), 1);
}

/// The types of brokers that a configuration may name.
fn types() -> Vec<String> {
    let schema = config::json_schema();
    let types = schema["$defs"]["Broker"]["oneOf"].as_array();
    let types = types.expect("the types of brokers").iter();
    let name = types.map(|one| one["properties"]["type"]["const"].as_str());
    name.map(|name| name.expect("a name").to_owned()).collect()
}

/// A broker of that type, nowhere.
fn nowhere(name: &str, folder: &Path) -> config::Broker {
    match name {
        "embedded" => config::Broker::Embedded(config::Embedded::new(folder.join("wharf.db"))),
        "redis" => config::Broker::Redis(Box::new(config::Redis::new("redis://127.0.0.1:1"))),
        "kafka" => config::Broker::Kafka(Box::new(config::kafka::Kafka::new("127.0.0.1:1"))),
        "rabbitmq" => config::Broker::RabbitMq(Box::new(config::rabbitmq::RabbitMq::new(
            "amqp://127.0.0.1:1",
        ))),
        "nats" => config::Broker::Nats(Box::new(config::nats::Nats::new("nats://127.0.0.1:1"))),
        _ => panic!("`{name}` is not among the brokers here"),
    }
}

/// Its adapter.
fn adapter(broker: &config::Broker) -> Box<dyn Broker> {
    match broker {
        config::Broker::Embedded(options) => {
            Box::new(Embedded::open_client("nowhere", options).expect("a file"))
        }
        config::Broker::Redis(options) => {
            Box::new(RedisBroker::open(Options::of("nowhere", options)).expect("a good url"))
        }
        config::Broker::Kafka(options) => {
            Box::new(KafkaBroker::open_client("nowhere", options).expect("a good configuration"))
        }
        config::Broker::RabbitMq(options) => {
            Box::new(RabbitBroker::open("nowhere", options).expect("a good url"))
        }
        config::Broker::Nats(options) => {
            Box::new(NatsBroker::open("nowhere", options).expect("a good url"))
        }
    }
}

#[tokio::test]
async fn an_order_is_taken_where_the_adapter_declares_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in types() {
        let known = config::Places::types().any(|one| one == name);
        assert!(known, "`{name}` is not in the table of places");
        let broker = nowhere(&name, folder.path());
        let adapter = adapter(&broker);
        for kind in broker.places().reads {
            let refused = broker.places().refuses_order(Some(*kind));
            let orders = adapter.capabilities(*kind).orders;
            assert_eq!(
                refused.is_none(),
                orders != Ordering::None,
                "{name}, {kind:?}"
            );
            assert_ne!(refused, Some(""), "{name}, {kind:?}: why?");
        }
    }
}
