//! Child processes and what they use, read from `/proc`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::machine::TICKS;

/// How long an orderly stop may take.
const STOP: Duration = Duration::from_secs(30);

/// A child whose CPU and memory are its own. Killed when dropped.
pub(crate) struct Running {
    child: Child,
    pid: u32,
    what: &'static str,
}

impl Running {
    pub(crate) fn start(what: &'static str, mut command: Command) -> anyhow::Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start the {what}"))?;
        let pid = child.id().context("it ended at once")?;
        Ok(Self { child, pid, what })
    }

    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of(self.pid).with_context(|| format!("the {} is gone", self.what))
    }

    /// Fails where it has ended by itself.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the {} ended by itself: {status}", self.what),
        }
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// SIGTERM, and exit code 0 within [`STOP`].
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.pid)
            .ok()
            .and_then(Pid::from_raw)
            .context("a pid")?;
        kill_process(pid, Signal::TERM)?;
        let ended = timeout(STOP, self.child.wait()).await;
        let status = ended.with_context(|| format!("the {} does not stop", self.what))??;
        ensure!(status.success(), "the {} stopped with {status}", self.what);
        Ok(())
    }
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// CPU, user and system.
    pub(crate) cpu: Duration,
    /// Most memory it ever had resident, in bytes.
    pub(crate) peak: u64,
}

impl Usage {
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let folder = format!("/proc/{pid}");
        Ok(Self {
            cpu: cpu(&stat(Path::new(&folder))?[0..2]),
            peak: peak(Path::new(&folder))?,
        })
    }
}

/// CPU this process has used, in steps of 10 ms.
pub(crate) fn own_cpu() -> anyhow::Result<Duration> {
    Ok(cpu(&stat(Path::new("/proc/self"))?[0..2]))
}

/// The same with the children that were waited for.
pub(crate) fn own_cpu_with_children() -> anyhow::Result<Duration> {
    Ok(cpu(&stat(Path::new("/proc/self"))?))
}

fn cpu(ticks: &[f64]) -> Duration {
    Duration::from_secs_f64(ticks.iter().sum::<f64>() / TICKS)
}

/// User, system, and both of the children, in ticks.
fn stat(folder: &Path) -> anyhow::Result<[f64; 4]> {
    let text = std::fs::read_to_string(folder.join("stat"))?;
    // The name before may hold anything, parentheses included.
    let after_name = text.rsplit_once(')').context("no name")?.1;
    let mut fields = after_name
        .split_whitespace()
        .skip(11)
        .map(str::parse::<f64>);
    let mut next = || fields.next().context("too short")?.context("no number");
    Ok([next()?, next()?, next()?, next()?])
}

fn peak(folder: &Path) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(folder.join("status"))?;
    let line = text
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .context("no VmHWM")?;
    let kib: u64 = line
        .split_whitespace()
        .nth(1)
        .context("no value")?
        .parse()?;
    Ok(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_own_stat() {
        let me = Usage::of(std::process::id()).unwrap();
        assert!(me.peak > 1 << 20, "{me:?}");
        let before = own_cpu().unwrap();
        let mut sum = 0_u64;
        while own_cpu().unwrap() < before + Duration::from_millis(50) {
            for i in 0..100_000_u64 {
                sum = std::hint::black_box(sum.wrapping_add(i));
            }
        }
        assert!(own_cpu_with_children().unwrap() >= own_cpu().unwrap() - Duration::from_millis(20));
    }
}
