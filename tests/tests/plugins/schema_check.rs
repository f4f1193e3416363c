//! `plugins/schema-check`.

use serde_json::{Value, json};

use crate::shipped::{Shipped, outputs, sorted};

#[tokio::test]
async fn what_is_valid_goes_on_and_the_rest_says_why() {
    let plugin = Shipped::new("schema-check");
    plugin.handle_all().await;
    let valid = sorted(plugin.lying("local", "orders"));
    assert_eq!(valid, sorted(outputs(&plugin.messages())));
    assert_eq!(valid.len(), 3);

    let dead = plugin.dead();
    assert_eq!(dead.len(), 5);
    for letter in &dead {
        let why = (&letter["cause"], &letter["code"], &letter["attempts"]);
        assert_eq!(why, (&json!("rejected"), &json!("schema"), &json!(1)));
    }
    let reason = |id: &str| {
        let letter = dead.iter().find(|letter| letter["message"]["id"] == id);
        letter.unwrap()["reason"].as_str().unwrap().to_owned()
    };
    // As the README shows it.
    assert_eq!(reason("s-3"), plugin.readme("text").trim_end());
    assert_eq!(
        reason("s-4"),
        r#"(root): "order_id" is a required property"#
    );
    assert!(reason("s-5").starts_with("/lines: "), "{}", reason("s-5"));
    assert!(reason("s-6").starts_with("the payload is no JSON: "));
}

#[tokio::test]
async fn a_schema_may_be_a_file() {
    let plugin = Shipped::changed("schema-check", |config| {
        let (before, schema) = config.split_once("        schema: |\n").unwrap();
        assert!(before.ends_with("      config:\n") && schema.ends_with("}\n"));
        let before = before.strip_suffix("      config:\n").unwrap();
        format!("{before}      secrets: {{ schema: {{ file: order.schema.json }} }}\n")
    });
    let schema = plugin.readme("yaml");
    let (_, schema) = schema.split_once("schema: |\n").unwrap();
    std::fs::write(plugin.place.path("order.schema.json"), schema).unwrap();
    plugin.handle_all().await;
    assert_eq!(plugin.lying("local", "orders").len(), 3);
    assert_eq!(plugin.dead().len(), 5);
    let _: Value = serde_json::from_str(schema).unwrap();
}
