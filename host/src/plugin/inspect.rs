//! What a component is and would need, for the command line: nothing of it is run.

use std::path::Path;
use std::sync::Arc;

use super::Error;
use super::component::{Import, Surface, check_bytes, check_exports};
use super::engine::Engine;
use super::store::{CodeStore, Source};

/// What was found.
#[derive(Debug)]
pub struct Inspection {
    /// `sha256:` and 64 hex digits.
    pub digest: Arc<str>,
    /// Bytes of the component.
    pub size: u64,
    /// Names of all exports.
    pub exports: Vec<String>,
    /// All imports, and what each needs.
    pub imports: Vec<Import>,
    /// Why this host would not run it whatever it is granted, where it would not.
    pub refusal: Option<Error>,
}

/// Looks at the component in `path`. Compiles it into `store` where its code is not there.
///
/// # Errors
///
/// Where it cannot be read, is no component, or cannot be compiled.
pub async fn inspect(store: &Arc<CodeStore>, path: &Path) -> Result<Inspection, Error> {
    let source = Source::read(path)?;
    check_bytes(&source.bytes)?;
    let engine = Engine::compiler()?;
    let component = store.component(&engine, &source).await?;
    let surface = Surface::of(&component);
    let refusal = check_exports(&component, &surface)
        .and_then(|()| surface.check_imports(true))
        .err();
    Ok(Inspection {
        digest: source.digest,
        size: source.bytes.len() as u64,
        exports: surface.exports,
        imports: surface.imports,
        refusal,
    })
}
