//! Compiling one component: the parent's side, which waits, and the child's, which works under limits.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit};
use tokio::process::Command;

use super::Error;
use super::engine::Engine;
use super::store::{Compiler, Source};

/// The hidden command that compiles.
pub const COMMAND: &str = "__compile";
/// Wall time the parent allows. A 20 MB component takes some ten seconds on two cores.
const TIMEOUT: Duration = Duration::from_secs(180);
/// CPU seconds the child may use.
const CPU_SECONDS: u64 = 300;
/// Address space of the child. A 20 MB component takes half a gigabyte.
const ADDRESS_SPACE: u64 = 8 << 30;
/// Bytes of the child's stderr that are shown.
const ERROR_TEXT: usize = 4096;

/// Compiles `source` to `entry`, by way of temporary files in `folder`.
pub(super) async fn run(
    compiler: &Compiler,
    folder: &Path,
    source: &Source,
    entry: &Path,
) -> Result<(), Error> {
    let failed = |error: io::Error| Error::Store {
        path: folder.to_owned(),
        reason: error.to_string(),
    };
    let output = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    match compiler {
        Compiler::InProcess => {
            let bytes = source.bytes.clone();
            let path = output.path().to_owned();
            let compile = move || compile(&bytes, &path);
            let done = tokio::task::spawn_blocking(compile).await;
            done.unwrap_or_else(|error| Err(error.to_string()))
                .map_err(refusal)?;
        }
        Compiler::Child(program) => {
            let mut input = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
            input.write_all(&source.bytes).map_err(failed)?;
            child(program, input.path(), output.path()).await?;
        }
    }
    output.persist(entry).map_err(|error| failed(error.error))?;
    Ok(())
}

async fn child(program: &Path, input: &Path, output: &Path) -> Result<(), Error> {
    let child = Command::new(program)
        .arg(COMMAND)
        .args([input, output])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            Error::Compile(format!(
                "`{}` cannot be started: {error}",
                program.display()
            ))
        })?;
    let Ok(done) = tokio::time::timeout(TIMEOUT, child.wait_with_output()).await else {
        return Err(Error::Compile(format!(
            "it takes longer than {} s",
            TIMEOUT.as_secs()
        )));
    };
    let done = done.map_err(|error| Error::Compile(error.to_string()))?;
    if done.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&done.stderr);
    let text: String = text.trim().chars().take(ERROR_TEXT).collect();
    Err(refusal(if text.is_empty() {
        format!("the compiler ended with {}", done.status)
    } else {
        text
    }))
}

/// The engine's word for a component of the async form, which has nothing to do with being broken.
fn refusal(text: String) -> Error {
    if text.contains("component model async") {
        Error::Async
    } else {
        Error::Compile(text)
    }
}

/// The child's whole life: `arguments` are what follows [`COMMAND`]. What is wrong goes to stderr in one line.
pub fn compile_main(arguments: &[PathBuf]) -> ExitCode {
    match compile_restrained(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            // Nobody is left to tell where stderr is closed.
            let _told = writeln!(io::stderr(), "{reason}").is_ok();
            ExitCode::FAILURE
        }
    }
}

fn compile_restrained(arguments: &[PathBuf]) -> Result<(), String> {
    let [input, output] = arguments else {
        return Err(format!("usage: {COMMAND} <component> <output>"));
    };
    restrain().map_err(|error| format!("limits cannot be set: {error}"))?;
    let bytes = fs::read(input).map_err(|error| error.to_string())?;
    compile(&bytes, output)
}

/// Lets everything else go first and bounds what may be used.
fn restrain() -> io::Result<()> {
    rustix::process::nice(10)?;
    for (resource, limit) in [
        (Resource::Cpu, CPU_SECONDS),
        (Resource::As, ADDRESS_SPACE),
        (Resource::Core, 0),
    ] {
        // Somebody may have set less already.
        let limit = match rustix::process::getrlimit(resource).maximum {
            Some(maximum) => limit.min(maximum),
            None => limit,
        };
        rustix::process::setrlimit(
            resource,
            Rlimit {
                current: Some(limit),
                maximum: Some(limit),
            },
        )?;
    }
    Ok(())
}

fn compile(bytes: &[u8], output: &Path) -> Result<(), String> {
    let engine = Engine::compiler().map_err(|error| error.to_string())?;
    let code = engine
        .precompile_component(bytes)
        .map_err(|error| format!("{error:#}"))?;
    let write = || {
        let mut file = fs::File::create(output)?;
        file.write_all(&code)?;
        file.sync_all()
    };
    write().map_err(|error| format!("the compiled code cannot be written: {error}"))
}
