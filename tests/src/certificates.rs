//! Certificates of an authority of a test's own, as PEM files.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// An authority, with what it has certified: `ca.pem`, and `{name}.pem` with `{name}.key` for each name.
pub struct Certificates {
    folder: TempDir,
}

impl Certificates {
    /// A certificate for each of `names`, valid for `host` and as a client.
    ///
    /// # Panics
    ///
    /// When they cannot be made or written.
    #[must_use]
    pub fn new(host: &str, names: &[&str]) -> Self {
        let made = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
        };
        let put = |name: &str, text: String| {
            std::fs::write(made.path(name), text).expect("written");
        };
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let named = &mut params.distinguished_name;
        named.push(DnType::CommonName, "authority");
        let authority = params.self_signed(&key).expect("a certificate");
        put("ca.pem", authority.pem());
        let issuer = Issuer::new(params, key);
        for name in names {
            let key = KeyPair::generate().expect("a key");
            let mut params = CertificateParams::new([host.to_owned()]).expect("a name");
            params.distinguished_name.push(DnType::CommonName, *name);
            let signed = params.signed_by(&key, &issuer).expect("a certificate");
            put(&format!("{name}.pem"), signed.pem());
            put(&format!("{name}.key"), key.serialize_pem());
        }
        made
    }

    /// Where a file is.
    #[must_use]
    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// What makes a Redis server speak TLS at this port, also with its replicas, its cluster and whoever watches it. It wants
    /// a certificate of everybody. `server` is one of the names.
    #[must_use]
    pub fn for_redis(&self, port: u16) -> Vec<(&'static str, String)> {
        let path = |file: &str| self.path(file).display().to_string();
        vec![
            ("tls-port", port.to_string()),
            ("tls-cert-file", path("server.pem")),
            ("tls-key-file", path("server.key")),
            ("tls-ca-cert-file", path("ca.pem")),
            ("tls-auth-clients", "yes".to_owned()),
            ("tls-replication", "yes".to_owned()),
        ]
    }

    /// What is in a file.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[must_use]
    pub fn text(&self, file: &str) -> String {
        std::fs::read_to_string(self.path(file)).expect("a file that was made")
    }
}
