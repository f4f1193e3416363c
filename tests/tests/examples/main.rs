//! Every folder of `examples/` does what its README says, with the program as it is shipped.
//!
//! A folder is run as its reader would: the host with the folder's configuration, the messages published by the command
//! or by a client of the broker's own, the outputs read from the broker and held to `expected.txt`.

mod hello;
mod nats;
mod order_by_key;
mod orders;
mod redis;
mod running;

use std::collections::BTreeSet;

/// One name per test below: a folder that is not here is not run by anybody.
const RUN: [&str; 5] = ["hello", "nats", "order-by-key", "orders", "redis"];

#[test]
fn every_example_is_run() {
    let folders = std::fs::read_dir("../examples").unwrap();
    let found: BTreeSet<String> = folders
        .map(|folder| folder.unwrap().path())
        .filter(|folder| folder.join("README.md").exists() || folder.join("wharf.yaml").exists())
        .map(|folder| folder.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(found, RUN.map(str::to_owned).into());
}
