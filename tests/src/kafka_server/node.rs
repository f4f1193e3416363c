//! One broker: a Java process with a folder of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tokio::time::Instant;

use super::{LOOK, metadata};

/// Any 16 bytes in the alphabet of base64 for URLs.
const CLUSTER: &str = "wharf-tests-kafka-0001";
/// Small, and quick to start: no second compiler, the plainest collector.
const JVM: [&str; 4] = [
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
];

/// `java` with these jars, which a class and its arguments are still to be given to.
pub(super) fn java(jars: &Path) -> Command {
    let mut command = Command::new("java");
    command.args(JVM).arg("-cp").arg(jars.join("*"));
    command
}

/// Where a broker in `folder` writes what it has to say.
pub(super) fn log(folder: &Path) -> PathBuf {
    folder.join("server.log")
}

/// A further way in.
#[derive(Debug)]
pub(super) struct Listener {
    /// In capital letters.
    pub(super) name: &'static str,
    /// Kafka's word: `SSL`, `SASL_PLAINTEXT`.
    pub(super) protocol: &'static str,
    pub(super) port: u16,
    /// Where clients that came this way are told to come.
    pub(super) advertised: u16,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: usize,
    /// Where clients come in.
    pub(super) port: u16,
    /// Where clients are told to come.
    pub(super) advertised: u16,
    /// Further ways in.
    pub(super) listeners: Vec<Listener>,
    /// Users with a password that the server keeps as a salted hash, as its own tool is told of them.
    pub(super) users: Vec<String>,
    /// Where the other controllers come in.
    controller: u16,
    folder: PathBuf,
    child: Option<Child>,
}

impl Node {
    pub(super) fn new(id: usize, port: u16, controller: u16) -> Self {
        Self {
            id,
            port,
            advertised: port,
            listeners: Vec::new(),
            users: Vec::new(),
            controller,
            folder: PathBuf::new(),
            child: None,
        }
    }

    /// How it stands in the list of controllers.
    pub(super) fn voter(&self) -> String {
        format!("{}@127.0.0.1:{}", self.id, self.controller)
    }

    pub(super) fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Its process.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(std::process::Child::id)
    }

    /// Starts it in `folder`, which is made ready the first time.
    pub(super) fn spawn(
        &mut self,
        jars: &Path,
        folder: PathBuf,
        voters: &str,
        count: usize,
        options: &[String],
    ) {
        let properties = folder.join("server.properties");
        if !properties.exists() {
            fs::create_dir_all(&folder).expect("a folder for the broker");
            let lines = self.properties(&folder, voters, count, options);
            fs::write(&properties, lines).expect("written");
            format(jars, &properties, &self.users);
        }
        let log = File::options().create(true).append(true).open(log(&folder));
        let log = log.expect("a log");
        let child = java(jars)
            .arg("kafka.Kafka")
            .arg(&properties)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn();
        match child {
            Ok(child) => self.child = Some(child),
            Err(e) => {
                panic!("java cannot be started ({e}): apt-get install openjdk-17-jre-headless")
            }
        }
        self.folder = folder;
    }

    fn properties(&self, folder: &Path, voters: &str, count: usize, options: &[String]) -> String {
        let replicas = count.min(3);
        let data = folder.join("data");
        let further = |of: &dyn Fn(&Listener) -> String| -> String {
            self.listeners
                .iter()
                .map(|l| format!(",{}", of(l)))
                .collect()
        };
        let mut lines = vec![
            "process.roles=broker,controller".to_owned(),
            format!("node.id={}", self.id),
            format!("controller.quorum.voters={voters}"),
            format!(
                "listeners=PLAINTEXT://127.0.0.1:{},CONTROLLER://127.0.0.1:{}{}",
                self.port,
                self.controller,
                further(&|l| format!("{}://127.0.0.1:{}", l.name, l.port))
            ),
            format!(
                "advertised.listeners=PLAINTEXT://127.0.0.1:{}{}",
                self.advertised,
                further(&|l| format!("{}://127.0.0.1:{}", l.name, l.advertised))
            ),
            "controller.listener.names=CONTROLLER".to_owned(),
            "inter.broker.listener.name=PLAINTEXT".to_owned(),
            format!(
                "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{}",
                further(&|l| format!("{}:{}", l.name, l.protocol))
            ),
            format!("log.dirs={}", data.display()),
            // What is missing is missing: no topic comes from asking for it.
            "auto.create.topics.enable=false".to_owned(),
            "offsets.topic.num.partitions=4".to_owned(),
            format!("offsets.topic.replication.factor={replicas}"),
            "transaction.state.log.num.partitions=4".to_owned(),
            format!("transaction.state.log.replication.factor={replicas}"),
            "transaction.state.log.min.isr=1".to_owned(),
            "share.coordinator.state.topic.num.partitions=4".to_owned(),
            format!("share.coordinator.state.topic.replication.factor={replicas}"),
            "share.coordinator.state.topic.min.isr=1".to_owned(),
            "group.initial.rebalance.delay.ms=0".to_owned(),
            // The shortest sessions a member may ask for, so that a dead one is missed soon.
            "group.min.session.timeout.ms=1000".to_owned(),
            "group.consumer.min.session.timeout.ms=1000".to_owned(),
            "group.consumer.min.heartbeat.interval.ms=300".to_owned(),
            // A broker that was killed is let in again only when its session has ended: 9 s by default.
            "broker.session.timeout.ms=3000".to_owned(),
            "broker.heartbeat.interval.ms=500".to_owned(),
        ];
        lines.extend(options.iter().cloned());
        lines.push(String::new());
        lines.join("\n")
    }

    /// Waits until it knows `count` brokers.
    pub(super) async fn wait_until_up(&mut self, count: usize, deadline: Instant) {
        loop {
            let answer = metadata::brokers(self.port).await;
            if answer.as_ref().is_ok_and(|known| *known >= count) {
                return;
            }
            if let Some(child) = &mut self.child
                && let Ok(Some(status)) = child.try_wait()
            {
                panic!("Kafka ended at once: {status}\n{}", self.said());
            }
            assert!(
                Instant::now() < deadline,
                "Kafka does not answer: {answer:?}\n{}",
                self.said()
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The end of its log.
    fn said(&self) -> String {
        let said = fs::read_to_string(log(&self.folder)).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("killed");
            child.wait().expect("gone");
        }
    }

    /// Asks it to end (SIGTERM).
    pub(super) fn terminate(&self) {
        if let Some(child) = &self.child {
            let status = Command::new("kill")
                .args(["-TERM", &child.id().to_string()])
                .status()
                .expect("kill");
            assert!(status.success(), "it was gone already");
        }
    }

    pub(super) async fn wait_until_down(&mut self, deadline: Instant) {
        while let Some(child) = &mut self.child {
            if child.try_wait().expect("its state").is_some() {
                self.child = None;
                return;
            }
            assert!(
                Instant::now() < deadline,
                "Kafka does not end\n{}",
                self.said()
            );
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Makes the data folder ready.
fn format(jars: &Path, properties: &Path, users: &[String]) {
    let output = java(jars)
        .args(["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c"])
        .arg(properties)
        .args(users.iter().flat_map(|user| ["--add-scram", user]))
        .output();
    match output {
        Ok(output) if output.status.success() => {}
        Ok(output) => panic!(
            "the folder of Kafka cannot be made: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(e) => panic!("java cannot be started ({e}): apt-get install openjdk-17-jre-headless"),
    }
}
