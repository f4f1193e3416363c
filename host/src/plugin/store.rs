//! Compiled code, kept by the hash of the component and of the engine.
//!
//! A component is compiled by a child process: compiling takes a hundred times the component's size in memory and any
//! time an attacker likes, and what it leaves behind dies with the child. The child writes beside its place, syncs and
//! the result is renamed, so an entry is whole or absent. Loading maps the file, in well under a millisecond.
//!
//! Compiled code is code: an entry somebody else could write would run in this process unsandboxed. So the folder is
//! ours alone (0700), and one that others may write is refused.

mod unused;

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::Error;
use super::compile;
use super::reload::Stamp;

/// Components compiled at once. Each compiler uses every core.
const COMPILERS: usize = 1;

/// Who compiles.
#[derive(Debug, Clone)]
pub enum Compiler {
    /// A child process of this program, called as `<program> __compile <component> <output>`.
    Child(PathBuf),
    /// This process. For tests: it bounds neither time nor memory.
    InProcess,
}

impl Compiler {
    /// A child process of the running program.
    ///
    /// # Errors
    ///
    /// Where the path of the running program cannot be had.
    pub fn this_program() -> io::Result<Self> {
        std::env::current_exe().map(Self::Child)
    }
}

/// The folder of compiled code. Safe to share between processes of one user.
#[derive(Debug)]
pub struct CodeStore {
    folder: PathBuf,
    compiler: Compiler,
    /// One permit per compiler that may run; the rest wait in order.
    compilers: Semaphore,
}

/// The bytes of a component and their digest, read once.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) bytes: Arc<Vec<u8>>,
    pub(super) digest: Arc<str>,
    /// Links resolved.
    pub(super) path: PathBuf,
    /// What the file looked like before it was read.
    pub(super) stamp: Option<Stamp>,
}

impl Source {
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let read = |error| Error::Read {
            path: path.to_owned(),
            error,
        };
        let path = fs::canonicalize(path).map_err(read)?;
        let stamp = Stamp::of(&path);
        let bytes = fs::read(&path).map_err(read)?;
        let digest = format!("sha256:{:x}", Sha256::digest(&bytes)).into();
        Ok(Self {
            bytes: Arc::new(bytes),
            digest,
            path,
            stamp,
        })
    }
}

impl CodeStore {
    /// Opens the folder, and makes it where it is absent.
    ///
    /// # Errors
    ///
    /// Where it cannot be made, or others may write to it.
    pub fn open(folder: impl Into<PathBuf>, compiler: Compiler) -> Result<Arc<Self>, Error> {
        let folder = folder.into();
        let failed = |error: io::Error| Error::Store {
            path: folder.clone(),
            reason: error.to_string(),
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(failed)?;
        let meta = fs::metadata(&folder).map_err(failed)?;
        if let Some(reason) =
            untrusted(meta.mode(), meta.uid(), rustix::process::geteuid().as_raw())
        {
            return Err(Error::Store {
                path: folder,
                reason: reason.into(),
            });
        }
        match unused::delete(&folder, SystemTime::now()) {
            Ok(0) => {}
            Ok(entries) => {
                tracing::info!(entries, folder = %folder.display(), "compiled code that nobody used for a month is deleted")
            }
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "old compiled code cannot be looked for")
            }
        }
        Ok(Arc::new(Self {
            folder,
            compiler,
            compilers: Semaphore::new(COMPILERS),
        }))
    }

    /// The component, from the store or compiled into it.
    pub(super) async fn component(
        self: &Arc<Self>,
        engine: &Engine,
        source: &Source,
    ) -> Result<Component, Error> {
        let entry = self.entry(engine, &source.digest);
        if let Some(component) = self.cached(engine, &source.digest).await {
            return Ok(component);
        }
        let _compiler = self.compilers.acquire().await;
        // Somebody may have compiled it while this waited.
        if let Some(component) = self.cached(engine, &source.digest).await {
            return Ok(component);
        }
        compile::run(&self.compiler, &self.folder, source, &entry).await?;
        self.cached(engine, &source.digest)
            .await
            .ok_or_else(|| Error::Compile("the compiled code cannot be loaded".into()))
    }

    /// The component of that digest, where its code is here and sound.
    pub(super) async fn cached(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let entry = self.entry(engine, digest);
        let engine = engine.clone();
        let load = move || match load(&engine, &entry) {
            Ok(component) => {
                unused::loaded(&entry, SystemTime::now());
                Some(component)
            }
            Err(_) if !entry.exists() => None,
            Err(error) => {
                tracing::warn!(entry = %entry.display(), %error, "compiled code is not sound and will be made anew");
                // It may be gone already.
                let _gone = fs::remove_file(&entry).is_ok();
                None
            }
        };
        tokio::task::spawn_blocking(load).await.ok().flatten()
    }

    /// Notes that this digest worked for the plugin.
    pub(super) fn remember(&self, plugin: &str, digest: &str) -> io::Result<()> {
        let file = tempfile::NamedTempFile::new_in(&self.folder)?;
        fs::write(file.path(), digest)?;
        file.persist(self.last_good_file(plugin))?;
        Ok(())
    }

    /// The digest that last worked for the plugin.
    pub(super) fn last_good(&self, plugin: &str) -> Option<Arc<str>> {
        let digest = fs::read_to_string(self.last_good_file(plugin)).ok()?;
        let hex = digest.strip_prefix("sha256:")?;
        let sound = hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit());
        sound.then(|| digest.into())
    }

    fn last_good_file(&self, plugin: &str) -> PathBuf {
        self.folder.join(format!("{plugin}.last-good"))
    }

    /// The hash covers the engine's exact version: a patch release never runs what its predecessor compiled.
    fn entry(&self, engine: &Engine, digest: &str) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
        self.folder
            .join(format!("{hex}-{:016x}.cwasm", hasher.finish()))
    }
}

/// Why a folder of that mode and owner cannot hold code.
fn untrusted(mode: u32, owner: u32, user: u32) -> Option<&'static str> {
    if mode & 0o022 != 0 {
        Some("others may write to it, and what lies there runs as code: `chmod 700` it")
    } else if owner != user && owner != 0 {
        Some("it belongs to another user, and what lies there runs as code")
    } else {
        None
    }
}

/// Maps the file; reads it where the volume may not be mapped for execution.
#[allow(unsafe_code)]
fn load(engine: &Engine, entry: &Path) -> wasmtime::Result<Component> {
    // SAFETY: `deserialize*` trust their input to be this engine's own output. Entries are written only by
    // `compile::run`, into a folder that `open` found to be writable by this user alone, are renamed into place whole
    // and never written again; the engine checks its own version and settings in their header.
    unsafe {
        Component::deserialize_file(engine, entry).or_else(|mapped| match fs::read(entry) {
            Ok(bytes) => Component::deserialize(engine, bytes),
            Err(_) => Err(mapped),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_others_may_write_is_refused() {
        assert!(untrusted(0o40777, 1, 1).is_some());
        assert!(untrusted(0o40770, 1, 1).is_some());
        assert!(untrusted(0o40700, 2, 1).is_some());
        assert_eq!(untrusted(0o40755, 1, 1), None);
        assert_eq!(untrusted(0o40755, 0, 1), None);
    }

    #[test]
    fn the_last_good_digest_is_remembered_and_checked() {
        let folder = tempfile::tempdir().expect("a folder");
        let store =
            CodeStore::open(folder.path().join("code"), Compiler::InProcess).expect("a store");
        assert_eq!(store.last_good("p"), None);
        let digest = format!("sha256:{}", "a1".repeat(32));
        store.remember("p", &digest).expect("written");
        assert_eq!(store.last_good("p").as_deref(), Some(&*digest));
        store.remember("p", "sha256:../../etc").expect("written");
        assert_eq!(store.last_good("p"), None);
    }

    #[test]
    fn compiler_and_pool_agree_on_the_code() {
        let pool = super::super::engine::Engine::new(super::super::EngineSettings {
            instances: 1,
            max_memory: 1 << 20,
            guest_budget: 1 << 20,
            workers: 1,
        })
        .expect("an engine");
        let compiler = super::super::engine::Engine::compiler().expect("an engine");
        let hash = |engine: &Engine| {
            let mut hasher = DefaultHasher::new();
            engine.precompile_compatibility_hash().hash(&mut hasher);
            hasher.finish()
        };
        assert_eq!(hash(pool.wasmtime()), hash(&compiler));
    }
}
