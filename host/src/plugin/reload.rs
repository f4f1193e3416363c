//! Takes up changed component files.
//!
//! The watcher is told of changes in the folders concerned and looks at the files itself; it also looks every two
//! seconds, because notifications do not cross every file system. A file is loaded when what it looks like (which file
//! it is once links are resolved, its size and its time) differs from what was last loaded *and* has not changed for
//! [`SETTLE`]. So a file still being written is left alone, a rename and the switched link of a mounted ConfigMap are
//! seen as what they are, and a bad file is reported once and tried again only when it changes.

mod seen;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub(super) use self::seen::Stamp;
use self::seen::{Look, Seen};
use super::catalog::Catalog;

/// How long a file must stay the same before it is loaded.
const SETTLE: Duration = Duration::from_millis(150);
/// How often files are looked at without being told.
const POLL: Duration = Duration::from_secs(2);
/// Notifications closer together than this are one.
const BURST: Duration = Duration::from_millis(20);

/// Watches until dropped.
pub struct Watcher {
    task: JoinHandle<()>,
}

impl Watcher {
    /// Watches the files of all plugins of the catalogue that want it. Must be called within a tokio runtime; not the
    /// guests', so that spinning guests do not keep it from looking.
    pub fn start(catalog: &Arc<Catalog>) -> Self {
        let files = catalog
            .all()
            .iter()
            .filter(|plugin| plugin.settings().reload)
            .map(|plugin| {
                let settings = plugin.settings();
                let loaded = plugin.current().and_then(|v| v.stamp);
                (
                    settings.name.to_string(),
                    File::new(settings.component.clone(), loaded),
                )
            })
            .collect();
        let changed = Arc::new(Notify::new());
        let looker = Looker {
            catalog: Arc::clone(catalog),
            folders: Folders::new(&changed),
            files,
        };
        Self {
            task: tokio::spawn(looker.run(changed)),
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One plugin's file.
struct File {
    path: PathBuf,
    seen: Seen,
}

impl File {
    fn new(path: PathBuf, loaded: Option<Stamp>) -> Self {
        Self {
            path,
            seen: Seen::new(loaded),
        }
    }
}

struct Looker {
    catalog: Arc<Catalog>,
    folders: Folders,
    files: BTreeMap<String, File>,
}

impl Looker {
    async fn run(mut self, changed: Arc<Notify>) {
        loop {
            let again = self.look().await;
            let told = tokio::time::timeout(again, changed.notified()).await;
            if told.is_ok() {
                tokio::time::sleep(BURST).await;
            }
        }
    }

    /// Looks at every file and loads those that settled. Answers when to look again.
    async fn look(&mut self) -> Duration {
        let mut again = POLL;
        let mut due = Vec::new();
        for (plugin, file) in &mut self.files {
            self.folders.watch(&file.path);
            let stamp = Stamp::of(&file.path);
            match file.seen.look(Instant::now(), stamp, SETTLE) {
                Look::Same => {}
                Look::Settling(left) => again = again.min(left),
                Look::Load => due.push(plugin.clone()),
            }
        }
        self.folders.forget_others();
        for plugin in due {
            // Logged and counted where it happened; tried again when the file changes.
            let _refused = self.catalog.swap(&plugin, None).await.is_err();
        }
        again
    }
}

/// The folders that are watched: those the files are in, before and after resolving links.
struct Folders {
    /// `None` where the system has no notifications to give: the poll remains.
    notify: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    wanted: BTreeSet<PathBuf>,
}

impl Folders {
    fn new(changed: &Arc<Notify>) -> Self {
        let changed = Arc::clone(changed);
        let notify = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Being read is not a change, and the host itself reads.
            if event.is_ok_and(|event| event.kind.is_access()) {
                return;
            }
            changed.notify_one();
        });
        Self {
            notify: notify
                .inspect_err(|error| {
                    tracing::warn!(%error, "no notifications of changed files; they are looked at every 2 s");
                })
                .ok(),
            watched: BTreeSet::new(),
            wanted: BTreeSet::new(),
        }
    }

    fn watch(&mut self, file: &Path) {
        let real = std::fs::canonicalize(file).ok();
        let folders = [Some(file), real.as_deref()].into_iter().flatten();
        for folder in folders.filter_map(Path::parent) {
            if !self.wanted.insert(folder.to_owned()) || self.watched.contains(folder) {
                continue;
            }
            if let Some(notify) = &mut self.notify
                && notify.watch(folder, RecursiveMode::NonRecursive).is_ok()
            {
                self.watched.insert(folder.to_owned());
            }
        }
    }

    /// Lets go of folders that were not asked for since the last time.
    fn forget_others(&mut self) {
        let wanted = std::mem::take(&mut self.wanted);
        let notify = &mut self.notify;
        self.watched.retain(|folder| {
            let keep = wanted.contains(folder) && folder.exists();
            if !keep && let Some(notify) = notify {
                // It may be gone, and its watch with it.
                let _gone = notify.unwatch(folder).is_err();
            }
            keep
        });
    }
}
