//! The reading half of a subscription: takes out of the buffer what the thread put there.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::member::Shared;
use super::wire::{self, Reading};
use crate::delivery::{Delivery, Inbox};
use crate::ports::{BrokerError, Room, Source};

/// Ends the member when source and settler are gone.
pub(super) struct Membership {
    pub(super) shared: Arc<Shared>,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.shared.close();
    }
}

pub(super) struct KafkaSource {
    pub(super) member: Arc<Membership>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) reading: Reading,
}

impl KafkaSource {
    fn take(&self, room: Room) -> Vec<Delivery> {
        let shared = &self.member.shared;
        let handed = shared.control.lock().fetch(room);
        if !handed.is_empty() {
            shared.changed.notify_one();
        }
        let delivery = |one: super::control::Handed<Arc<wire::Record>>| {
            let message = wire::read(&one.message, &self.reading, one.kept, one.deliveries);
            Delivery::new(one.token, message, &self.inbox)
        };
        handed.into_iter().map(delivery).collect()
    }
}

impl Source for KafkaSource {
    fn fetch(&mut self, room: Room) -> BoxFuture<'_, Result<Vec<Delivery>, BrokerError>> {
        Box::pin(async move {
            loop {
                let deliveries = self.take(room);
                if !deliveries.is_empty() {
                    return Ok(deliveries);
                }
                self.member.shared.news.notified().await;
            }
        })
    }

    fn stop(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.member.shared.control.lock().stop();
            self.member.shared.changed.notify_one();
        })
    }
}
