//! Connections: when they are made, how long anything may take, and what an error means.
//!
//! The client's own reconnecting manager is not used: it keeps a demoted node (it does not take READONLY for a reason
//! to leave) and it cannot say whether a reply was lost. Here a connection is thrown away after any error that leaves
//! doubt about it, and whoever needs one next makes it. Nothing waits without a bound: connecting and answering have
//! timeouts, and the client's default of 500 ms per answer (shorter than a blocking read) is never left in place.
//!
//! [`endpoint`] knows where the server is, [`sentinel`] and [`cluster`] where it is after a fail-over, [`words`] what an
//! error means.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::join_all;
use parking_lot::Mutex;
use redis::{Cmd, Pipeline, RedisError, Value};

use crate::ports::BrokerError;

mod cluster;
mod endpoint;
mod health;
mod sentinel;
mod slot;
mod wire;
mod words;

use cluster::{Cluster, Hop, Node};
use wire::Wire;

pub(super) use endpoint::Endpoint;
pub(super) use health::{Backoff, Part, Troubles};
pub(super) use words::{advised, breaks, is_code, said};

/// How often a command may be sent on to another node.
const HOPS: usize = 5;

/// The way to a server for many callers; of a cluster, to each node that is needed.
pub(super) struct Link {
    pub(super) endpoint: Endpoint,
    one: Arc<Wire>,
    /// Of a cluster. Locked for the look-up alone, once for a command or a pipeline.
    nodes: Mutex<HashMap<Node, Arc<Wire>>>,
    /// How often the cluster had been asked when `nodes` were last looked through.
    seen: AtomicU64,
    part: Part,
}

impl Link {
    pub(super) fn new(endpoint: Endpoint, part: Part) -> Self {
        Self {
            one: Arc::new(Wire::new(endpoint.clone(), part.beside())),
            nodes: Mutex::default(),
            seen: AtomicU64::new(0),
            endpoint,
            part,
        }
    }

    /// Carries out one command.
    pub(super) async fn query(&self, cmd: &Cmd) -> Result<Value, RedisError> {
        match self.endpoint.cluster() {
            None => self.one.query(cmd).await,
            Some(cluster) => self.routed(cluster, cmd).await,
        }
    }

    /// Carries out a pipeline; errors of single commands are among the answers. In a cluster each node carries out its
    /// part, and what a node that is away would have done is answered by errors.
    pub(super) async fn pipeline(&self, pipe: &Pipeline) -> Result<Vec<Value>, RedisError> {
        match self.endpoint.cluster() {
            None => self.one.pipeline(pipe).await,
            Some(cluster) => self.divided(cluster, pipe, false).await,
        }
    }

    /// As [`pipeline`](Self::pipeline), and waits until as many replicas have it as the configuration wants. Where they
    /// do not, it is carried out all the same, and the answer is an error.
    pub(super) async fn confirmed(&self, pipe: &Pipeline) -> Result<Vec<Value>, RedisError> {
        match self.endpoint.cluster() {
            None => self.one.confirmed(pipe).await,
            Some(cluster) => self.divided(cluster, pipe, true).await,
        }
    }

    /// The connections to all nodes that have keys.
    pub(super) async fn places(&self) -> Result<Vec<Arc<Wire>>, RedisError> {
        let Some(cluster) = self.endpoint.cluster() else {
            return Ok(vec![Arc::clone(&self.one)]);
        };
        let masters = cluster.masters().await?;
        Ok(masters
            .iter()
            .map(|node| self.wire(cluster, node))
            .collect())
    }

    pub(super) fn error(&self, error: &RedisError) -> BrokerError {
        self.endpoint.error(error)
    }

    fn wire(&self, cluster: &Cluster, node: &Node) -> Arc<Wire> {
        let mut nodes = self.nodes.lock();
        let asked = cluster.asked();
        if self.seen.swap(asked, Ordering::Relaxed) != asked {
            // What is no master any more is waited for by nobody.
            nodes.retain(|node, _| cluster.has(node));
        }
        let wire = nodes.entry(node.clone()).or_insert_with(|| {
            let here = self.endpoint.to(cluster, node);
            Arc::new(Wire::new(here, self.part.beside()))
        });
        Arc::clone(wire)
    }

    /// The node of a command's key. Where nobody says which that is, that is told.
    async fn node(&self, cluster: &Cluster, cmd: &Cmd) -> Result<Node, RedisError> {
        match cluster.node(slot::of_command(cmd)).await {
            Ok(node) => {
                self.part.well();
                Ok(node)
            }
            Err(e) => {
                self.part.trouble(&self.error(&e).to_string());
                Err(e)
            }
        }
    }

    async fn routed(&self, cluster: &Cluster, cmd: &Cmd) -> Result<Value, RedisError> {
        let mut node = self.node(cluster, cmd).await?;
        let mut hops = 0;
        loop {
            let wire = self.wire(cluster, &node);
            let error = match wire.query(cmd).await {
                Ok(answer) => return Ok(answer),
                Err(e) => e,
            };
            hops += 1;
            match Hop::of(&error, &node) {
                Some(Hop::Moved(to)) if hops < HOPS => {
                    cluster.moved(slot::of_command(cmd), &to);
                    node = to;
                }
                Some(Hop::Ask(to)) if hops < HOPS => {
                    return announced(&self.wire(cluster, &to), cmd).await;
                }
                _ => {
                    if breaks(&error) {
                        cluster.forget();
                    }
                    return Err(error);
                }
            }
        }
    }

    async fn divided(
        &self,
        cluster: &Cluster,
        pipe: &Pipeline,
        confirmed: bool,
    ) -> Result<Vec<Value>, RedisError> {
        let cmds: Vec<&Cmd> = pipe.cmd_iter().collect();
        let mut by_node: BTreeMap<Node, Vec<usize>> = BTreeMap::new();
        for (at, cmd) in cmds.iter().enumerate() {
            let node = self.node(cluster, cmd).await?;
            by_node.entry(node).or_default().push(at);
        }
        let parts = by_node.into_iter().map(|(node, places)| {
            let wire = self.wire(cluster, &node);
            let mut part = redis::pipe();
            part.ignore_errors();
            for at in &places {
                part.add_command(cmds[*at].clone());
            }
            async move {
                let answers = if confirmed {
                    wire.confirmed(&part).await
                } else {
                    wire.pipeline(&part).await
                };
                (node, places, answers)
            }
        });
        let mut results = vec![Value::Nil; cmds.len()];
        let mut again = Vec::new();
        for (node, places, answers) in join_all(parts).await {
            match answers {
                Ok(answers) => {
                    for (at, answer) in places.into_iter().zip(answers) {
                        match hop(&answer, &node) {
                            // It was not carried out. Who has to wait for replicas comes again by the right way.
                            Some(Hop::Moved(to))
                                if confirmed && self.endpoint.replicas.is_some() =>
                            {
                                cluster.moved(slot::of_command(cmds[at]), &to);
                            }
                            Some(_) => again.push(at),
                            None => {}
                        }
                        results[at] = answer;
                    }
                }
                Err(e) => {
                    if breaks(&e) {
                        cluster.forget();
                    }
                    let said = self.endpoint.to(cluster, &node).at;
                    for at in places {
                        results[at] = failure(&said, &e);
                    }
                }
            }
        }
        // Those of a slot that moved, one after the other, so that their order is kept.
        again.sort_unstable();
        for at in again {
            results[at] = match self.routed(cluster, cmds[at]).await {
                Ok(answer) => answer,
                Err(e) => failure(&self.endpoint.at, &e),
            };
        }
        Ok(results)
    }
}

/// A command that another node was named for, this once.
async fn announced(wire: &Wire, cmd: &Cmd) -> Result<Value, RedisError> {
    let mut pipe = redis::pipe();
    pipe.ignore_errors();
    pipe.cmd("ASKING");
    pipe.add_command(cmd.clone());
    match wire.pipeline(&pipe).await?.pop() {
        Some(Value::ServerError(e)) => Err(e.into()),
        Some(answer) => Ok(answer),
        None => Err(RedisError::from(std::io::Error::other("no answer"))),
    }
}

fn hop(answer: &Value, node: &Node) -> Option<Hop> {
    match answer {
        Value::ServerError(e) => Hop::of(&RedisError::from(e.clone()), node),
        _ => None,
    }
}

/// What a command is answered that was not carried out, or of which that is not known.
fn failure(at: &str, error: &RedisError) -> Value {
    let said = error.to_string().replace(['\r', '\n'], " ");
    redis::parse_redis_value(format!("-UNCONFIRMED redis at {at}: {said}\r\n").as_bytes())
        .unwrap_or(Value::Nil)
}
