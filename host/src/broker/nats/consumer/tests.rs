use super::*;

fn wanted() -> Wanted {
    Wanted {
        stream: "ORDERS".into(),
        name: "billing".into(),
        filters: vec!["orders.eu".into()],
        from_start: true,
        ack_wait: Duration::from_secs(30),
        max_ack_pending: 100,
        description: "wharf: billing/orders".into(),
    }
}

fn there() -> Config {
    Config {
        ack_policy: AckPolicy::Explicit,
        max_deliver: -1,
        filter_subject: "orders.eu".into(),
        ..Config::default()
    }
}

#[test]
fn another_programs_consumer_is_used_where_that_is_safe() {
    assert_eq!(wanted().problem(&there()), None);
    let other = Config {
        ack_wait: Duration::from_secs(3),
        max_ack_pending: 5,
        description: Some("theirs".into()),
        ..there()
    };
    assert_eq!(wanted().problem(&other), None);
}

#[test]
fn one_that_would_lose_messages_is_refused_by_name() {
    let is = |change: fn(&mut Config)| {
        let mut config = there();
        change(&mut config);
        wanted().problem(&config).unwrap_or_default()
    };
    assert!(is(|c| c.max_deliver = 5).contains("max_deliver is 5"));
    assert!(is(|c| c.ack_policy = AckPolicy::None).contains("ack policy is None"));
    assert!(is(|c| c.deliver_subject = Some("x".into())).contains("push"));
    assert!(is(|c| c.headers_only = true).contains("headers only"));
    assert!(is(|c| c.backoff = vec![Duration::from_secs(1)]).contains("backoff"));
    let filter = is(|c| c.filter_subject = String::new());
    assert_eq!(filter, "it reads every subject, not orders.eu");
    let filters = is(|c| c.filter_subjects = vec!["b".into(), "a".into()]);
    assert_eq!(filters, "it reads a and b and orders.eu, not orders.eu");
}

#[test]
fn what_is_asked_for_is_what_is_checked() {
    for filters in [vec![], vec!["a".to_owned()], vec!["b".into(), "a".into()]] {
        let wanted = Wanted {
            filters,
            ..wanted()
        };
        let asked = wanted.config();
        let there = Config {
            ack_policy: asked.ack_policy,
            max_deliver: asked.max_deliver,
            filter_subject: asked.filter_subject.clone(),
            filter_subjects: asked.filter_subjects.clone(),
            ..Config::default()
        };
        assert_eq!(wanted.problem(&there), None, "{wanted:?}");
    }
}
