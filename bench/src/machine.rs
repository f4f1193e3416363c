//! The machine, and what else it did meanwhile.

use std::time::Duration;

use anyhow::Context;
use tokio::time::Instant;

use crate::process;

/// Clock ticks of `/proc` a second. The kernel shows user space this number whatever its own is.
pub(crate) const TICKS: f64 = 100.0;

/// A point in time and what the whole machine and our processes had used by then.
pub(crate) struct Moment {
    at: Instant,
    /// Seconds of CPU, all cores.
    busy: f64,
    /// Seconds of CPU of this process and the children it has waited for.
    ours: f64,
}

impl Moment {
    pub(crate) fn now() -> anyhow::Result<Self> {
        Ok(Self {
            at: Instant::now(),
            busy: busy().context("/proc/stat")?,
            ours: process::own_cpu_with_children()?.as_secs_f64(),
        })
    }
}

/// One line: cores, processor, kernel, memory, and how many cores others kept busy since `began`. To be asked when all
/// children have been waited for, or they count as others.
pub(crate) fn line(began: &Moment) -> anyhow::Result<String> {
    let now = Moment::now()?;
    let wall = (now.at - began.at).as_secs_f64();
    let others = ((now.busy - began.busy) - (now.ours - began.ours)).max(0.0) / wall;
    Ok(format!(
        "machine: {} cores, {}, {} memory, Linux {}; others kept {others:.2} cores busy during these {}",
        std::thread::available_parallelism()?,
        first("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".into()),
        first("/proc/meminfo", "MemTotal").unwrap_or_else(|| "unknown".into()),
        std::fs::read_to_string("/proc/sys/kernel/osrelease")
            .unwrap_or_default()
            .trim(),
        human(Duration::from_secs_f64(wall)),
    ))
}

fn human(wall: Duration) -> String {
    match wall.as_secs() {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    }
}

/// The value of the first line of `file` that begins with `name`.
fn first(file: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// CPU seconds used by anybody: all but idle, waiting for the disk, and guests (which count as user already).
fn busy() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("empty")?;
    let ticks: Vec<f64> = line
        .split_whitespace()
        .skip(1)
        .filter_map(|n| n.parse().ok())
        .collect();
    let used = ticks
        .iter()
        .take(8)
        .enumerate()
        .filter(|(i, _)| ![3, 4].contains(i))
        .map(|(_, t)| t);
    Ok(used.sum::<f64>() / TICKS)
}
