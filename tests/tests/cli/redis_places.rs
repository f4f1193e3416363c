//! `publish`, `tail` and `dlq` on lists and sorted sets of a real Redis server.

use redis::Value;
use wharf_tests::redis_server::RedisServer;

use super::support::World;

/// A list and a sorted set that are read, with dead letters in a place of this kind.
async fn world(dead: &str) -> (RedisServer, World) {
    let server = RedisServer::start().await;
    let world = World::new();
    let text = format!(
        "version: 1\nbrokers:\n  cache: {{ type: redis, url: \"{}\" }}\nplugins:\n  p:\n    component: handler.wasm\n    \
         subscribe:\n      jobs: {{ broker: cache, list: jobs }}\n      urgent: {{ broker: cache, sorted_set: urgent }}\n    \
         dead_letter: {{ {dead}: \"dead.{{subscription}}\" }}\n",
        server.url()
    );
    world.write("wharf.yaml", text);
    (server, world)
}

fn ids(world: &World, place: &str) -> Vec<String> {
    let printed = world
        .run(&["tail", "cache", place, "--from-start", "--json"])
        .ok();
    let id = |line: serde_json::Value| line["id"].as_str().unwrap().to_owned();
    printed.json().into_iter().map(id).collect()
}

fn lines(count: usize) -> String {
    let line = |i| {
        let cause = if i % 2 == 0 { "rejected" } else { "trap" };
        format!(
            "{{\"id\":\"{i}\",\"payload_text\":\"same\",\"priority\":7,\"headers\":{{\"wharf-cause\":\"{cause}\"}}}}\n"
        )
    };
    (0..count).map(line).collect()
}

#[tokio::test]
async fn published_and_looked_at_without_consuming() {
    let (server, world) = world("list").await;
    world.write("messages.jsonl", lines(5));
    for place in ["jobs", "urgent"] {
        world
            .run(&["publish", "cache", place, "--file", "messages.jsonl"])
            .ok();
    }
    assert_eq!(server.command("LLEN jobs").await, Value::Int(5));
    assert_eq!(server.command("ZCARD urgent").await, Value::Int(5));
    let _ = server.command("LPUSH jobs plain").await;
    for _ in 0..2 {
        let shown = world
            .run(&["tail", "cache", "jobs", "--from-start", "--json"])
            .ok();
        let shown = shown.json();
        assert_eq!(shown.len(), 6, "nothing was consumed");
        assert_eq!(
            (&shown[0]["id"], &shown[4]["id"]),
            (&"0".into(), &"4".into())
        );
        assert!(shown[5].to_string().contains("plain"), "{}", shown[5]);
    }
    let mut urgent = ids(&world, "urgent");
    urgent.sort();
    assert_eq!(urgent, ["0", "1", "2", "3", "4"]);
    let newest = world
        .run(&["tail", "cache", "jobs", "-n", "2", "--json"])
        .ok();
    assert_eq!(newest.json()[0]["id"], "4");
    let followed = world.run(&["tail", "cache", "jobs", "--follow"]);
    assert_eq!(followed.code, 64, "{followed:?}");
    assert!(followed.err.contains("is a list"), "{followed:?}");
}

#[tokio::test]
async fn the_kind_of_a_place_can_be_said() {
    let (server, world) = world("list").await;
    for (kind, wanted) in [
        ("list", "list"),
        ("sorted-set", "zset"),
        ("stream", "stream"),
    ] {
        let place = format!("new-{kind}");
        let said = ["publish", "cache", &place, "--kind", kind, "--payload", "x"];
        world.run(&said).ok();
        let is = server.command(&format!("TYPE {place}")).await;
        assert_eq!(is, Value::SimpleString(wanted.into()));
    }
    let said = [
        "publish",
        "cache",
        "news",
        "--kind",
        "channel",
        "--payload",
        "x",
    ];
    world.run(&said).ok();
    let to = ["publish", "--to", "p/urgent", "--payload", "x"];
    world.run(&to).ok();
    assert_eq!(server.command("ZCARD urgent").await, Value::Int(1));
}

/// Letters of equal payload, more than are read at once; half of them go back, each once, and the others are purged.
#[tokio::test]
async fn dead_letters_are_listed_redriven_and_purged() {
    for dead in ["list", "sorted_set", "stream"] {
        let (server, world) = world(dead).await;
        world.write("letters.jsonl", lines(600));
        world
            .run(&["publish", "cache", "dead.jobs", "--file", "letters.jsonl"])
            .ok();
        let listed = world.run(&["dlq", "list", "--json"]).ok().json();
        assert_eq!(listed[0]["letters"], 600, "{dead}: {listed:?}");
        let shown = world
            .run(&["dlq", "show", "p/jobs", "--id", "17", "--json"])
            .ok();
        assert_eq!(shown.json().len(), 1, "{dead}");
        world
            .run(&["dlq", "redrive", "p/jobs", "--cause", "rejected"])
            .ok();
        let mut back = ids(&world, "retry.jobs.p");
        back.sort_by_key(|id| id.parse::<usize>().unwrap());
        let even: Vec<String> = (0..600).step_by(2).map(|i| i.to_string()).collect();
        assert_eq!(back, even, "{dead}");
        assert_eq!(
            server.command("TYPE retry.jobs.p").await,
            Value::SimpleString("list".into()),
            "where the subscription reads them"
        );
        let mut left = ids(&world, "dead.jobs");
        left.sort_by_key(|id| id.parse::<usize>().unwrap());
        let odd: Vec<String> = (1..600).step_by(2).map(|i| i.to_string()).collect();
        assert_eq!(left, odd, "{dead}");
        world.run(&["dlq", "purge", "p/jobs", "--yes"]).ok();
        assert_eq!(
            server.command("EXISTS dead.jobs").await == Value::Int(0),
            dead != "stream"
        );
        assert_eq!(ids(&world, "dead.jobs"), Vec::<String>::new(), "{dead}");
    }
}
