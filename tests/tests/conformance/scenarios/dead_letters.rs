//! A dead letter is the message as it was, and says what happened to it.

use serde_json::json;
use wharf_tests::count::{Fate, Work, message};

use super::messages::{check_same, odd};
use crate::stage::{RETRY, Stage};
use crate::subject::Subject;

/// A plugin that may publish nothing echoes: each is denied.
pub(crate) async fn dead_letters_are_the_message_byte_for_byte<B: Subject>(stage: &mut Stage<B>) {
    stage.setup().mute().write();
    let mut work = Work::default();
    for message in odd(stage.row.is.headers) {
        work.add(message, Fate::Letter("denied"));
    }
    let _host = stage.host().await;
    stage.publish(&work.messages).await;
    stage.check(&work).await;
    check_same(&stage.letters().await, &work.messages, "");
}

pub(crate) async fn dead_letters_say_what_happened<B: Subject>(stage: &mut Stage<B>) {
    stage.setup().with(RETRY).write();
    let mut work = Work::default();
    let rejected = json!({"do": "reject", "reason": "no such customer", "code": "unknown"});
    let exhausted = json!({"do": "retry", "reason": "not yet"});
    for (id, order, cause) in [
        ("rejected", rejected, "rejected"),
        ("exhausted", exhausted, "exhausted"),
        (
            "trap",
            json!({"do": "panic", "text": "lost my way"}),
            "trap",
        ),
    ] {
        work.add(message(id, order.to_string()), Fate::Letter(cause));
    }
    let _host = stage.host().await;
    stage.publish(&work.messages).await;
    stage.check(&work).await;
    let letters = stage.letters().await;
    check_same(&letters, &work.messages, "");
    let says = |id: &str, name: &str| {
        let letter = letters.iter().find(|l| l.id == id).expect("a dead letter");
        letter.header(name).unwrap_or_default().to_owned()
    };
    let names = &stage.names;
    for (id, attempts) in [("rejected", "1"), ("exhausted", "3"), ("trap", "3")] {
        assert_eq!(says(id, "wharf-attempts"), attempts, "{id}");
        assert_eq!(says(id, "wharf-plugin"), names.plugin, "{id}");
        assert_eq!(says(id, "wharf-subscription"), "in", "{id}");
        assert_eq!(says(id, "__dlq.errors.topic"), names.input, "{id}");
        assert_eq!(says(id, "__dlq.errors.group"), names.plugin, "{id}");
        assert!(says(id, "wharf-version").starts_with("sha256:"), "{id}");
        let (first, last) = (
            says(id, "wharf-first-failed-at"),
            says(id, "wharf-failed-at"),
        );
        assert!(!first.is_empty() && first <= last, "{id}: {first}, {last}");
    }
    assert_eq!(says("rejected", "wharf-code"), "unknown");
    assert!(says("rejected", "__dlq.errors.message").contains("no such customer"));
    assert!(says("exhausted", "__dlq.errors.message").contains("not yet"));
    assert!(says("trap", "wharf-stderr").contains("lost my way"));
}
