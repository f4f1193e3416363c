//! Whether memory of this process can be swapped out.

use std::fs;

/// True unless there is no swap at all, or this control group may not use any.
pub(super) fn possible() -> bool {
    let swaps = fs::read_to_string("/proc/swaps");
    if swaps.is_ok_and(|text| !any_swap(&text)) {
        return false;
    }
    let group = fs::read_to_string("/proc/self/cgroup")
        .ok()
        .and_then(|text| {
            own_group(&text).map(|group| format!("/sys/fs/cgroup{group}/memory.swap.max"))
        });
    let denied = group
        .and_then(|path| fs::read_to_string(path).ok())
        .is_some_and(|max| max.trim() == "0");
    !denied
}

/// One line of heading, then one per swap area.
fn any_swap(proc_swaps: &str) -> bool {
    proc_swaps
        .lines()
        .skip(1)
        .any(|line| !line.trim().is_empty())
}

/// The group in the unified hierarchy.
fn own_group(proc_self_cgroup: &str) -> Option<&str> {
    proc_self_cgroup
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernel_files() {
        let heading = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
        assert!(!any_swap(heading));
        assert!(any_swap(&format!(
            "{heading}/dev/zram0 partition 1024 0 100\n"
        )));
        assert_eq!(own_group("1:cpu:/a\n0::/b/c\n"), Some("/b/c"));
        assert_eq!(own_group("1:cpu:/a\n"), None);
    }
}
