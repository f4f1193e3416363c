//! What an owner of a partition says to Kafka when it begins and when it ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use wharf::config::kafka::Kafka;
use wharf_tests::kafka_server::KafkaServer;
use wharf_tests::ports::free_port;
use wharf_tests::proxy::Proxy;

use crate::ground::Ground;
use crate::support::*;

/// Whoever stops may end once all is settled: then it is at Kafka, and not on its way there.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_stop_a_settlement_is_told_when_it_is_committed() {
    let mut server = KafkaServer::absent(&[]);
    let at = free_port();
    let proxy = Proxy::start_at(at, server.listen_behind(at)).await;
    server.run().await;
    let ground = Ground::at(Arc::new(server), "told", 1).await;
    let kafka = Kafka::new(format!("127.0.0.1:{at}"));
    let mut host = host_of(&kafka, ground.spec()).await;
    ground.fill(&ground.broker(), 0..5).await;
    let five = host.take(5).await;
    host.source.stop().await;
    proxy.black_hole();
    {
        let accepting = host.accept(five);
        tokio::pin!(accepting);
        let told = timeout(Duration::from_secs(1), accepting.as_mut()).await;
        assert!(told.is_err(), "Kafka has not heard of it: {told:?}");
        assert_eq!(ground.lag().await, 5);
        proxy.heal();
        accepting.await;
    }
    assert_eq!(ground.lag().await, 0);
    host.leave().await;
}

/// An owner says that it has begun before it handles anything: one that dies is missed by the next.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_begins_says_so_at_kafka_and_takes_it_back_in_the_end() {
    let ground = Ground::new("begins", 1).await;
    ground.fill(&ground.broker(), 0..1).await;
    ground.commit(0, "wharf1 ~1").await;
    let mut host = ground.host().await;
    let one = host.take(1).await;
    ground.text_is(|text| text == "wharf1 ~2").await;
    host.accept(one).await;
    host.stop().await;
    ground.text_is(str::is_empty).await;
    assert_eq!(ground.lag().await, 0);
}
