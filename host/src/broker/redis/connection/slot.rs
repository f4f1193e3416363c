//! The slot of a key, and the key of a command.

use redis::{Arg, Cmd};

/// One of the parts that the keys of a cluster are divided into.
pub(in crate::broker::redis) type Slot = u16;

/// How many there are.
pub(super) const SLOTS: u16 = 16_384;

/// The slot of a key: CRC-16 (XMODEM) of its hash tag.
pub(in crate::broker::redis) fn of(key: &[u8]) -> Slot {
    let mut crc = 0_u16;
    for byte in tag(key) {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            };
        }
    }
    crc % SLOTS
}

/// What stands between the first `{` and the next `}`, or all of it.
fn tag(key: &[u8]) -> &[u8] {
    let inner = key.iter().position(|b| *b == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        rest.iter().position(|b| *b == b'}').map(|end| &rest[..end])
    });
    inner.filter(|inner| !inner.is_empty()).unwrap_or(key)
}

/// The slot a command belongs to; `None` where any node will do. Only the commands of this adapter are known.
pub(super) fn of_command(cmd: &Cmd) -> Option<Slot> {
    let at = |index: usize| match cmd.args_iter().nth(index) {
        Some(Arg::Simple(bytes)) => Some(bytes),
        _ => None,
    };
    let name = at(0)?.to_ascii_uppercase();
    match name.as_slice() {
        b"PING" | b"CONFIG" | b"SCRIPT" | b"SCAN" | b"INFO" | b"WAIT" | b"TIME" | b"ROLE"
        | b"CLUSTER" | b"PUBLISH" => None,
        // Hash, number of keys, keys.
        b"EVAL" | b"EVALSHA" => at(3).map(of),
        // Verb, key.
        b"XGROUP" | b"XINFO" => at(2).map(of),
        b"XREAD" | b"XREADGROUP" => {
            let streams = cmd.args_iter().position(
                |arg| matches!(arg, Arg::Simple(bytes) if bytes.eq_ignore_ascii_case(b"STREAMS")),
            )?;
            at(streams + 1).map(of)
        }
        _ => at(1).map(of),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_server() {
        // The check value of CRC-16 (XMODEM), and what CLUSTER KEYSLOT answers.
        assert_eq!(of(b"123456789"), 0x31C3);
        assert_eq!(of(b"foo"), 12_182);
        assert_eq!(of(b"{foo}.bar"), 12_182);
        assert_ne!(of(b"foo{}{bar}"), of(b"bar"), "the first brace decides");
        assert_eq!(of(b""), 0);
    }

    #[test]
    fn a_command_goes_by_its_key() {
        let cmd = |words: &str| {
            let mut words = words.split(' ');
            let mut cmd = redis::cmd(words.next().unwrap());
            words.for_each(|word| {
                cmd.arg(word);
            });
            of_command(&cmd)
        };
        assert_eq!(cmd("XADD foo * a b"), Some(12_182));
        assert_eq!(cmd("EVALSHA hash 2 foo bar"), Some(12_182));
        assert_eq!(cmd("XINFO GROUPS foo"), Some(12_182));
        assert_eq!(cmd("XREAD COUNT 1 STREAMS foo 0"), Some(12_182));
        assert_eq!(cmd("PING"), None);
    }
}
