//! What a broker's part of the configuration says that cannot be right, whatever the server says.

/// Something that cannot be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The keys that lead there, from the broker on.
    pub path: Vec<String>,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: &'static str,
    /// Whether what was written there is a secret in a place where none is expected, so that the line is not shown.
    pub secret: bool,
}

/// Those of one broker.
#[derive(Default)]
pub(super) struct Faults(pub(super) Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, path: &[&str], message: impl Into<String>, help: &'static str) {
        self.0.push(Fault {
            path: path.iter().map(|&key| key.to_owned()).collect(),
            message: message.into(),
            help,
            secret: false,
        });
    }

    /// Of a value that has a secret in it.
    #[cfg_attr(
        not(feature = "redis"),
        expect(dead_code, reason = "others hide theirs")
    )]
    pub(super) fn add_secret(&mut self, path: &[&str], message: &str, help: &'static str) {
        self.add(path, message, help);
        if let Some(last) = self.0.last_mut() {
            last.secret = true;
        }
    }
}
