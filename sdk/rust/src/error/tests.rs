use super::*;

#[derive(Debug)]
struct Outer(std::num::ParseIntError);

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("reading the price")
    }
}

impl StdError for Outer {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

fn question_mark() -> Result<u64> {
    Ok("ten".parse::<u64>().map_err(Outer)?)
}

#[test]
fn question_mark_retries_with_the_whole_chain() {
    let error = question_mark().unwrap_err();
    assert_eq!(error.kind(), Kind::Retry);
    assert_eq!(
        error.reason(),
        "reading the price: invalid digit found in string"
    );
    assert_eq!(error.code(), None);
}

#[test]
fn question_mark_takes_text_boxed_errors_and_our_own() {
    fn text() -> Result {
        Err("plain text")?
    }
    fn boxed() -> Result {
        Err(Box::<dyn StdError + Send + Sync>::from("boxed"))?
    }
    fn own() -> Result {
        reject("no").code("never")?;
        Ok(())
    }
    assert_eq!(text().unwrap_err(), Error::retry("plain text"));
    assert_eq!(boxed().unwrap_err(), Error::retry("boxed"));
    assert_eq!(own().unwrap_err(), Error::reject("no").with_code("never"));
}

#[test]
fn a_cause_already_in_the_text_is_not_repeated() {
    #[derive(Debug)]
    struct Repeats(std::fmt::Error);
    impl fmt::Display for Repeats {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "writing: {}", self.0)
        }
    }
    impl StdError for Repeats {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(&self.0)
        }
    }
    let error = Error::from(Repeats(fmt::Error));
    assert_eq!(error.reason(), format!("writing: {}", fmt::Error));
}

#[test]
fn a_missing_value_fails_as_asked() {
    let missing: Option<u8> = None;
    assert_eq!(
        missing.or_reject("no size").unwrap_err(),
        Error::reject("no size")
    );
    assert_eq!(
        missing.or_unavailable("no rate").unwrap_err(),
        Error::unavailable("no rate")
    );
    assert_eq!(
        missing.or_retry("not yet").unwrap_err(),
        Error::retry("not yet")
    );
    assert_eq!(Some(3).or_reject("no size"), Ok(3));
}

#[test]
fn every_kind_reaches_the_contract_with_its_details() {
    let info = |reason: &str| FailureInfo {
        reason: reason.into(),
        code: Some("c".into()),
        after_ms: Some(1500),
    };
    let after = Duration::from_millis(1500);
    let detailed = |error: Error| Failure::from(error.with_code("c").with_delay(after));
    assert_eq!(detailed(Error::retry("a")), Failure::Retry(info("a")));
    assert_eq!(detailed(Error::reject("b")), Failure::Reject(info("b")));
    assert_eq!(
        detailed(Error::unavailable("d")),
        Failure::Unavailable(info("d"))
    );
    assert_eq!(
        Failure::from(Error::retry("bare")),
        Failure::Retry(FailureInfo {
            reason: "bare".into(),
            code: None,
            after_ms: None
        })
    );
}

#[test]
fn delays_round_up_and_saturate() {
    assert_eq!(millis(Duration::ZERO), 0);
    assert_eq!(millis(Duration::from_nanos(1)), 1);
    assert_eq!(millis(Duration::from_millis(250)), 250);
    assert_eq!(millis(Duration::from_secs(u64::MAX)), u32::MAX);
}
