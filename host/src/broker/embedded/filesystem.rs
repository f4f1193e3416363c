//! Refuses file systems on which SQLite's locks and shared memory cannot be trusted.
//!
//! `statfs` names the type by a magic number. FUSE is one number for many file systems, so there the mount table is
//! asked for the subtype: remote ones are refused, local ones (overlays, encrypted folders, NTFS) are not.

use std::path::Path;

/// Magic numbers of file systems that are on another machine, or shared between machines.
const REMOTE: &[(u32, &str)] = &[
    (0x0000_6969, "NFS"),
    (0x0000_517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x7461_636f, "OCFS2"),
    (0x0116_1970, "GFS2"),
    (0x1983_0326, "BeeGFS"),
    (0x4750_4653, "GPFS"),
    (0x7375_7245, "Coda"),
    (0x0000_564c, "NCP"),
    (0x786f_4256, "VirtualBox shared folder"),
];

const FUSE: u32 = 0x6573_5546;

/// FUSE subtypes that keep their data on this machine.
const LOCAL_FUSE: &[&str] = &[
    "fuseblk",
    "fuse",
    "fuse.fuse-overlayfs",
    "fuse.bindfs",
    "fuse.gocryptfs",
    "fuse.encfs",
    "fuse.cryfs",
    "fuse.mergerfs",
    "fuse.ntfs-3g",
    "fuse.ext4",
    "fuse.lxcfs",
];

/// The name of the file system under `folder` where it must be refused.
pub(super) fn remote(folder: &Path) -> std::io::Result<Option<String>> {
    let magic = rustix::fs::statfs(folder)?.f_type;
    // The magic is 32 bits wide, whatever the width of the field; some are sign-extended.
    let magic = magic as u32;
    let subtype = if magic == FUSE {
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let folder = folder.canonicalize()?;
        mounted_type(&table, &folder)
    } else {
        None
    };
    Ok(refused(magic, subtype.as_deref()))
}

/// The decision, from what the system said.
fn refused(magic: u32, subtype: Option<&str>) -> Option<String> {
    if magic == FUSE {
        let subtype = subtype.unwrap_or("fuse");
        return (!LOCAL_FUSE.contains(&subtype)).then(|| subtype.to_owned());
    }
    REMOTE
        .iter()
        .find(|(known, _)| *known == magic)
        .map(|(_, name)| (*name).to_owned())
}

/// The type of the innermost mount that holds `folder`, from a mount table.
fn mounted_type(table: &str, folder: &Path) -> Option<String> {
    table
        .lines()
        .filter_map(|line| {
            // "36 35 98:0 /root /mount/point rw,noatime shared:1 - type source options"
            let (before, after) = line.split_once(" - ")?;
            let point = before.split(' ').nth(4)?.replace("\\040", " ");
            let kind = after.split(' ').next()?;
            folder
                .starts_with(&point)
                .then(|| (point.len(), kind.to_owned()))
        })
        // The last of equals is mounted over the earlier ones; `max_by_key` returns the last.
        .max_by_key(|(len, _)| *len)
        .map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_file_systems_are_named() {
        let cases = [
            (0x6969, None, Some("NFS")),
            (0xff53_4d42, None, Some("CIFS")),
            (0x0102_1997, None, Some("9p")),
            (FUSE, Some("fuse.sshfs"), Some("fuse.sshfs")),
            (FUSE, Some("fuse.s3fs"), Some("fuse.s3fs")),
            (FUSE, Some("fuseblk"), None),
            (FUSE, Some("fuse.fuse-overlayfs"), None),
            (0xef53, None, None),
            (0x0102_1994, None, None),
        ];
        for (magic, subtype, expected) in cases {
            assert_eq!(
                refused(magic, subtype).as_deref(),
                expected,
                "{magic:x} {subtype:?}"
            );
        }
    }

    #[test]
    fn the_innermost_mount_decides() {
        let table = "1 0 8:1 / / rw - ext4 /dev/a rw\n\
                     2 1 0:40 / /mnt rw - ext4 /dev/b rw\n\
                     3 2 0:41 / /mnt/far\\040away rw shared:1 - fuse.sshfs host:/ rw\n";
        let kind = |p: &str| mounted_type(table, Path::new(p));
        assert_eq!(kind("/mnt/far away/x").as_deref(), Some("fuse.sshfs"));
        assert_eq!(kind("/mnt/farther").as_deref(), Some("ext4"));
        assert_eq!(kind("/").as_deref(), Some("ext4"));
    }

    #[test]
    fn this_machines_temporary_folder_is_local() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(remote(folder.path()).unwrap(), None);
    }
}
