//! A real `rabbitmq-server` of a test's own: free ports, a node name, a port mapper and a folder of its own, gone with
//! the value.
//!
//! It takes some 3 s to answer, more where the machine is busy: tests share one where they can, under queues of
//! different names. A missing program is a failure that says how to install it; no test is skipped for it.
//!
//! What had to be found out, of 3.10 on Erlang 25:
//! - The start script becomes the server only where it believes that systemd started it (`RUNNING_UNDER_SYSTEMD`).
//!   Otherwise it stays in between, and killing it leaves the server behind.
//! - Erlang starts a port mapper (`epmd`) that outlives it and that every node of the machine shares. With one of our own
//!   on a port of its own nothing is left behind, and no service of the machine is met.
//! - The scripts in `PATH` want to be root or `rabbitmq`; those they call do not.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Weak};
use std::time::Duration;

use lapin::options::{ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties};
use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use crate::ports::free_port;

mod queues;

pub use queues::Depth;

/// How long a server may take to answer, or to go away in order.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long an attempt to connect may take. The server may be starting beside others.
const ATTEMPT: Duration = Duration::from_secs(10);
/// Between two looks at something that is waited for.
const LOOK: Duration = Duration::from_millis(20);

/// Where Debian has what the programs in `PATH` only wrap.
const BIN: &str = "/usr/lib/rabbitmq/bin";

/// One server. It keeps ports and data over restarts, and is killed when dropped.
pub struct RabbitServer {
    port: u16,
    /// By which nodes and tools find each other.
    mapper_port: u16,
    /// By which tools speak to the node.
    tools_port: u16,
    folder: TempDir,
    mapper: Child,
    child: Option<Child>,
}

/// Where a server is found that several share while one of them has it.
pub type Shared = Mutex<Weak<RabbitServer>>;

impl RabbitServer {
    /// A running server.
    pub async fn start() -> Self {
        // It takes seconds until it listens, and somebody else may have its ports by then. Nobody knows them yet.
        for _ in 0..2 {
            let mut server = Self::absent(&[]);
            match server.try_run().await {
                Ok(()) => return server,
                Err(problem) if problem.contains("could_not_start_listener") => {}
                Err(problem) => panic!("{problem}"),
            }
        }
        let mut server = Self::absent(&[]);
        server.run().await;
        server
    }

    /// One server, running, of all tests of a process that do nothing to it as a whole. It is there while one of them is.
    pub async fn shared() -> Arc<Self> {
        static SHARED: Shared = Shared::const_new(Weak::new());
        Self::shared_at(&SHARED).await
    }

    /// The same for those who share it at this place, beside the others.
    pub async fn shared_at(place: &Shared) -> Arc<Self> {
        let mut shared = place.lock().await;
        if let Some(server) = shared.upgrade() {
            return server;
        }
        let server = Arc::new(Self::start().await);
        *shared = Arc::downgrade(&server);
        server
    }

    /// A place for a server that is not running yet. `options` are lines of `rabbitmq.conf`.
    pub fn absent(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("written");
        };
        write("rabbitmq.conf", &format!("{}\n", options.join("\n")));
        write("plugins", "[].\n");
        // Otherwise quorum queues say what they hold every five seconds.
        write(
            "advanced.config",
            "[{rabbit, [{quorum_tick_interval, 100}]}].\n",
        );
        let mapper_port = free_port();
        let mapper = Command::new("epmd")
            .args(["-port", &mapper_port.to_string(), "-address", "127.0.0.1"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("epmd cannot be started ({e}): {INSTALL}"));
        Self {
            port: free_port(),
            mapper_port,
            tools_port: free_port(),
            folder,
            mapper,
            child: None,
        }
    }

    /// Starts it, for the first time or again, and waits until it answers.
    pub async fn run(&mut self) {
        if let Err(problem) = self.try_run().await {
            panic!("{problem}");
        }
    }

    async fn try_run(&mut self) -> Result<(), String> {
        assert!(self.child.is_none(), "it is running");
        let log = std::fs::File::create(self.folder.path().join("out")).expect("a log");
        let child = self
            .program("rabbitmq-server")
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn();
        match child {
            Ok(child) => self.child = Some(child),
            Err(e) => panic!("rabbitmq-server cannot be started ({e}): {INSTALL}"),
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.try_connect().await {
                Ok(_) => return Ok(()),
                Err(e) if Instant::now() > deadline => {
                    return Err(format!(
                        "rabbitmq-server does not answer: {e}\n{}",
                        self.said()
                    ));
                }
                Err(_) => {}
            }
            if let Some(child) = &mut self.child
                && let Ok(Some(status)) = child.try_wait()
            {
                let said = self.said();
                return Err(format!("rabbitmq-server ended at once: {status}\n{said}"));
            }
            sleep(LOOK).await;
        }
    }

    /// Its log: for people, when a test fails.
    pub fn logged(&self) -> String {
        let logs = std::fs::read_dir(self.folder.path().join("log"));
        let logs = logs.into_iter().flatten().flatten();
        logs.filter_map(|log| std::fs::read_to_string(log.path()).ok())
            .collect()
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("out")).unwrap_or_default()
    }

    /// One of RabbitMQ's programs, in the surroundings of this node and of no other.
    fn program(&self, name: &str) -> Command {
        let at = |name: &str| self.folder.path().join(name);
        let path = Path::new(BIN).join(name);
        // Elsewhere than on Debian the one in PATH is the program itself.
        let mut command = Command::new(if path.exists() { path } else { name.into() });
        command
            .env("HOME", self.folder.path())
            .env("ERL_EPMD_PORT", self.mapper_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODENAME", format!("wharf{}@localhost", self.port))
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.port.to_string())
            .env("RABBITMQ_DIST_PORT", self.tools_port.to_string())
            .env("RABBITMQ_MNESIA_BASE", at("data"))
            .env("RABBITMQ_LOG_BASE", at("log"))
            .env("RABBITMQ_PID_FILE", at("pid"))
            .env("RABBITMQ_CONFIG_FILE", at("rabbitmq"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", at("advanced.config"))
            .env("RABBITMQ_CONF_ENV_FILE", at("none"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", at("plugins"))
            .env("RUNNING_UNDER_SYSTEMD", "true")
            .env_remove("NOTIFY_SOCKET")
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// Has it write down what it would only write within seconds: which quorum queues there are. One that was declared just
    /// before a kill would be started anew without a leader, and on a server that is alone nobody ever makes it one
    /// (`rabbit_quorum_queue:recover`); whoever consumes from it then waits for ever.
    pub async fn flush(&self) {
        self.ctl(&["eval", FLUSH]).await;
    }

    /// As [`flush`](Self::flush), while nothing else is done.
    pub fn flush_now(&self) {
        let mut command = self.program("rabbitmqctl");
        command
            .args(["--quiet", "eval", FLUSH])
            .stdout(Stdio::null());
        let status = command.status().expect("rabbitmqctl");
        assert!(status.success(), "{status}");
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("killed");
            let status = child.wait().expect("gone");
            assert_eq!(status.signal(), Some(9), "it was gone before");
        }
    }

    /// Stops it in order (SIGTERM).
    pub async fn stop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let pid = child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(told.expect("kill").success());
        let deadline = Instant::now() + PATIENCE;
        while child.try_wait().expect("its state").is_none() {
            assert!(
                Instant::now() < deadline,
                "it does not stop\n{}",
                self.said()
            );
            sleep(LOOK).await;
        }
    }

    /// Kills it and starts it again on the same ports and folder.
    pub async fn restart(&mut self) {
        self.kill();
        self.run().await;
    }

    /// Its address, as everybody's guest.
    pub fn url(&self) -> String {
        Self::url_by(self.port)
    }

    /// The same, for another port: that of a proxy.
    pub fn url_by(port: u16) -> String {
        format!("amqp://guest:guest@127.0.0.1:{port}/%2f")
    }

    /// The port it listens on, at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The client does not answer an attempt that is refused just as it begins (lapin 4.12.3): whoever waits for it waits
    /// for ever.
    async fn try_connect(&self) -> Result<Connection, String> {
        let url = self.url();
        let connecting = Connection::connect(&url, ConnectionProperties::default());
        match timeout(ATTEMPT, connecting).await {
            Ok(connected) => connected.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer in {ATTEMPT:?}")),
        }
    }

    async fn connect(&self) -> Connection {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.try_connect().await {
                Ok(connection) => return connection,
                Err(why) => assert!(Instant::now() < deadline, "{why}\n{}", self.said()),
            }
            sleep(LOOK).await;
        }
    }

    /// A client of the test's own: a channel that confirms. It is open for as long as both live.
    pub async fn client(&self) -> (Connection, Channel) {
        let connection = self.connect().await;
        let channel = connection.create_channel().await.expect("a channel");
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .expect("confirms");
        (connection, channel)
    }

    /// Makes a durable queue of a kind (`classic`, `quorum`), with other arguments.
    pub async fn declare(&self, queue: &str, kind: &str, arguments: &[(&str, AMQPValue)]) {
        let mut table = FieldTable::default();
        table.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
        for (name, value) in arguments {
            table.insert((*name).into(), value.clone());
        }
        let (_connection, channel) = self.client().await;
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        channel
            .queue_declare(queue.into(), options, table)
            .await
            .expect("declared");
    }

    /// Runs `rabbitmqctl` to its end.
    pub async fn try_ctl(&self, words: &[&str]) -> Output {
        let mut command = self.program("rabbitmqctl");
        command.arg("--quiet").args(words);
        tokio::task::spawn_blocking(move || command.output())
            .await
            .expect("a tool")
            .unwrap_or_else(|e| panic!("rabbitmqctl cannot be started ({e}): {INSTALL}"))
    }

    /// As [`try_ctl`](Self::try_ctl); answers what it printed.
    pub async fn ctl(&self, words: &[&str]) -> String {
        let output = self.try_ctl(words).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (printed, errors) = (text(&output.stdout), text(&output.stderr));
        let status = output.status;
        assert!(status.success(), "{words:?}: {status}\n{printed}\n{errors}");
        printed
    }

    /// Channels that are opened from now on wait only so long for a settlement (`consumer_timeout`), and look often.
    pub async fn lose_patience(&self, after: Duration) {
        let set = format!(
            "application:set_env(rabbit, consumer_timeout, {}), application:set_env(rabbit, channel_tick_interval, 100).",
            after.as_millis()
        );
        self.ctl(&["eval", &set]).await;
    }
}

const FLUSH: &str = "[dets:sync(Table) || Table <- dets:all()].";
const INSTALL: &str = "apt-get install rabbitmq-server";

impl Drop for RabbitServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // One that ended by itself is as good.
            drop((child.kill(), child.wait()));
        }
        drop((self.mapper.kill(), self.mapper.wait()));
    }
}
