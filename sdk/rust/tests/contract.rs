//! The SDK's copy of the contract is the contract.

use std::fs;
use std::path::Path;

#[test]
fn the_vendored_contract_is_the_original() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let original = here.join("../../wit");
    let copy = here.join("wit");
    assert_eq!(names(&original), names(&copy), "copy wit/ to sdk/rust/wit/");
    for name in names(&original) {
        let same = fs::read(original.join(&name)).unwrap() == fs::read(copy.join(&name)).unwrap();
        assert!(
            same,
            "{name} differs: copy wit/{name} to sdk/rust/wit/{name}"
        );
    }
}

fn names(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
