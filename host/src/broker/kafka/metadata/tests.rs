use proptest::prelude::*;

use super::*;

fn kept() -> impl Strategy<Value = Kept> {
    // Times are those of clocks; a clock that is far off is still written and read back.
    let time = prop_oneof![1_700_000_000_000..1_900_000_000_000_u64, 0..i64::MAX as u64];
    (any::<u32>(), proptest::option::of(time)).prop_map(|(attempts, first_failed_ms)| Kept {
        attempts,
        first_failed_ms,
    })
}

fn messages() -> impl Strategy<Value = BTreeMap<i64, Kept>> {
    let offset = prop_oneof![0..5_000_i64, 0..i64::MAX];
    proptest::collection::btree_map(offset, kept(), 0..400)
}

fn settled() -> impl Strategy<Value = Vec<Run>> {
    let steps = proptest::collection::vec((1..1_000_i64, 0..1_000_i64), 0..300);
    (0..i64::MAX / 2, steps).prop_map(|(mut at, steps)| {
        let run = |(gap, more)| {
            let first = at + gap;
            at = first + more + 1;
            (first, first + more)
        };
        steps.into_iter().map(run).collect()
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(begun in 0..50_u32, settled in settled(), all in messages()) {
        let text = write(begun, &settled, &all, usize::MAX);
        prop_assert_eq!(read(&text), Text { begun, settled, kept: all });
    }

    #[test]
    fn runs_that_do_not_fit_are_left_out_and_what_is_there_is_true(
        settled in settled(),
        all in messages(),
        most in 0..MOST,
    ) {
        let text = write(0, &settled, &all, most);
        prop_assert!(text.len() <= most);
        let some = read(&text).settled;
        prop_assert_eq!(&some[..], &settled[..some.len()]);
    }

    #[test]
    fn what_does_not_fit_is_left_out_from_the_highest_offset_down(all in messages(), most in 0..MOST) {
        let text = write(0, &[], &all, most);
        prop_assert!(text.len() <= most);
        let some = read(&text).kept;
        let expected: BTreeMap<_, _> = all.iter().take(some.len()).map(|(o, k)| (*o, *k)).collect();
        prop_assert_eq!(&some, &expected);
        // Nothing is left out that would have fitted.
        if let Some(next) = all.keys().nth(some.len()) {
            let one_more: BTreeMap<_, _> = all.range(..=next).map(|(o, k)| (*o, *k)).collect();
            prop_assert!(write(0, &[], &one_more, usize::MAX).len() > most);
        }
    }

    #[test]
    fn foreign_text_says_nothing_and_breaks_nothing(text in ".{0,200}") {
        prop_assume!(!text.starts_with(FORM));
        prop_assert_eq!(read(&text), Text::default());
    }

    #[test]
    fn a_text_that_was_tampered_with_breaks_nothing(
        all in messages(),
        at in any::<proptest::sample::Index>(),
        by in "[0-9:@+= ~-]{0,3}",
    ) {
        let mut text = write(7, &[(5, 9), (11, 11)], &all, MOST);
        let at = at.index(text.len() + 1);
        text.insert_str(at, &by);
        read(&text);
        text.truncate(at);
        read(&text);
    }
}

#[test]
fn the_form_is_the_documented_one() {
    let all = BTreeMap::from([
        (1041, kept_of(2, Some(1_786_000_000_000))),
        (1044, kept_of(1, None)),
        (1045, kept_of(4, Some(1_785_999_999_750))),
    ]);
    let text = "wharf1 1041:2@1786000000000 +3:1 +1:4@-250";
    assert_eq!(write(0, &[], &all, MOST), text);
    assert_eq!(read(text).kept, all);
    let marked = "wharf1 ~3 1041:2@1786000000000 +3:1 +1:4@-250";
    assert_eq!(write(3, &[], &all, MOST), marked);
    assert_eq!(
        read(marked),
        Text {
            begun: 3,
            settled: Vec::new(),
            kept: all.clone()
        }
    );
    let settled = vec![(1042, 1043), (1046, 1525)];
    let whole = "wharf1 ~3 =1042+2+2+480 1041:2@1786000000000 +3:1 +1:4@-250";
    assert_eq!(write(3, &settled, &all, MOST), whole);
    assert_eq!(
        read(whole),
        Text {
            begun: 3,
            settled: settled.clone(),
            kept: all
        }
    );
    let alone = write(0, &settled, &BTreeMap::new(), MOST);
    assert_eq!(alone, "wharf1 =1042+2+2+480");
    assert_eq!(write(1, &[], &BTreeMap::new(), MOST), "wharf1 ~1");
    assert_eq!(write(0, &[], &BTreeMap::new(), MOST), "");
    assert_eq!(write(9, &[], &BTreeMap::new(), 8), "");
}

#[test]
fn a_window_of_failed_messages_fits_for_the_most_part() {
    let time = |n: u64| Some(1_786_000_000_000 + n * 37);
    let all: BTreeMap<i64, Kept> = (0..1000)
        .map(|n| (5_000_000 + n, kept_of(3, time(n as u64))))
        .collect();
    assert!(read(&write(1, &[], &all, MOST)).kept.len() >= 400);
}

#[test]
fn half_a_text_is_not_believed() {
    for text in [
        "wharf1 ",
        "wharf1 7",
        "wharf1 7:",
        "wharf1 +7:1",
        "wharf1 7:1 8:1",
        "wharf1 7:1 +0:1",
        "wharf1 7:1@",
        "wharf1 -7:1",
        "wharf1 7:-1",
        "wharf1 7:4294967296",
        "wharf1 9223372036854775807:1 +1:1",
        "wharf2 7:1",
        "wharf1 ~",
        "wharf1 ~x",
        "wharf1 ~1 ",
        "wharf1 7:1 ~1",
        "wharf1 =",
        "wharf1 =7",
        "wharf1 =7+0",
        "wharf1 =7+1+1",
        "wharf1 =7+1+0+1",
        "wharf1 =7+1-1+1",
        "wharf1 =9223372036854775807+1",
        "wharf1 =7+1 =9+1",
        "wharf1 7:1 =7+1",
    ] {
        assert_eq!(read(text), Text::default(), "{text}");
    }
    assert_eq!(read(""), Text::default());
}

fn kept_of(attempts: u32, first_failed_ms: Option<u64>) -> Kept {
    Kept {
        attempts,
        first_failed_ms,
    }
}
