//! What this machine, or the container around us, has to give.

use std::path::Path;
use std::time::Duration;

/// A broker that does not close within this is left to the operating system.
pub const CLOSE: Duration = Duration::from_secs(5);

/// Share of the memory that guests may use together where the configuration does not say.
const GUEST_SHARE: f64 = 0.6;

/// Cores this process may use, at least 1.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The default guest budget in bytes: a share of the cgroup's limit, or of the machine's memory where there is none.
pub fn guest_memory() -> u64 {
    let machine = machine_memory(Path::new("/proc/meminfo")).unwrap_or(1 << 30);
    let limit =
        cgroup_limit(Path::new("/sys/fs/cgroup")).map_or(machine, |limit| limit.min(machine));
    (limit as f64 * GUEST_SHARE) as u64
}

/// The memory limit of the cgroup (version 2, then 1), where there is one.
fn cgroup_limit(root: &Path) -> Option<u64> {
    ["memory.max", "memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|file| {
            std::fs::read_to_string(root.join(file))
                .ok()?
                .trim()
                .parse()
                .ok()
        })
}

fn machine_memory(meminfo: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(meminfo).ok()?;
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_forms_of_a_cgroup_and_no_limit() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(cgroup_limit(dir.path()), None);
        std::fs::write(dir.path().join("memory.max"), "max\n").unwrap();
        assert_eq!(cgroup_limit(dir.path()), None, "no limit");
        std::fs::create_dir(dir.path().join("memory")).unwrap();
        std::fs::write(dir.path().join("memory/memory.limit_in_bytes"), "1048576\n").unwrap();
        assert_eq!(cgroup_limit(dir.path()), Some(1 << 20));
        std::fs::write(dir.path().join("memory.max"), "2097152\n").unwrap();
        assert_eq!(cgroup_limit(dir.path()), Some(2 << 20));
    }

    #[test]
    fn reads_the_machine() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("meminfo");
        std::fs::write(&file, "MemTotal:       1024 kB\nMemFree: 1 kB\n").unwrap();
        assert_eq!(machine_memory(&file), Some(1 << 20));
    }
}
