//! Messages of unusual size and shape go through the handler byte for byte, or into the dead letters.

use bytes::Bytes;
use wharf::message::{Header, Outgoing};
use wharf_tests::count::{Fate, Item, Work, message};

use crate::stage::Stage;
use crate::subject::Subject;
use crate::table::Headers;

const MEBIBYTE: usize = 1 << 20;

fn header(name: &str, value: impl Into<Bytes>) -> Header {
    Header {
        name: name.into(),
        value: value.into(),
    }
}

fn every_byte() -> Bytes {
    (0..=u8::MAX).collect()
}

fn noise(seed: u64, bytes: usize) -> Bytes {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut noise = vec![0; bytes];
    random.fill(&mut noise);
    noise.into()
}

fn with(id: &str, headers: Vec<Header>) -> Outgoing {
    Outgoing {
        headers,
        ..message(id, "x")
    }
}

fn odd_headers(can: Headers) -> Vec<Outgoing> {
    let thousand = (0..1_000).map(|i| header(&format!("h-{i:04}"), format!("value {i}")));
    let mut odd = vec![
        with("thousand", thousand.collect()),
        with("long", vec![header("long", vec![b'v'; 8_000])]),
        with("blanks", vec![header("a b", " "), header("ä", "ö")]),
        with("no-value", vec![header("empty", "")]),
        with("trace", vec![header("traceparent", "00-1-2-03")]),
    ];
    if can.repeat {
        let same = ["b", "a", "", "a"].map(|value| header("same", value));
        odd.push(with("repeated", same.into()));
        let alike = (0..1_000).map(|i| header("same", format!("value {i}")));
        odd.push(with("thousand-alike", alike.collect()));
    }
    if can.any_bytes {
        let bytes = [every_byte(), Bytes::from_static(&[0xc3])];
        odd.push(with("bytes", bytes.map(|b| header("bytes", b)).into()));
    }
    if can.nameless {
        odd.push(with("nameless", vec![header("", "v")]));
    }
    odd
}

/// None of them is an order to the puppet.
pub(super) fn odd(can: Headers) -> Vec<Outgoing> {
    let keyed = |id: &str, key: Bytes| Outgoing {
        key: Some(key),
        ..message(id, "x")
    };
    let mut odd = odd_headers(can);
    odd.extend([
        message("every-byte", every_byte()),
        message("not-text", noise(7, 300)),
        message("empty", Bytes::new()),
        message("one-zero", vec![0]),
        message("cut-json", r#"{"do": "#),
        keyed("key", every_byte()),
        keyed("empty-key", Bytes::new()),
    ]);
    odd
}

/// What is wrong with items that should be these messages, each once. Their ids may have a suffix.
fn differences(items: &[Item], wanted: &[Outgoing], suffix: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for sent in wanted {
        let id = sent.id.as_deref().expect("an id");
        let found = items
            .iter()
            .filter(|i| i.id.strip_suffix(suffix) == Some(id));
        let found: Vec<_> = found.collect();
        let [item] = found[..] else {
            wrong.push(format!("{id} is there {} times", found.len()));
            continue;
        };
        if item.payload != sent.payload {
            wrong.push(format!("the payload of {id}"));
        }
        if item.key != sent.key {
            wrong.push(format!("the key of {id}: {:?}", item.key));
        }
        if !item.own_headers().eq(&sent.headers) {
            wrong.push(format!("the headers of {id}"));
        }
    }
    wrong
}

/// Every message, once, with what its publisher gave it; and one byte or header that differs is noticed.
pub(super) fn check_same(items: &[Item], wanted: &[Outgoing], suffix: &str) {
    assert_eq!(differences(items, wanted, suffix), Vec::<String>::new());
    for at in 0..items.len() {
        let mut damaged = items.to_vec();
        let mut payload = damaged[at].payload.to_vec();
        match payload.last_mut() {
            Some(last) => *last ^= 1,
            None => payload.push(0),
        }
        damaged[at].payload = payload.into();
        assert_eq!(differences(&damaged, wanted, suffix).len(), 1);
        if damaged[at].own_headers().next().is_some() {
            damaged[at].headers.clear();
            assert_eq!(differences(&damaged, wanted, suffix).len(), 2);
        }
    }
}

pub(crate) async fn odd_messages_are_handled_byte_for_byte<B: Subject>(stage: &mut Stage<B>) {
    stage.setup().write();
    let mut work = Work::default();
    for message in odd(stage.row.is.headers) {
        work.add(message, Fate::Output);
    }
    let _host = stage.host().await;
    stage.publish(&work.messages).await;
    stage.check(&work).await;
    let outputs = stage.outputs().await;
    check_same(&outputs, &work.messages, &stage.names.first());
}

/// What is larger than the plugin may send becomes a dead letter.
pub(crate) async fn messages_of_five_mebibytes<B: Subject>(stage: &mut Stage<B>) {
    stage.setup().with("    limits: { output: 6MiB }\n").write();
    let mut work = Work::default();
    for i in 0..3 {
        let large = message(format!("large-{i}"), noise(i, 5 * MEBIBYTE));
        work.add(large, Fate::Output);
    }
    let larger = message("larger", noise(7, 7 * MEBIBYTE));
    work.add(larger, Fate::Letter("bad-output"));
    let _host = stage.host().await;
    stage.publish(&work.messages).await;
    stage.check(&work).await;
    let outputs = stage.outputs().await;
    check_same(&outputs, &work.messages[..3], &stage.names.first());
    check_same(&stage.letters().await, &work.messages[3..], "");
}
