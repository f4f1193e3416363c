//! An answer goes to the message's `reply-to`, where that is granted.

use bytestring::ByteString;
use wharf_tests::host::Place;

use super::client::{Client, message};

const CONFIG: &str = "\
brokers: { local: { type: embedded, path: wharf.db } }
plugins:
  answers:
    component: puppet.wasm
    subscribe: { questions: { broker: local, topic: questions } }
    grants: { reply: true }
  silent:
    component: puppet.wasm
    subscribe: { questions: { broker: local, topic: questions } }
";

#[tokio::test]
async fn a_reply_goes_to_who_asked_if_it_is_granted() {
    let place = Place::new();
    place.put("puppet", "puppet.wasm");
    place.configure(CONFIG);
    let client = Client::embedded(&place.path("wharf.db"));
    let mut question = message("q-1", r#"{"do": "reply", "text": "pong"}"#);
    question.reply_to = Some(ByteString::from_static("inbox.7"));
    question.correlation_id = Some(ByteString::from_static("c-9"));
    let mut of_nobody = message("q-2", r#"{"do": "reply", "text": "pong"}"#);
    of_nobody.correlation_id = Some(ByteString::from_static("c-10"));
    client.publish("questions", vec![question, of_nobody]).await;
    let _host = place.run().await;
    client.until_done("questions", "answers").await;
    client.until_done("questions", "silent").await;

    let answers = client.items("inbox.7").await;
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(&answers[0].payload[..], b"pong");
    assert_eq!(answers[0].id, "q-1/answers/0");

    let dead = async |plugin: &str| client.items(&format!("dlq.questions.{plugin}")).await;
    for (plugin, ids) in [("answers", vec!["q-2"]), ("silent", vec!["q-1", "q-2"])] {
        let letters = dead(plugin).await;
        let mut found: Vec<_> = letters.iter().map(|letter| letter.id.as_str()).collect();
        found.sort_unstable();
        assert_eq!(found, ids, "{plugin}");
        for letter in &letters {
            assert_eq!(letter.header("wharf-cause"), Some("denied"));
        }
    }
    let why = &dead("silent").await[0];
    let why = why.header("__dlq.errors.message").unwrap_or_default();
    assert!(why.contains("reply: true"), "{why}");
}
