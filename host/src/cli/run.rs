//! `wharf run`: consume until told to stop.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::admin::Listeners;
use crate::config::{self, Config};
use crate::host::Host;
use crate::plugin::Compiler;
use crate::shutdown::{Ask, Signals};
use crate::telemetry::logging;

/// Arguments of `wharf run`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration file
    #[arg(short, long, env = "WHARF_CONFIG", default_value = "wharf.yaml")]
    config: PathBuf,
}

/// Loads a configuration, or prints everything that is wrong with it.
pub(super) fn load(path: &Path) -> Result<Config, ExitCode> {
    match config::load(path, &|name| std::env::var(name).ok()) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                anstream::eprintln!("{}", warning.render(true));
            }
            Ok(loaded.config)
        }
        Err(report) => {
            anstream::eprint!("{}", report.render(true));
            Err(ExitCode::from(super::CONFIG))
        }
    }
}

pub(super) fn main(args: Args) -> ExitCode {
    let config = match load(&args.config) {
        Ok(config) => config,
        Err(code) => return code,
    };
    if let Err(error) = logging::init(&config.log) {
        anstream::eprintln!("error: {error}");
        return ExitCode::from(super::CONFIG);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("wharf-broker")
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no threads");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run(config));
    runtime.shutdown_background();
    code
}

async fn run(config: Config) -> ExitCode {
    // Signals first: a stop asked for during the start is not lost.
    let mut signals = match Signals::install() {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!(%error, "no signals");
            return ExitCode::FAILURE;
        }
    };
    let listeners = match Listeners::bind(&config).await {
        Ok(listeners) => listeners,
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let compiler = match Compiler::this_program() {
        Ok(compiler) => compiler,
        Err(error) => {
            tracing::error!(%error, "cannot find the running program, which compiles components");
            return ExitCode::FAILURE;
        }
    };
    let host = match Host::start(config.clone(), compiler).await {
        Ok(host) => host,
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::from(super::CONFIG);
        }
    };
    let views = host.views();
    let servers = listeners.serve(&config, &views);
    tracing::info!(
        plugins = config.plugins.len(),
        subscriptions = views.subscriptions.len(),
        telemetry = servers.telemetry.map(tracing::field::display),
        admin = servers.admin.map(tracing::field::display),
        "started"
    );
    while signals.next().await == Ask::Reload {
        tracing::info!("reload asked for");
        views.catalog.reload_all().await;
    }
    tracing::info!(within = ?config.host.drain_timeout, "stopping");
    tokio::select! {
        drained = host.stop() => {
            if drained.clean() {
                tracing::info!("stopped");
                ExitCode::SUCCESS
            } else {
                tracing::error!(unsettled = drained.unsettled, "stopped with unsettled messages: they will be delivered again");
                ExitCode::FAILURE
            }
        }
        () = asked_again(&mut signals) => {
            tracing::error!("stopped at once: what was in hand will be delivered again");
            ExitCode::FAILURE
        }
    }
}

async fn asked_again(signals: &mut Signals) {
    while signals.next().await != Ask::Stop {}
}
