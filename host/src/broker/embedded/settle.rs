//! Settling, alone or together with the outputs: one transaction, each commit completely or not at all.
//!
//! What can be wrong with one commit (its outputs are too large, another owner has its message) is found before its
//! first write, so no savepoint per commit is needed. What SQLite itself refuses undoes the whole request.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rusqlite::params;

use super::error::Error;
use super::id::{self, Claim, Leg};
use super::job::Operation;
use super::ledger::{GroupAt, Ledger};
use super::row::Row;
use super::schema::{DELAYED, READY};
use super::source::Subscription;
use super::{Handle, publish};
use crate::commit::{Commit, Destination, Settlement};
use crate::delivery::Token;
use crate::ports::{Committed, PublishError, Settle, SettleError, Settler};

/// One settlement with what it publishes.
pub(super) struct Unit {
    pub(super) token: Token,
    pub(super) settlement: Settlement,
    pub(super) rows: Vec<Row>,
}

/// Carries out units of one subscription. Answers for each whether it was still ours.
pub(super) struct SettleUnits {
    pub(super) subscription: Arc<Subscription>,
    pub(super) units: Vec<Unit>,
    /// False for releases that only matter while this process lives.
    pub(super) durable: bool,
}

impl Operation for SettleUnits {
    type Output = Vec<bool>;

    fn durable(&self) -> bool {
        self.durable
    }

    fn weight(&self) -> usize {
        self.units
            .iter()
            .map(|unit| 64 + unit.rows.iter().map(Row::weight).sum::<usize>())
            .sum()
    }

    fn run(&self, ledger: &mut Ledger) -> rusqlite::Result<Vec<bool>> {
        let main = self.subscription.find(ledger, Leg::Main);
        let retry = self.subscription.find(ledger, Leg::Retry);
        let mut ours = Vec::with_capacity(self.units.len());
        for unit in &self.units {
            let claim = Claim::from_token(unit.token);
            let at = match claim.leg {
                Leg::Main => main,
                Leg::Retry => retry,
            };
            let settled = match at {
                Some(at) => settle(ledger, at, claim, unit.settlement)?,
                None => false,
            };
            if settled {
                for row in &unit.rows {
                    publish::insert(ledger, row)?;
                }
            }
            ours.push(settled);
        }
        Ok(ours)
    }
}

/// Settles one delivery; false when that delivery is not the one in hand.
fn settle(
    ledger: &mut Ledger,
    at: GroupAt,
    claim: Claim,
    settlement: Settlement,
) -> rusqlite::Result<bool> {
    let group = ledger.group(at).id;
    match settlement {
        Settlement::Accept => {
            let changed = ledger
                .sql(
                    "DELETE FROM pending
                     WHERE grp = ?1 AND seq = ?2 AND state = 0 AND (deliveries & 8388607) = ?3",
                )?
                .execute([group, claim.seq, claim.deliveries])?;
            if changed == 1 {
                let row = id::row(ledger.topic(at.topic).id, claim.seq);
                ledger.settled.push(row);
            }
            Ok(changed == 1)
        }
        Settlement::Release {
            after,
            attempts,
            first_failed_ms,
        } => {
            let due = after
                .filter(|after| !after.is_zero())
                .map(|after| ledger.now.saturating_add(millis(after)));
            let state = if due.is_some() { DELAYED } else { READY };
            let changed = ledger
                .sql(
                    "UPDATE pending SET state = ?4, due_ms = ?5, attempts = ?6, first_failed_ms = ?7,
                         released = released + 1
                     WHERE grp = ?1 AND seq = ?2 AND state = 0 AND (deliveries & 8388607) = ?3",
                )?
                .execute(params![
                    group,
                    claim.seq,
                    claim.deliveries,
                    state,
                    due,
                    attempts,
                    first_failed_ms.map(u64::cast_signed)
                ])?;
            // A delayed one as well: the source has to learn when it is due.
            ledger.stir(at.topic);
            Ok(changed == 1)
        }
    }
}

fn millis(duration: Duration) -> i64 {
    // Rounded up: never before it is due.
    i64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
}

/// Settles one subscription's messages.
pub(super) struct EmbeddedSettler {
    pub(super) handle: Arc<Handle>,
    pub(super) subscription: Arc<Subscription>,
}

impl EmbeddedSettler {
    async fn carry_out(&self, units: Vec<Unit>) -> Result<Vec<bool>, Error> {
        if units.is_empty() {
            return Ok(Vec::new());
        }
        self.handle
            .call(SettleUnits {
                subscription: Arc::clone(&self.subscription),
                units,
                durable: true,
            })
            .await
    }

    fn fenced(&self, token: Token) -> SettleError {
        SettleError::Fenced(format!(
            "message {} of {} has been delivered again, or is gone",
            Claim::from_token(token).seq,
            self.subscription.spec.address
        ))
    }

    fn unit(&self, commit: &Commit) -> Result<Unit, Committed> {
        let rows = commit
            .publications
            .iter()
            .enumerate()
            .map(|(index, publication)| {
                Row::new(
                    publication.address(),
                    &publication.message,
                    self.handle.max_message,
                )
                .map_err(|error| Committed::NotPublished(index, error))
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Unit {
            token: commit.parcel.token,
            settlement: commit.settlement,
            rows,
        })
    }
}

impl Settler for EmbeddedSettler {
    fn atomic_with(&self, destination: &Destination) -> bool {
        *destination.broker == *self.handle.name
    }

    fn commit<'a>(&'a mut self, batch: &'a [&'a Commit]) -> BoxFuture<'a, Vec<Committed>> {
        Box::pin(async move {
            let mut units = Vec::with_capacity(batch.len());
            let mut results = Vec::with_capacity(batch.len());
            for commit in batch {
                match self.unit(commit) {
                    Ok(unit) => {
                        units.push(unit);
                        results.push(Committed::Done);
                    }
                    Err(refused) => results.push(refused),
                }
            }
            let outcome = self.carry_out(units).await;
            let sent = results
                .iter_mut()
                .zip(batch)
                .filter(|(result, _)| **result == Committed::Done);
            match outcome {
                Ok(ours) => {
                    for ((result, commit), ours) in sent.zip(ours) {
                        if !ours {
                            *result = Committed::NotSettled(self.fenced(commit.parcel.token));
                        }
                    }
                }
                Err(error) => {
                    for (result, commit) in sent {
                        *result = not_done(&error, commit);
                    }
                }
            }
            results
        })
    }

    fn settle<'a>(
        &'a mut self,
        batch: &'a [Settle],
    ) -> BoxFuture<'a, Vec<Result<(), SettleError>>> {
        Box::pin(async move {
            let units = batch
                .iter()
                .map(|settle| Unit {
                    token: settle.token,
                    settlement: settle.settlement,
                    rows: Vec::new(),
                })
                .collect();
            match self.carry_out(units).await {
                Ok(ours) => ours
                    .into_iter()
                    .zip(batch)
                    .map(|(ours, settle)| {
                        if ours {
                            Ok(())
                        } else {
                            Err(self.fenced(settle.token))
                        }
                    })
                    .collect(),
                Err(error) => batch.iter().map(|_| Err(error.clone().into())).collect(),
            }
        })
    }
}

/// With outputs the destination is at fault, so that the subscription pauses visibly; else the settlement waits.
fn not_done(error: &Error, commit: &Commit) -> Committed {
    if commit.publications.is_empty() {
        Committed::NotSettled(error.clone().into())
    } else {
        Committed::NotPublished(0, PublishError::from(error.clone()))
    }
}
