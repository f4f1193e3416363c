//! The SDK's copy of the contract is the contract.

use std::ffi::OsString;
use std::path::Path;
use std::{fs, io};

#[test]
fn the_vendored_contract_is_the_original() -> io::Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (original, copy) = (here.join("../../wit"), here.join("wit"));
    assert_eq!(
        names(&original)?,
        names(&copy)?,
        "copy wit/ to sdk/rust/wit/"
    );
    for name in names(&original)? {
        let same = fs::read(original.join(&name))? == fs::read(copy.join(&name))?;
        assert!(same, "{name:?} differs: copy it from wit/ to sdk/rust/wit/");
    }
    Ok(())
}

fn names(folder: &Path) -> io::Result<Vec<OsString>> {
    let names = fs::read_dir(folder)?.map(|file| Ok(file?.file_name()));
    let mut names: Vec<OsString> = names.collect::<io::Result<_>>()?;
    names.sort();
    Ok(names)
}
