//! What cannot be right, whatever the server says.

use std::time::Duration;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use super::Redis;
use crate::config::broker::faults::{Fault, Faults};

const MIN_LEASE: Duration = Duration::from_millis(500);
const MIN_FOREIGN_IDLE: Duration = Duration::from_secs(1);

impl Redis {
    /// Everything that cannot be right. No secret is in it.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Faults::default();
        self.times(&mut faults);
        self.address(&mut faults);
        self.credentials(&mut faults);
        self.certificates(&mut faults);
        self.watched(&mut faults);
        faults.0
    }

    fn times(&self, faults: &mut Faults) {
        if self.lease < MIN_LEASE {
            let message = "a lease shorter than 500ms ends whenever the host is busy";
            faults.add(&["lease"], message, "write at least `500ms`");
        }
        if self
            .foreign_idle
            .is_some_and(|idle| idle < MIN_FOREIGN_IDLE)
        {
            let message = "so short a time takes messages from clients that are still at work";
            let help = "write at least `1s`; longer than they need for one message";
            faults.add(&["foreign_idle"], message, help);
        }
        if self.connect_timeout.is_zero() {
            let message = "a connection cannot be made in no time";
            faults.add(&["connect_timeout"], message, "the default is `5s`");
        }
    }

    fn address(&self, faults: &mut Faults) {
        // The client's reason is not shown: it may quote the URL.
        let parsed: Result<Vec<ConnectionInfo>, _> = self
            .urls()
            .into_iter()
            .map(IntoConnectionInfo::into_connection_info)
            .collect();
        let Ok(infos) = parsed else {
            let message = "this is not the URL of a redis server";
            let help = if self.cluster {
                "write `redis://[user:password@]host:port`, and more of them after a comma; or `rediss://…` for TLS"
            } else {
                "write `redis://[user:password@]host:port/database`, `rediss://…` for TLS, or `unix:///path/to/socket`"
            };
            return faults.add(&["url"], message, help);
        };
        if self.url.expose().contains('#') {
            let message = "a certificate that is not looked at protects from nothing";
            let help = "leave out what begins with `#`; name the authority in `tls.ca`";
            faults.add(&["url"], message, help);
        }
        let socket = |info: &ConnectionInfo| matches!(info.addr(), ConnectionAddr::Unix(_));
        if (self.cluster || !self.sentinels.is_empty()) && infos.iter().any(socket) {
            let message = "a socket is one server on this machine";
            let help = "write `redis://` or `rediss://`, or leave `cluster` and `sentinels` out";
            faults.add(&["url"], message, help);
        }
        if self.cluster && infos.iter().any(|info| info.redis_settings().db() != 0) {
            let message = "a cluster has one database, 0";
            faults.add(&["url"], message, "leave the number out");
        }
    }

    fn credentials(&self, faults: &mut Faults) {
        if self.user.is_some() && self.password.is_none() {
            let message = "`user` is of use only with `password`";
            faults.add(&["user"], message, "give both, or both in `url`");
        }
        let in_url = self.urls().into_iter().any(|url| {
            url.into_connection_info()
                .is_ok_and(|info| info.redis_settings().password().is_some())
        });
        if in_url && self.password.is_some() {
            let message = "`url` has a password as well";
            faults.add(&["password"], message, "keep one of them");
        }
        if self.sentinel_user.is_some() && self.sentinel_password.is_none() {
            let message = "`sentinel_user` is of use only with `sentinel_password`";
            faults.add(&["sentinel_user"], message, "give both");
        }
    }

    fn certificates(&self, faults: &mut Faults) {
        let sentinel = |s: &String| self.sentinel_url(s).starts_with("rediss:");
        let encrypted = self.is_encrypted() || self.sentinels.iter().any(sentinel);
        let files = [
            ("ca", &self.tls.ca),
            ("certificate", &self.tls.certificate),
            ("key", &self.tls.key),
        ];
        for (key, file) in files {
            let Some(file) = file else { continue };
            if !encrypted {
                let message = format!("`{key}` is of no use without TLS");
                faults.add(&["tls", key], message, "write `rediss://` in `url`");
            } else if let Err(error) = std::fs::File::open(file) {
                let message = format!("`{}` cannot be read: {}", file.display(), error.kind());
                let help = "name a file that this host may read";
                faults.add(&["tls", key], message, help);
            }
        }
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            let message = "`certificate` and `key` are of use only together";
            faults.add(&["tls"], message, "give both, or neither");
        }
    }

    fn watched(&self, faults: &mut Faults) {
        for (index, sentinel) in self.sentinels.iter().enumerate() {
            let path = ["sentinels", &index.to_string()];
            let info = self.sentinel_url(sentinel).into_connection_info();
            let Some(info) = info.ok().filter(|_| !sentinel.is_empty()) else {
                let message = "this is not the address of a sentinel";
                let help = "write `host:port`; most listen on 26379";
                match sentinel.contains('@') {
                    true => faults.add_secret(&path, message, help),
                    false => faults.add(&path, message, help),
                }
                continue;
            };
            if info.redis_settings().password().is_some() {
                let message = "an address is shown in logs, and this one has a password in it";
                let help = "use `sentinel_user` and `sentinel_password`";
                faults.add_secret(&path, message, help);
            }
        }
        if self.sentinels.is_empty() {
            let keys = [
                ("master", self.master.is_some()),
                ("sentinel_user", self.sentinel_user.is_some()),
                ("sentinel_password", self.sentinel_password.is_some()),
            ];
            for (key, _) in keys.into_iter().filter(|(_, written)| *written) {
                let message = format!("`{key}` is of no use without `sentinels`");
                faults.add(&[key], message, "write `sentinels: [host:port, …]`");
            }
            return;
        }
        if self.master.is_none() {
            let message = "sentinels watch more than one server, and `master` is missing";
            let help = "write the name that is in their `sentinel monitor`";
            faults.add(&["sentinels"], message, help);
        }
        if self.cluster {
            let message = "a cluster watches over its nodes itself, without sentinels";
            faults.add(&["cluster"], message, "leave out one of the two");
        }
    }
}
