//! Lists the guests, so that a guest no test runs does not compile.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=guests");
    let mut names: Vec<String> = fs::read_dir("guests")
        .expect("the folder of guests")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.join("Cargo.toml").exists())
        .filter_map(|path| Some(path.file_name()?.to_str()?.replace('-', "_")))
        .collect();
    names.sort();
    let mut text = String::from("macro_rules! each_guest { ($run:ident) => {");
    for name in &names {
        write!(text, " $run!({name});").expect("a string takes all");
    }
    text.push_str(" } }\n");
    let out = env::var("OUT_DIR").expect("set by cargo");
    fs::write(Path::new(&out).join("each_guest.rs"), text).expect("written");
}
