//! Offsets a group has committed, with the text beside them.
//!
//! The client's own accessor panics where that text is not UTF-8 (rdkafka 0.39, `TopicPartitionListElem::metadata`), and
//! any program may have written it. So librdkafka is asked itself.

use std::ffi::CString;
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::client::NativeClient;

use super::control::Place;

/// A committed offset and the text beside it; empty where that is not UTF-8.
pub(super) type Committed = (i64, String);

/// The coordinator did not answer, or not for all.
#[derive(Debug)]
pub(super) struct NoAnswer;

/// Asks the coordinator. Answers in the order of `places`; `None` where nothing is committed.
#[allow(unsafe_code)]
pub(super) fn ask(
    client: &NativeClient,
    places: &[Place],
    patience: Duration,
) -> Result<Vec<Option<Committed>>, NoAnswer> {
    let mut answers = vec![None; places.len()];
    let names: Option<Vec<CString>> = places
        .iter()
        .map(|p| CString::new(&*p.topic).ok())
        .collect();
    let (Some(names), Ok(count)) = (names, i32::try_from(places.len())) else {
        return Err(NoAnswer);
    };
    let patience = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the list is made, filled, read and destroyed here; its elements are only touched in between, and there are
    // as many as were added. Names are copied by librdkafka.
    unsafe {
        let list = sys::rd_kafka_topic_partition_list_new(count);
        for (name, place) in names.iter().zip(places) {
            sys::rd_kafka_topic_partition_list_add(list, name.as_ptr(), place.partition);
        }
        let error = sys::rd_kafka_committed(client.ptr(), list, patience);
        let mut answered = error == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
        if answered {
            for (at, answer) in answers.iter_mut().enumerate() {
                let one = &*(*list).elems.add(at);
                // Where it could not say, nobody may take that for "nothing".
                answered &= one.err == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
                if one.offset >= 0 {
                    let text = match one.metadata.is_null() {
                        true => &[],
                        false => {
                            std::slice::from_raw_parts(one.metadata.cast::<u8>(), one.metadata_size)
                        }
                    };
                    let text = std::str::from_utf8(text).unwrap_or_default();
                    *answer = Some((one.offset, text.to_owned()));
                }
            }
        }
        sys::rd_kafka_topic_partition_list_destroy(list);
        if answered { Ok(answers) } else { Err(NoAnswer) }
    }
}
