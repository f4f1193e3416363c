//! The settings of a plugin, each taken once, so that what is left is a spelling mistake.
//!
//! A wrong setting is nobody's message's fault: everything here fails with `config::invalid`, and messages
//! wait, uncharged, until the configuration is right.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use wharf_sdk::{Result, config};

/// Settings that nobody has taken yet.
#[derive(Debug)]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// Those the plugin was granted.
    ///
    /// # Errors
    ///
    /// Where the host does not answer.
    pub fn read() -> Result<Self> {
        config::all().map(Self)
    }

    /// The text of a setting.
    pub fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// The text of a setting that must be there.
    ///
    /// # Errors
    ///
    /// Where it is not.
    pub fn require(&mut self, name: &str) -> Result<String> {
        self.take(name)
            .ok_or_else(|| config::invalid(format!("the setting `{name}` is missing")))
    }

    /// A setting that is `true` or `false`.
    ///
    /// # Errors
    ///
    /// Where it is something else.
    pub fn switch(&mut self, name: &str, default: bool) -> Result<bool> {
        self.choice(name, &[("true", true), ("false", false)], default)
    }

    /// A setting that is one of a few words.
    ///
    /// # Errors
    ///
    /// Where it is none of them.
    pub fn choice<T: Copy>(&mut self, name: &str, words: &[(&str, T)], default: T) -> Result<T> {
        let Some(text) = self.take(name) else {
            return Ok(default);
        };
        let found = words.iter().find(|(word, _)| *word == text.trim());
        found.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            let words = words.join(" or ");
            config::invalid(format!("the setting `{name}` is `{text}`, not {words}"))
        })
    }

    /// A setting that is a list: words with commas or new lines between them. Empty where it is absent.
    pub fn list(&mut self, name: &str) -> Vec<String> {
        let text = self.take(name).unwrap_or_default();
        text.split([',', '\n'])
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// Nothing else may be set.
    ///
    /// # Errors
    ///
    /// Names what is.
    pub fn finish(self) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = self.0.keys().map(|name| format!("`{name}`")).collect();
        let names = names.join(", ");
        Err(config::invalid(format!("no such setting: {names}")))
    }
}

/// What a component makes of its settings, made at the first message of an instance. A failure is not kept.
#[derive(Debug)]
pub struct Once<T>(OnceCell<T>);

impl<T> Once<T> {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(OnceCell::new())
    }

    /// What was made of the settings, or is now. No setting may be left when it is made.
    ///
    /// # Errors
    ///
    /// As `make`, or where a setting is left.
    pub fn get(&self, make: impl FnOnce(&mut Settings) -> Result<T>) -> Result<&T> {
        if let Some(made) = self.0.get() {
            return Ok(made);
        }
        let mut settings = Settings::read()?;
        let made = make(&mut settings)?;
        settings.finish()?;
        Ok(self.0.get_or_init(|| made))
    }
}

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings<const N: usize>(settings: [(&str, &str); N]) -> Settings {
        config::with(settings, Settings::read).unwrap()
    }

    #[test]
    fn a_list_is_what_stands_between_commas_and_new_lines() {
        let mut settings = settings([("a", " x, y ,,\nz\n"), ("b", "")]);
        assert_eq!(settings.list("a"), ["x", "y", "z"]);
        assert_eq!(settings.list("b"), [""; 0]);
        assert_eq!(settings.list("c"), [""; 0]);
        settings.finish().unwrap();
    }

    #[test]
    fn wrong_words_and_unknown_names_are_named() {
        let mut settings = settings([("a", "yes"), ("b", "true"), ("tpyo", "1"), ("x", "2")]);
        assert!(settings.switch("b", false).unwrap());
        assert!(settings.switch("c", true).unwrap());
        let error = settings.switch("a", false).unwrap_err();
        assert_eq!(
            error.reason(),
            "the setting `a` is `yes`, not `true` or `false`"
        );
        assert_eq!(error.code(), Some("config"));
        let error = settings.finish().unwrap_err();
        assert_eq!(error.reason(), "no such setting: `tpyo`, `x`");
    }

    #[test]
    fn what_was_made_is_kept_and_a_failure_is_not() {
        let once = Once::new();
        let make = |settings: &mut Settings| settings.require("a");
        config::with([("b", "1")], || once.get(make)).unwrap_err();
        config::with([("a", "1"), ("b", "1")], || once.get(make)).unwrap_err();
        let made = config::with([("a", "1")], || once.get(make).cloned());
        assert_eq!(made.unwrap(), "1");
        let kept = config::with([("a", "2")], || once.get(make).cloned());
        assert_eq!(kept.unwrap(), "1");
    }
}
