//! Commits without waiting, and hears what became of them.
//!
//! One at a time: the server answers a connection in turn, heartbeats too, and the client begins no new assignment while a
//! commit is under way. rdkafka 0.39 does not say what became of a commit that is not waited for, so librdkafka is asked
//! itself.

use std::ptr;

use rdkafka::bindings as sys;
use rdkafka::client::NativeClient;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, KafkaResult};

use super::context::{Context, positions, store};
use super::control::Position;

/// Where answers come in. Used by one thread, and gone before the client.
pub(super) struct Sending<'a> {
    client: &'a NativeClient,
    answers: *mut sys::rd_kafka_queue_t,
    under_way: Vec<Position>,
}

#[allow(unsafe_code)]
impl<'a> Sending<'a> {
    pub(super) fn new(client: &'a NativeClient) -> Self {
        // SAFETY: the client lives for as long as this.
        let answers = unsafe { sys::rd_kafka_queue_new(client.ptr()) };
        Self {
            client,
            answers,
            under_way: Vec::new(),
        }
    }

    /// Has these committed. The one before must have been answered.
    pub(super) fn send(
        &mut self,
        consumer: &BaseConsumer<Context>,
        at: Vec<Position>,
    ) -> Result<(), (Vec<Position>, KafkaError)> {
        let list = match positions(&at) {
            Ok(list) => list,
            Err(error) => return Err((at, error)),
        };
        store(consumer, &list);
        // SAFETY: client and queue live for as long as this; the list is copied.
        let error = unsafe {
            sys::rd_kafka_commit_queue(
                self.client.ptr(),
                list.ptr(),
                self.answers,
                None,
                ptr::null_mut(),
            )
        };
        match judged(error) {
            Ok(()) => {
                self.under_way = at;
                Ok(())
            }
            Err(error) => Err((at, error)),
        }
    }

    /// What became of the one that was sent, if that is known.
    pub(super) fn answer(&mut self) -> Option<(Vec<Position>, KafkaResult<()>)> {
        // SAFETY: the queue is ours; the error is read before the event it belongs to is destroyed.
        let error = unsafe {
            let event = sys::rd_kafka_queue_poll(self.answers, 0);
            if event.is_null() {
                return None;
            }
            let error = sys::rd_kafka_event_error(event);
            sys::rd_kafka_event_destroy(event);
            error
        };
        Some((std::mem::take(&mut self.under_way), judged(error)))
    }
}

fn judged(error: sys::rd_kafka_resp_err_t) -> KafkaResult<()> {
    match error {
        sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        error => Err(KafkaError::ConsumerCommit(error.into())),
    }
}

#[allow(unsafe_code)]
impl Drop for Sending<'_> {
    fn drop(&mut self) {
        // SAFETY: ours, and used by nobody else. An answer that is still to come is thrown away by the client.
        unsafe { sys::rd_kafka_queue_destroy(self.answers) };
    }
}
