//! `wharf run`: consume until told to stop.

use std::process::ExitCode;
use std::sync::Arc;

use super::config::ConfigArgs;
use super::failure::{self, Failure};
use crate::admin::Listeners;
use crate::config::Config;
use crate::host::{Host, Prepared};
use crate::plugin::{Catalog, Compiler};
use crate::shutdown::{Ask, Signals};
use crate::telemetry::logging;

/// Arguments of `wharf run`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "SIGTERM and SIGINT stop it in order: it finishes what is in hand, within `host.drain_timeout`; a second one stops
it at once. SIGHUP loads every component again.

Exits with 78 where the configuration or a component is at fault, before anything is consumed."
)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn main(args: Args) -> ExitCode {
    let config = match args.config.load() {
        Ok(config) => config,
        Err(failure) => return failure.report(),
    };
    if let Err(error) = logging::init(&config.log) {
        return Failure::config(error).report();
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
    let starting = listeners.serve();
    tracing::info!(
        plugins = config.plugins.len(),
        telemetry = starting.telemetry().map(tracing::field::display),
        "starting"
    );
    // Of a file that was read already: it is looked at again once all have been.
    let mut reload = false;
    // Compiling may take minutes. Nothing is consumed yet, so there is nothing to finish.
    let prepared = tokio::select! {
        prepared = Prepared::new(config.clone(), compiler) => prepared,
        () = asked_to_stop(&mut signals, &mut reload) => {
            tracing::info!("stopped before it had started");
            return ExitCode::SUCCESS;
        }
    };
    let started = match prepared {
        Ok(prepared) => Host::start(prepared).await,
        Err(error) => Err(error),
    };
    let host = match started {
        Ok(host) => host,
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::from(code_of(&error));
        }
    };
    let views = host.views();
    let servers = starting.started(&config, &views);
    tracing::info!(
        plugins = config.plugins.len(),
        subscriptions = views.subscriptions.len(),
        telemetry = servers.telemetry.map(tracing::field::display),
        admin = servers.admin.map(tracing::field::display),
        "started"
    );
    for (plugin, settings) in &config.plugins {
        for (subscription, source) in &settings.subscribe {
            tracing::info!(
                plugin,
                subscription,
                broker = source.broker,
                source = source.source(),
                component = %settings.component.display(),
                "consuming"
            );
        }
    }
    until_stop(&mut signals, &views.catalog, reload).await;
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
        () = asked_to_stop(&mut signals, &mut reload) => {
            tracing::error!("stopped at once: what was in hand will be delivered again");
            ExitCode::FAILURE
        }
    }
}

/// What was configured is at fault, or this machine just now.
fn code_of(error: &crate::host::Error) -> u8 {
    use crate::host::Error;
    use crate::plugin::Error as Plugin;
    match error {
        Error::Engine(Plugin::Engine(_) | Plugin::Stopping) => failure::FAILED,
        Error::Engine(_)
        | Error::Components(_)
        | Error::Broker { .. }
        | Error::Subscription { .. } => failure::CONFIG,
    }
}

async fn asked_to_stop(signals: &mut Signals, reload: &mut bool) {
    while signals.next().await != Ask::Stop {
        *reload = true;
    }
}

/// Loads every component again whenever that is asked for (`reload`: it was), until a stop is: that does not wait for a
/// reload.
async fn until_stop(signals: &mut Signals, catalog: &Arc<Catalog>, reload: bool) {
    let mut asked = match reload {
        true => Ask::Reload,
        false => signals.next().await,
    };
    while asked == Ask::Reload {
        tracing::info!("reload asked for");
        let reloading = catalog.reload_all();
        tokio::pin!(reloading);
        let mut again = None;
        while again != Some(Ask::Stop) {
            tokio::select! {
                () = &mut reloading => break,
                // A file that was read already may have changed since.
                ask = signals.next() => again = Some(ask),
            }
        }
        asked = match again {
            Some(ask) => ask,
            None => signals.next().await,
        };
    }
}
