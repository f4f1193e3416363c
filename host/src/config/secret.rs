//! Text that must not be seen: passwords, tokens, URLs that hold them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What stands where a secret would.
const REDACTED: &str = "[redacted]";

/// A text that neither `Debug` nor serialisation shows.
///
/// Written in the file as text (with `${VAR}`) or as `{ file: /run/secrets/name }`; `load` has read the
/// file by the time one of these exists.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a text out of sight.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that hands it on.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The text as a URL without user, password and query: `redis://cache:6379/0`, for logs.
    ///
    /// Anything that is not a URL with a scheme is not shown at all.
    #[must_use]
    pub fn address(&self) -> String {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            return REDACTED.to_owned();
        };
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        format!("{scheme}://{host}")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

impl schemars::JsonSchema for Secret {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "format": "secret",
            "writeOnly": true,
            "anyOf": [
                { "type": "string" },
                {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["file"],
                    "properties": { "file": { "type": "string", "format": "path" } }
                }
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shows_it() {
        let secret = Secret::new("hunter2");
        assert!(!format!("{secret:?}").contains("hunter2"));
        assert!(!serde_json::to_string(&secret).unwrap().contains("hunter2"));
    }

    #[test]
    fn an_address_keeps_the_host_only() {
        assert_eq!(
            Secret::new("redis://u:p@ss@cache:6379/0?password=x").address(),
            "redis://cache:6379/0"
        );
        assert_eq!(Secret::new("hunter2").address(), REDACTED);
    }
}
