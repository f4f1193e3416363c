use super::*;

fn messages(ask: Option<Ask>) -> Option<usize> {
    ask.map(|ask| ask.messages)
}

#[tokio::test(start_paused = true)]
async fn never_more_is_asked_for_than_there_is_room() {
    let now = Instant::now();
    let mut pull = Pull::new(now);
    assert_eq!(messages(pull.ask(10, now)), Some(10));
    assert_eq!(pull.ask(10, now), None);
    for _ in 0..4 {
        pull.came(now);
    }
    // Four are read and not handed over; then they are.
    assert_eq!(pull.ask(6, now), None);
    assert_eq!(pull.ask(10, now), None, "6 are on their way");
    pull.came(now);
    assert_eq!(messages(pull.ask(10, now)), Some(5));
    assert_eq!(pull.ask(0, now), None);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_ends_is_made_again() {
    let now = Instant::now();
    let mut pull = Pull::new(now);
    assert_eq!(messages(pull.ask(10, now)), Some(10));
    pull.came(now);
    assert_eq!(
        pull.said(408, "Request Timeout", Some(9), now),
        Verdict::GoOn
    );
    assert!(pull.idle());
    assert_eq!(messages(pull.ask(10, now)), Some(10));
    // Of two requests one ends.
    for _ in 0..6 {
        pull.came(now);
    }
    assert_eq!(messages(pull.ask(10, now)), Some(6));
    assert_eq!(
        pull.said(409, "Batch Completed", Some(4), now),
        Verdict::GoOn
    );
    assert!(!pull.idle());
    assert_eq!(
        pull.said(409, "Leadership Change", None, now),
        Verdict::GoOn
    );
    assert!(pull.idle());
}

#[tokio::test(start_paused = true)]
async fn a_large_message_is_asked_for_alone() {
    let now = Instant::now();
    let mut pull = Pull::new(now);
    assert!(pull.ask(10, now).unwrap().bytes.is_some());
    let too_large = "Message Size Exceeds MaxBytes";
    assert_eq!(pull.said(409, too_large, Some(10), now), Verdict::GoOn);
    let alone = Ask {
        messages: 1,
        bytes: None,
    };
    assert_eq!(pull.ask(10, now), Some(alone));
    assert_eq!(pull.ask(10, now).map(|a| a.bytes.is_some()), Some(true));
}

#[tokio::test(start_paused = true)]
async fn what_waiting_cannot_change_is_said_in_the_servers_words() {
    let now = Instant::now();
    for said in [
        "Consumer Deleted",
        "Consumer is push based",
        "Exceeded MaxRequestBatch of 5",
    ] {
        let verdict = Pull::new(now).said(409, said, None, now);
        assert_eq!(verdict, Verdict::Rebuild(format!("409 {said}")));
    }
    for code in [503, 400, 423] {
        let verdict = Pull::new(now).said(code, "", None, now);
        assert!(matches!(verdict, Verdict::Rebuild(_)), "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn silence_is_noticed() {
    let now = Instant::now();
    let mut pull = Pull::new(now);
    let late = now + EXPIRES + GRACE + Duration::from_millis(1);
    assert!(!pull.overdue(late), "nothing was asked for");
    pull.ask(1, now).unwrap();
    assert!(!pull.overdue(now + EXPIRES));
    assert!(pull.overdue(late));
    assert_eq!(pull.said(100, "Idle Heartbeat", None, late), Verdict::GoOn);
    assert!(!pull.overdue(late));
}
