//! Asks the servers for the ids of topics, without waiting for the answer.
//!
//! The client has the question (`rd_kafka_DescribeTopics`) and rdkafka 0.39 has no function for it, so librdkafka is
//! asked itself.

use std::ffi::{CStr, CString, c_char};
use std::ptr;

use rdkafka::bindings as sys;
use rdkafka::client::NativeClient;

/// What tells one topic from another of the same name. Never zero: older servers have no ids.
pub(super) type Id = (i64, i64);

/// Where answers come in. Used by one thread, and gone before the client.
pub(super) struct Describing<'a> {
    client: &'a NativeClient,
    answers: *mut sys::rd_kafka_queue_t,
}

#[allow(unsafe_code)]
impl<'a> Describing<'a> {
    pub(super) fn new(client: &'a NativeClient) -> Self {
        // SAFETY: the client lives for as long as this.
        let answers = unsafe { sys::rd_kafka_queue_new(client.ptr()) };
        Self { client, answers }
    }

    /// Asks for these. Every question is answered some time.
    pub(super) fn ask(&self, topics: &[&str], patience_ms: i32) {
        let names: Vec<CString> = topics
            .iter()
            .filter_map(|t| CString::new(*t).ok())
            .collect();
        let mut names: Vec<*const c_char> = names.iter().map(|n| n.as_ptr()).collect();
        let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        // SAFETY: names are copied; what is made here is destroyed here. The answer goes to the queue, which is ours.
        unsafe {
            let all = sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
            let options = sys::rd_kafka_AdminOptions_new(self.client.ptr(), operation);
            // Refused only where the number makes no sense; then the client's own patience holds.
            sys::rd_kafka_AdminOptions_set_request_timeout(
                options,
                patience_ms,
                ptr::null_mut(),
                0,
            );
            sys::rd_kafka_DescribeTopics(self.client.ptr(), all, options, self.answers);
            sys::rd_kafka_AdminOptions_destroy(options);
            sys::rd_kafka_TopicCollection_destroy(all);
        }
    }

    /// The answer, if it is there: those that exist and have an id.
    pub(super) fn answer(&self) -> Option<Vec<(String, Id)>> {
        // SAFETY: the queue is ours; everything is read before the event it belongs to is destroyed, and null is looked for
        // wherever it may come.
        unsafe {
            let event = sys::rd_kafka_queue_poll(self.answers, 0);
            if event.is_null() {
                return None;
            }
            let mut found = Vec::new();
            let result = sys::rd_kafka_event_DescribeTopics_result(event);
            if !result.is_null() {
                let mut count = 0;
                let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
                found.extend((0..count).filter_map(|at| described(*topics.add(at))));
            }
            sys::rd_kafka_event_destroy(event);
            Some(found)
        }
    }
}

/// Name and id of a topic that exists.
///
/// # Safety
///
/// The description is one the client gave out and has not taken back.
#[allow(unsafe_code)]
unsafe fn described(topic: *const sys::rd_kafka_TopicDescription_t) -> Option<(String, Id)> {
    // SAFETY: as the caller promises; what comes back belongs to the description.
    unsafe {
        let error = sys::rd_kafka_TopicDescription_error(topic);
        let none = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
        if !error.is_null() && sys::rd_kafka_error_code(error) != none {
            return None;
        }
        let name = CStr::from_ptr(sys::rd_kafka_TopicDescription_name(topic));
        let id = sys::rd_kafka_TopicDescription_topic_id(topic);
        if id.is_null() {
            return None;
        }
        let id = (
            sys::rd_kafka_Uuid_most_significant_bits(id),
            sys::rd_kafka_Uuid_least_significant_bits(id),
        );
        (id != (0, 0)).then(|| (name.to_string_lossy().into_owned(), id))
    }
}

#[allow(unsafe_code)]
impl Drop for Describing<'_> {
    fn drop(&mut self) {
        // SAFETY: ours, and used by nobody else. An answer that is still to come is thrown away by the client.
        unsafe { sys::rd_kafka_queue_destroy(self.answers) };
    }
}
