//! The servers of the other tests do what those rely on.

use wharf_tests::kafka_server::KafkaServer;

const PRODUCER: &str = "ConsoleProducer";
const CONSUMER: &str = "consumer.ConsoleConsumer";

/// Reads `count` messages as a member of a group, which commits at its end.
async fn consume(server: &KafkaServer, topic: &str, group: &str, count: &str) -> Vec<String> {
    let words = [
        "--topic",
        topic,
        "--group",
        group,
        "--from-beginning",
        "--max-messages",
        count,
    ];
    let printed = server.tool(CONSUMER, &words, "").await;
    let mut lines: Vec<String> = printed.lines().map(str::to_owned).collect();
    lines.retain(|line| !line.is_empty());
    lines.sort();
    lines
}

#[tokio::test]
async fn one_broker_keeps_messages_and_offsets_over_kill_and_stop() {
    let mut server = KafkaServer::start().await;
    server.create_topic("orders", 2).await;
    server
        .tool(PRODUCER, &["--topic", "orders"], "a\nb\nc\n")
        .await;
    assert_eq!(consume(&server, "orders", "g", "3").await, ["a", "b", "c"]);

    server.restart().await;
    server.tool(PRODUCER, &["--topic", "orders"], "d\n").await;
    let group = server.group("g").await;
    let sum = |of: fn(&(String, i32, i64, i64)) -> i64| group.iter().map(of).sum::<i64>();
    assert_eq!((sum(|row| row.2), sum(|row| row.3)), (3, 1), "{group:?}");

    server.stop().await;
    server.run().await;
    assert_eq!(
        consume(&server, "orders", "other", "4").await,
        ["a", "b", "c", "d"]
    );
}

#[tokio::test]
async fn what_does_not_exist_is_not_made_by_asking_for_it() {
    let server = KafkaServer::start().await;
    let words = ["--describe", "--topic", "nowhere"];
    let answer = server.try_tool("TopicCommand", &words, "").await;
    assert!(!answer.status.success());
}

#[tokio::test]
async fn three_brokers_take_writes_while_one_is_dead() {
    let mut servers = KafkaServer::start_three().await;
    servers.create_topic("orders", 3).await;
    servers.kill_one(1);
    let words = ["--topic", "orders", "--command-property", "acks=all"];
    servers.tool(PRODUCER, &words, "a\nb\n").await;
    servers.run().await;
    assert_eq!(consume(&servers, "orders", "g", "2").await, ["a", "b"]);
}
