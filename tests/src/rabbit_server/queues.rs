//! What the queues of a server hold, as its own tools say.

use std::collections::BTreeMap;

use lapin::Connection;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use tokio::time::{Instant, sleep};

use super::{LOOK, PATIENCE, RabbitServer};

/// What a queue holds, as the server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    /// Not delivered.
    pub ready: u64,
    /// Delivered and not settled.
    pub unacked: u64,
    /// Who reads it.
    pub consumers: u64,
}

impl RabbitServer {
    /// From now on quorum queues write nothing, as on a disk that stalls: what is done to them takes effect after
    /// [`recover`](Self::recover).
    pub async fn stall(&self) {
        self.ctl(&["eval", STALL]).await;
    }

    /// They write again.
    pub async fn recover(&self) {
        self.ctl(&["eval", "stall ! over."]).await;
    }

    /// How many messages of a queue are ready, as a client is told; none where there is no such queue.
    pub async fn ready(&self, connection: &Connection, queue: &str) -> u64 {
        // A queue that is missing closes the channel.
        let channel = connection.create_channel().await.expect("a channel");
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let asked = channel
            .queue_declare(queue.into(), options, FieldTable::default())
            .await;
        let Ok(found) = asked else { return 0 };
        channel.close(200, "".into()).await.expect("closed");
        found.message_count().into()
    }

    /// What a queue holds; `None` where there is none.
    pub async fn depth(&self, queue: &str) -> Option<Depth> {
        self.depths().await.remove(queue)
    }

    /// What every queue holds.
    pub async fn depths(&self) -> BTreeMap<String, Depth> {
        let table = self.ctl(&["eval", DEPTHS]).await;
        let row = |line: &str| {
            let mut words = line.split('\t');
            let name = words.next()?.to_owned();
            let mut number = || words.next()?.trim().parse().ok();
            let depth = Depth {
                ready: number()?,
                unacked: number()?,
                consumers: number()?,
            };
            Some((name, depth))
        };
        table.lines().filter_map(row).collect()
    }

    /// Waits until a queue holds what `wanted` takes.
    pub async fn until(&self, queue: &str, wanted: impl Fn(Depth) -> bool) -> Depth {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let depth = self.depth(queue).await;
            if let Some(depth) = depth.filter(|d| wanted(*d)) {
                return depth;
            }
            assert!(Instant::now() < deadline, "{queue} holds {depth:?}");
            // A tool is a whole virtual machine: it takes more of the machine than what is looked at.
            sleep(LOOK * 5).await;
        }
    }

    /// Takes everything that is ready out of a queue.
    pub async fn purge(&self, queue: &str) {
        self.ctl(&["purge_queue", queue]).await;
    }
}

/// A process that is suspended goes on when the one that suspended it ends.
const STALL: &str = "Log = whereis(ra_log_wal), Me = self(), spawn(fun() -> register(stall, self()), erlang:suspend_process(Log), Me ! stalled, receive over -> ok end end), receive stalled -> ok end.";
/// The queues are asked themselves: `list_queues` is told by quorum queues every five seconds, and not of a message that is
/// on its way to where dead letters go. One that does not answer holds something that is not known.
const DEPTHS: &str = r#"
    Quorum = fun(S) ->
        {Leaving, _} = rabbit_fifo:query_stat_dlx(S),
        [rabbit_fifo:query_messages_ready(S) + Leaving, rabbit_fifo:query_messages_checked_out(S), rabbit_fifo:query_consumer_count(S)]
    end,
    Ask = fun(Q) ->
        case amqqueue:get_type(Q) of
            rabbit_quorum_queue ->
                {ok, {_, Counts}, _} = ra:leader_query(amqqueue:get_pid(Q), Quorum, 5000),
                Counts;
            _ ->
                [Count || {_, Count} <- rabbit_amqqueue:info(Q, [messages_ready, messages_unacknowledged, consumers])]
        end
    end,
    Row = fun(Q) ->
        Counts = try Ask(Q) catch _:_ -> [0, 1, 0] end,
        io:format("~s\t~w\t~w\t~w~n", [element(4, amqqueue:get_name(Q)) | Counts])
    end,
    lists:foreach(Row, rabbit_amqqueue:list()).
"#;
