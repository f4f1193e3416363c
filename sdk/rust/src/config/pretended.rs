//! Settings where there is no host: what a test says they are.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::Result;

thread_local! {
    static SETTINGS: RefCell<BTreeMap<String, String>> = const { RefCell::new(BTreeMap::new()) };
}

/// Runs `test` with these settings and no others; afterwards they are as they were, also when it panics.
///
/// For tests of handlers on the machine that builds them. It does not exist in a component, and holds for
/// the calling thread only.
pub fn with<N, V, T>(settings: impl IntoIterator<Item = (N, V)>, test: impl FnOnce() -> T) -> T
where
    N: Into<String>,
    V: Into<String>,
{
    struct Restore(BTreeMap<String, String>);
    impl Drop for Restore {
        fn drop(&mut self) {
            SETTINGS.set(std::mem::take(&mut self.0));
        }
    }
    let settings = settings
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let _restore = Restore(SETTINGS.replace(settings));
    test()
}

#[allow(clippy::unnecessary_wraps)] // As the host answers.
pub(super) fn get(name: &str) -> Result<Option<String>> {
    Ok(SETTINGS.with_borrow(|settings| settings.get(name).cloned()))
}

#[allow(clippy::unnecessary_wraps)] // As the host answers.
pub(super) fn all() -> Result<BTreeMap<String, String>> {
    Ok(SETTINGS.with_borrow(Clone::clone))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::get;

    #[test]
    fn settings_of_a_test_end_with_it() {
        with([("a", "outer")], || {
            let panicked = std::panic::catch_unwind(|| with([("a", "inner")], || panic!("a test")));
            assert!(panicked.is_err());
            assert_eq!(get("a").unwrap().as_deref(), Some("outer"));
        });
        assert_eq!(get("a").unwrap(), None);
    }
}
