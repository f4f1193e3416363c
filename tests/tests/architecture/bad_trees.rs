//! Every check, shown a tree that breaks it: the real one with one thing wrong.

use std::path::Path;

use crate::{files, imports, rooms, root};

/// A copy of the host's source with `text` at the end of `file`, which may be new.
fn host_with(file: &str, text: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let src = root().join("host/src");
    for path in files::rust(&src) {
        let to = copy.path().join(path.strip_prefix(&src).unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(path, to).unwrap();
    }
    let path = copy.path().join(file);
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    std::fs::write(path, format!("{before}{text}")).unwrap();
    copy
}

fn uses(src: &Path) -> Vec<String> {
    rooms::violations(&imports::of(src))
}

#[test]
fn each_forbidden_use_is_found() {
    for (file, text, said) in [
        (
            "dispatch/lane.rs",
            "use crate::broker::embedded::Embedded;\n",
            "`dispatch` may not use `broker`",
        ),
        (
            "dispatch/worker.rs",
            "fn f(_: &crate::plugin::PluginHandle) {}\n",
            "`dispatch` may not use `plugin`",
        ),
        (
            "broker/embedded/writer.rs",
            "use crate::{message::Message, plugin::Catalog};\n",
            "`broker` may not use `plugin`",
        ),
        (
            "plugin/call.rs",
            "use crate::broker::redis;\n",
            "`plugin` may not use `broker`",
        ),
        (
            "broker/redis/wire.rs",
            "use crate::broker::embedded::StoredMessage;\n",
            "the adapter `redis` uses the adapter `embedded`",
        ),
        (
            "config/check/policy.rs",
            "use super::super::super::message::Message;\n",
            "`config` may not use `message`",
        ),
        (
            "message.rs",
            "use super::delivery::Delivery;\n",
            "`message` may not use `delivery`",
        ),
        (
            "host/open.rs",
            "use crate::cli;\n",
            "`host` may not use `cli`",
        ),
        (
            "attic.rs",
            "use crate::message::Message;\n",
            "`attic` is no room",
        ),
    ] {
        let tree = host_with(file, text);
        let found = uses(tree.path());
        assert_eq!(found.len(), 1, "{file} with {text}: {found:?}");
        assert!(
            found[0].starts_with(file) && found[0].contains(said),
            "{found:?} should say {said}"
        );
    }
}

#[test]
fn a_room_nobody_knows_and_one_that_is_gone_are_found() {
    let tree = host_with("attic.rs", "");
    std::fs::remove_file(tree.path().join("shutdown.rs")).unwrap();
    let found = rooms::unlisted(tree.path());
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("`attic`") && found[1].contains("`shutdown`"));
}

#[test]
fn a_page_that_says_something_else_is_found() {
    let page = std::fs::read_to_string(root().join("host/ARCHITECTURE.md")).unwrap();
    let without: String = page
        .lines()
        .filter(|line| !line.starts_with("| `ports` |"))
        .collect::<Vec<_>>()
        .join("\n");
    assert_eq!(
        rooms::differences(&without),
        ["it has no row for `ports`".to_owned()]
    );
    let other = page.replace("| `handler` |", "| `handler` | x | `broker` |\n| `older` |");
    let found = rooms::differences(&other);
    assert!(
        found.len() == 1 && found[0].contains("`handler`"),
        "{found:?}"
    );
    let silent = page.replace("`cli` uses `dispatch`", "");
    assert_eq!(rooms::differences(&silent).len(), 1);
}

#[test]
fn long_files_and_files_called_mod_are_found() {
    let tree = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = tree.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("room/mod.rs", "x\n".into());
    write("long.rs", "x\n".repeat(451));
    write(
        "tested.rs",
        format!(
            "{}#[cfg(test)]\nmod tests {{\n{}}}\n",
            "x\n".repeat(450),
            "y\n".repeat(900)
        ),
    );
    let found = crate::sorted(files::violations(tree.path()));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("long.rs: 451 lines") && found[1].contains("mod.rs"));
}

#[test]
fn a_contract_that_differs_is_found() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(one.path().join("package.wit"), "a").unwrap();
    std::fs::write(other.path().join("package.wit"), "a").unwrap();
    assert!(files::unequal(one.path(), other.path()).is_empty());
    std::fs::write(other.path().join("package.wit"), "b").unwrap();
    assert_eq!(files::unequal(one.path(), other.path()).len(), 1);
    std::fs::write(other.path().join("package.wit"), "a").unwrap();
    std::fs::write(one.path().join("more.wit"), "a").unwrap();
    assert_eq!(files::unequal(one.path(), other.path()).len(), 1);
}
