use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn held(epoch: Epoch, tag: u64) -> Held {
    Held {
        epoch,
        received: Arc::new(Received {
            tag,
            exchange: Default::default(),
            routing_key: Default::default(),
            redelivered: false,
            properties: Default::default(),
            payload: Default::default(),
        }),
        own: false,
        deliveries: 1,
        minted: None,
        since: Instant::now(),
        with: With::Source,
        note: Note::default(),
    }
}

fn one(tag: u64) -> Ack {
    Ack {
        tag,
        multiple: false,
    }
}

fn up_to(tag: u64) -> Ack {
    Ack {
        tag,
        multiple: true,
    }
}

/// A ledger that was handed these tags, and their names.
fn with(tags: &[u64]) -> (Ledger, Epoch, Vec<Token>) {
    let mut ledger = Ledger::default();
    let (epoch, _) = ledger.begin();
    let tokens = tags.iter().map(|tag| ledger.took(held(epoch, *tag)));
    let tokens = tokens.map(|token| token.expect("of this epoch")).collect();
    (ledger, epoch, tokens)
}

#[test]
fn a_run_from_the_first_is_one_frame() {
    let (mut ledger, epoch, t) = with(&[1, 2, 3, 4]);
    assert_eq!(ledger.acknowledge(epoch, &[t[2], t[0], t[1]]), [up_to(3)]);
    assert_eq!(ledger.acknowledge(epoch, &[t[3]]), [one(4)]);
    assert_eq!(ledger.len(), 0);
}

#[test]
fn a_run_is_not_joined_past_one_that_is_in_hand() {
    let (mut ledger, epoch, t) = with(&[1, 2, 3]);
    assert_eq!(ledger.acknowledge(epoch, &t[1..]), [one(2), one(3)]);
    assert_eq!(ledger.acknowledge(epoch, &t[..1]), [one(1)]);
}

#[test]
fn a_run_is_not_joined_past_one_the_client_has_not_handed_over() {
    let (mut ledger, epoch, t) = with(&[1, 3, 4]);
    assert_eq!(ledger.acknowledge(epoch, &t), [one(1), one(3), one(4)]);
    let late = ledger.took(held(epoch, 2)).unwrap();
    let next = ledger.took(held(epoch, 5)).unwrap();
    assert_eq!(ledger.acknowledge(epoch, &[late, next]), [up_to(5)]);
}

#[test]
fn what_came_by_a_lost_channel_is_not_settled_on_the_next() {
    let (mut ledger, old, t) = with(&[1, 2]);
    let (new, lost) = ledger.begin();
    assert_eq!((lost.len(), new > old), (2, true));
    let again = ledger.took(held(new, 1)).unwrap();
    assert!(ledger.held(t[0]).is_none());
    assert_eq!(ledger.acknowledge(new, &t), []);
    assert_eq!(ledger.acknowledge(old, &[again]), []);
    assert!(ledger.took(held(old, 2)).is_none());
    assert_eq!(ledger.acknowledge(new, &[again]), [one(1)]);
}

proptest! {
    /// A server that delivers tags 1, 2, 3 …, some of them late, and takes acknowledgements as a real one does: `multiple`
    /// settles whatever is outstanding up to the tag, seen by the client or not.
    #[test]
    fn exactly_what_is_acknowledged_is_settled_at_the_server(
        late in proptest::collection::btree_set(1_u64..60, 0..6),
        batches in proptest::collection::vec(
            (0_usize..8, proptest::collection::vec(any::<proptest::sample::Index>(), 0..8)),
            1..30,
        ),
    ) {
        let mut ledger = Ledger::default();
        let (epoch, _) = ledger.begin();
        let mut outstanding = BTreeMap::new();
        let mut in_hand: Vec<(u64, Token)> = Vec::new();
        let mut delivered = 0;
        let mut waiting: Vec<u64> = Vec::new();
        for (count, picks) in batches {
            for _ in 0..count {
                delivered += 1;
                outstanding.insert(delivered, ());
                if late.contains(&delivered) {
                    waiting.push(delivered);
                } else {
                    in_hand.push((delivered, ledger.took(held(epoch, delivered)).unwrap()));
                }
            }
            let mut chosen = Vec::new();
            for pick in picks {
                if !in_hand.is_empty() {
                    chosen.push(in_hand.swap_remove(pick.index(in_hand.len())));
                }
            }
            let tokens: Vec<Token> = chosen.iter().map(|(_, token)| *token).collect();
            let mut expected: BTreeMap<u64, ()> = outstanding.clone();
            for (tag, _) in &chosen {
                expected.remove(tag);
            }
            for ack in ledger.acknowledge(epoch, &tokens) {
                prop_assert!(outstanding.contains_key(&ack.tag), "unknown delivery tag");
                if ack.multiple {
                    outstanding.retain(|tag, ()| *tag > ack.tag);
                } else {
                    outstanding.remove(&ack.tag);
                }
            }
            prop_assert_eq!(&outstanding, &expected);
            if count % 3 == 0 {
                for tag in waiting.drain(..) {
                    in_hand.push((tag, ledger.took(held(epoch, tag)).unwrap()));
                }
            }
        }
    }
}

#[test]
fn what_nobody_fetched_for_too_long_is_given_back_in_its_order_and_once() {
    let (mut ledger, epoch, t) = with(&[1, 2, 3, 4]);
    let start = Instant::now();
    let second = std::time::Duration::from_secs(1);
    for (n, token) in (0..).zip(&t) {
        ledger.held_mut(*token).expect("in hand").since = start + second * n;
    }
    ledger.held_mut(t[1]).expect("in hand").with = With::Host;
    let names = |unwanted: Vec<(Token, Held)>| -> Vec<Token> {
        unwanted.into_iter().map(|(token, _)| token).collect()
    };
    assert_eq!(names(ledger.unwanted(start + second * 2)), [t[0], t[2]]);
    assert_eq!(names(ledger.unwanted(start + second * 2)), []);
    assert_eq!(names(ledger.unwanted(start + second * 3)), [t[3]]);
    assert_eq!(ledger.acknowledge(epoch, &t).len(), 1);
}
