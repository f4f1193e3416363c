//! The two integers everything is found by.
//!
//! A message's row id is `topic << 40 | seq`: one B-tree, clustered by topic, so that reading a topic in order is a
//! range scan and no second index is kept. Sequences start at 1 in each topic and are never used twice.
//!
//! A delivery's token is `deliveries << 41 | leg << 40 | seq`. The delivery count in it is the fence: a settlement
//! finds its row only while that very delivery is the latest one, so a stale owner can neither accept nor release
//! what was given to another.

use crate::delivery::Token;

const SEQ_BITS: u32 = 40;
const SEQ_MASK: i64 = (1 << SEQ_BITS) - 1;
/// The delivery counts that fit beside leg and sequence. Beyond 8 million they repeat.
const DELIVERIES_MASK: u64 = (1 << (64 - SEQ_BITS - 1)) - 1;

/// Row id of a message.
pub(super) fn row(topic: i64, seq: i64) -> i64 {
    (topic << SEQ_BITS) | (seq & SEQ_MASK)
}

/// First and last row id a topic can have.
pub(super) fn rows_of(topic: i64) -> (i64, i64) {
    (topic << SEQ_BITS, (topic << SEQ_BITS) | SEQ_MASK)
}

/// A sequence as callers name it; 0, which no message has, for what no sequence can be.
pub(super) fn known(seq: u64) -> i64 {
    i64::try_from(seq)
        .ok()
        .filter(|seq| *seq <= SEQ_MASK)
        .unwrap_or(0)
}

/// The sequence in a row id.
pub(super) fn seq(row: i64) -> i64 {
    row & SEQ_MASK
}

/// The topic in a row id.
pub(super) fn topic(row: i64) -> i64 {
    row >> SEQ_BITS
}

/// Which of a subscription's two topics a delivery came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leg {
    /// The subscribed topic.
    Main,
    /// `retry.{subscription}.{plugin}`: what was redriven to this subscription alone.
    Retry,
}

/// What a token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    /// Which topic.
    pub(super) leg: Leg,
    /// Which message.
    pub(super) seq: i64,
    /// Which delivery of it, within [`fence`].
    pub(super) deliveries: i64,
}

/// The part of a delivery count that a token can hold.
pub(super) fn fence(deliveries: i64) -> i64 {
    (deliveries.unsigned_abs() & DELIVERIES_MASK).cast_signed()
}

impl Claim {
    /// As a token.
    pub(super) fn token(self) -> Token {
        let leg = match self.leg {
            Leg::Main => 0,
            Leg::Retry => 1,
        };
        Token(
            (fence(self.deliveries).cast_unsigned() << (SEQ_BITS + 1))
                | (leg << SEQ_BITS)
                | (self.seq & SEQ_MASK).cast_unsigned(),
        )
    }

    /// From a token.
    pub(super) fn from_token(token: Token) -> Self {
        Self {
            leg: if (token.0 >> SEQ_BITS) & 1 == 0 {
                Leg::Main
            } else {
                Leg::Retry
            },
            seq: token.0.cast_signed() & SEQ_MASK,
            deliveries: (token.0 >> (SEQ_BITS + 1)).cast_signed(),
        }
    }
}
