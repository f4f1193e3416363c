//! What the host serves over HTTP: telemetry for scrapers and probes on one listener, administration on another.
//!
//! Both are views over handles; nothing depends on this room.

mod api;
mod probes;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::host::Views;

/// The listeners.
pub struct Servers {
    /// Where telemetry is really served: the port may have been 0.
    pub telemetry: Option<SocketAddr>,
    /// Where administration is really served.
    pub admin: Option<SocketAddr>,
    tasks: Vec<JoinHandle<()>>,
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for {what}: {error}")]
pub struct Error {
    address: SocketAddr,
    what: &'static str,
    error: std::io::Error,
}

/// Ports taken before anything else starts, so that a taken one is reported at once.
pub struct Listeners {
    telemetry: Option<TcpListener>,
    admin: Option<TcpListener>,
}

impl Listeners {
    /// Takes the configured ports.
    ///
    /// # Errors
    /// When an address is in use or not ours.
    pub async fn bind(config: &Config) -> Result<Self, Error> {
        Ok(Self {
            telemetry: bind(config.telemetry.listen, "telemetry").await?,
            admin: bind(config.admin.listen, "admin").await?,
        })
    }

    /// Answers probes from now on: whoever asks whether the process lives does not wait until it has started.
    pub fn serve(self) -> Starting {
        let views = Arc::new(OnceLock::new());
        let mut tasks = Vec::new();
        let router = probes::router(Arc::clone(&views));
        Starting {
            telemetry: serve(self.telemetry, router, &mut tasks),
            admin: self.admin,
            views,
            tasks,
        }
    }
}

/// What is served while the host starts.
pub struct Starting {
    telemetry: Option<SocketAddr>,
    admin: Option<TcpListener>,
    views: Arc<OnceLock<Views>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Starting {
    /// Where telemetry is really served: the port may have been 0.
    pub fn telemetry(&self) -> Option<SocketAddr> {
        self.telemetry
    }

    /// The host has started: everything is served.
    pub fn started(mut self, config: &Config, views: &Views) -> Servers {
        let token = config.admin.token.as_ref().map(|t| t.expose().to_owned());
        let _first = self.views.set(views.clone());
        let router = api::router(views.clone(), token);
        Servers {
            telemetry: self.telemetry,
            admin: serve(self.admin, router, &mut self.tasks),
            tasks: self.tasks,
        }
    }
}

fn serve(
    listener: Option<TcpListener>,
    router: Router,
    tasks: &mut Vec<JoinHandle<()>>,
) -> Option<SocketAddr> {
    let listener = listener?;
    let address = listener.local_addr().ok();
    tasks.push(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "a listener ended");
        }
    }));
    address
}

impl Drop for Servers {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn bind(
    address: Option<SocketAddr>,
    what: &'static str,
) -> Result<Option<TcpListener>, Error> {
    let Some(address) = address else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address).await;
    listener.map(Some).map_err(|error| Error {
        address,
        what,
        error,
    })
}
