//! Takes records out of the client's hands, and gives it headers, byte for byte.
//!
//! The client's own accessors want UTF-8: reading a header name that is not panics (rdkafka 0.39,
//! `BorrowedHeaders::try_get`), on the thread that polls, at the whim of whoever produces. So both ways go to librdkafka
//! itself. It hands out names that end with a zero byte; one that contains another is cut there.

use std::ffi::{CStr, c_char, c_void};
use std::ptr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rdkafka::bindings as sys;
use rdkafka::message::{
    BorrowedHeaders, BorrowedMessage, Headers as _, Message as _, OwnedHeaders,
};

use super::wire::Record;
use crate::message::flat::Pair;

/// One header of a record, where the client has it.
type Lent<'a> = (&'a [u8], Option<&'a [u8]>);

/// Copies a record. All of its bytes are in one piece of memory, which its parts share.
pub(super) fn read(message: &BorrowedMessage<'_>, topic: &Arc<str>) -> Record {
    let headers: Vec<Lent<'_>> = match message.headers() {
        None => Vec::new(),
        Some(headers) => (0..headers.count())
            .filter_map(|at| one(headers, at))
            .collect(),
    };
    let (key, value) = (message.key(), message.payload());
    let of = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    let size = headers.iter().map(|(n, v)| n.len() + of(*v)).sum::<usize>();
    let mut memory = BytesMut::with_capacity(size + of(key) + of(value));
    let mut copy = |bytes: &[u8]| -> Bytes {
        memory.extend_from_slice(bytes);
        memory.split().freeze()
    };
    Record {
        topic: Arc::clone(topic),
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis(),
        key: key.map(&mut copy),
        value: value.map(&mut copy),
        headers: headers
            .into_iter()
            .map(|(name, value)| (copy(name), value.map(&mut copy)))
            .collect(),
    }
}

#[allow(unsafe_code)]
fn one(headers: &BorrowedHeaders, at: usize) -> Option<Lent<'_>> {
    let (mut name, mut value, mut size) = (ptr::null(), ptr::null::<c_void>(), 0);
    // SAFETY: a `BorrowedHeaders` is the native list itself; the pointers that come back point into it and are given out
    // for as long as it is borrowed. A name ends with a zero byte.
    unsafe {
        let error =
            sys::rd_kafka_header_get_all(native(headers), at, &mut name, &mut value, &mut size);
        if error != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        let value = (!value.is_null()).then(|| std::slice::from_raw_parts(value.cast(), size));
        Some((CStr::from_ptr(name).to_bytes(), value))
    }
}

/// The headers of a record to be produced; `None` where there are none.
#[allow(unsafe_code)]
pub(super) fn headers(pairs: &[Pair<'_>]) -> Option<OwnedHeaders> {
    if pairs.is_empty() {
        return None;
    }
    let headers = OwnedHeaders::new_with_capacity(pairs.len());
    for (name, value) in pairs {
        // SAFETY: the list is ours alone, and copies what it is given. Sizes are those of slices.
        unsafe {
            sys::rd_kafka_header_add(
                native(headers.as_borrowed()).cast_mut(),
                name.as_ptr().cast::<c_char>(),
                name.len().cast_signed(),
                value.as_ptr().cast::<c_void>(),
                value.len().cast_signed(),
            );
        }
    }
    Some(headers)
}

fn native(headers: &BorrowedHeaders) -> *const sys::rd_kafka_headers_t {
    ptr::from_ref(headers).cast()
}
