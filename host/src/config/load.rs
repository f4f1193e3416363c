//! From a path to a configuration: the order of the steps, and what each hands to the next.

use std::path::{Path, PathBuf};

use super::annotate::{annotate, hide};
use super::diagnostic::{Diagnostic, Problem, Report, Severity};
use super::sources::{Source, Sources};
use super::tree::{self, Entry, Kind, Node, Path as Way, Step, Value};
use super::variables::{self, Environment};
use super::{Config, check, defaults, structure};

/// The most that one file may hold, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// The most findings in one report. Behind a hundred mistakes there is one.
const MAX_SHOWN: usize = 100;

/// A configuration without errors, and what was noticed on the way.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is probably not meant so.
    pub warnings: Vec<Diagnostic>,
    /// The files it was read from, the main one first: what to watch for a change.
    pub files: Vec<PathBuf>,
}

/// Reads `path` and the `plugins.d/*.yaml` beside it, with variables from `env`.
///
/// # Errors
///
/// A [`Report`] of everything that is wrong, not only the first.
pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Report> {
    let mut sources = Sources::default();
    let mut problems = Vec::new();
    let config = read(path, env, &mut sources, &mut problems);
    for span in problems
        .iter()
        .flat_map(Problem::hidden)
        .copied()
        .collect::<Vec<_>>()
    {
        sources.hide(span);
    }
    problems.sort_by(|a, b| a.rank().cmp(&b.rank()));
    problems.dedup_by(|a, b| a.rank() == b.rank());
    let omitted = problems.len().saturating_sub(MAX_SHOWN);
    problems.truncate(MAX_SHOWN);
    let failed = problems
        .iter()
        .any(|problem| problem.severity() == Severity::Error);
    let diagnostics: Vec<Diagnostic> = problems
        .into_iter()
        .map(|problem| problem.finish(&sources))
        .collect();
    match config {
        Some(config) if !failed => {
            let files = sources.names().map(Path::to_owned).collect();
            Ok(Loaded {
                config,
                warnings: diagnostics,
                files,
            })
        }
        _ => Err(Report {
            diagnostics,
            omitted,
        }),
    }
}

fn read(
    path: &Path,
    env: Environment<'_>,
    sources: &mut Sources,
    problems: &mut Vec<Problem>,
) -> Option<Config> {
    let mut tree = read_file(path, sources, problems)?;
    variables::resolve(&mut tree, &Way::default(), env, problems);
    if let Some(problem) = other_version(&tree) {
        *problems = vec![problem];
        return None;
    }
    for file in beside(path, problems) {
        if let Some(mut part) = read_file(&file, sources, problems) {
            variables::resolve(&mut part, &Way::default(), env, problems);
            join(&mut tree, part, sources, problems);
        }
    }
    if let Value::Map(root) = &mut tree.value {
        root.retain(|section| !section.key.starts_with("x-"));
    }
    annotate(&mut tree, sources, problems);
    let mut sound = structure::check(&tree, problems);
    let mut merged = tree.clone();
    defaults::fill_plugins(&mut sound);
    defaults::fill_plugins(&mut merged);
    let mut config = deserialize(&sound, problems)?;
    if config.host.cache.as_os_str().is_empty() {
        config.host.cache = default_cache(env, sources.folder(0));
    }
    check::check(&config, &tree, &merged, problems);
    Some(config)
}

/// A file of another version is not held against the rules of this one.
fn other_version(tree: &Node) -> Option<Problem> {
    let node = tree.get("version")?;
    let scalar = node.scalar()?;
    match scalar.kind {
        Kind::Int(version) if version != 1 => {
            let message =
                format!("this is a configuration of version {version}; this wharf reads version 1");
            Some(Problem::new(node.span, message).at(&Way::of(["version"])))
        }
        _ => None,
    }
}

/// Reads one file to a tree. `None`: it could not be read, which is reported, or it is an empty one of `plugins.d`.
fn read_file(path: &Path, sources: &mut Sources, problems: &mut Vec<Problem>) -> Option<Node> {
    let folder = std::path::absolute(path)
        .ok()
        .and_then(|path| path.parent().map(Path::to_owned))
        .unwrap_or_default();
    let (text, failure) = match read_text(path) {
        Ok(text) => (text, None),
        Err(message) => (String::new(), Some(message)),
    };
    let main = sources.names().next().is_none();
    let file = sources.add(Source {
        name: path.to_owned(),
        folder,
        text,
    });
    if let Some(message) = failure {
        problems.push(Problem::file(file, message));
        return None;
    }
    let before = problems.len();
    let tree = tree::build(file, sources.text(file), problems);
    if tree.is_none() && main && problems.len() == before {
        problems.push(
            Problem::file(file, "there is nothing in this file").help("begin it with `version: 1`"),
        );
    }
    tree
}

fn read_text(path: &Path) -> Result<String, String> {
    let metadata =
        std::fs::metadata(path).map_err(|error| format!("this file cannot be read: {error}"))?;
    if metadata.is_dir() {
        return Err("this is a folder; name the file in it".to_owned());
    }
    if metadata.len() > MAX_FILE {
        return Err("this file is larger than 1 MiB".to_owned());
    }
    let bytes =
        std::fs::read(path).map_err(|error| format!("this file cannot be read: {error}"))?;
    String::from_utf8(bytes).map_err(|_| "this file is not UTF-8".to_owned())
}

/// The files of `plugins.d`, by name. Hidden ones are not looked at: a mounted ConfigMap keeps its versions in such.
fn beside(path: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let folder = path.parent().unwrap_or(Path::new("")).join("plugins.d");
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            problems.push(Problem::file(
                0,
                format!("the folder `{}` cannot be read: {error}", folder.display()),
            ));
            return Vec::new();
        }
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml" || extension == "yml")
        })
        .filter(|path| {
            !path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with('.'))
        })
        .collect();
    files.sort_unstable();
    files
}

/// Takes the plugins and brokers of another file into the main tree.
fn join(tree: &mut Node, part: Node, sources: &mut Sources, problems: &mut Vec<Problem>) {
    let span = part.span;
    let Value::Map(sections) = part.value else {
        problems.push(Problem::new(span, "a map with `plugins:` is wanted here").hiding([&part]));
        return;
    };
    for section in sections {
        match section.key.as_str() {
            "plugins" | "brokers" => join_section(tree, section, sources, problems),
            key if key.starts_with("x-") => {}
            key => {
                hide(&section.node, sources);
                let problem = Problem::new(
                    section.key_span,
                    format!("`{key}` belongs in the main file"),
                )
                .at(&Way::of([key]))
                .help("a file of plugins.d holds `plugins` and `brokers`");
                problems.push(problem);
            }
        }
    }
}

fn join_section(
    tree: &mut Node,
    section: Entry,
    sources: &mut Sources,
    problems: &mut Vec<Problem>,
) {
    let Value::Map(root) = &mut tree.value else {
        return;
    };
    let Some(known) = root
        .iter_mut()
        .find(|entry| entry.key == section.key && !entry.node.is_null())
    else {
        root.retain(|entry| entry.key != section.key);
        root.push(section);
        return;
    };
    let (span, path) = (section.key_span, Way::of([section.key.as_str()]));
    let (Value::Map(entries), Value::Map(added)) = (&mut known.node.value, section.node.value)
    else {
        problems.push(Problem::new(span, format!("`{}` is a map of names", section.key)).at(&path));
        return;
    };
    for entry in added {
        match entries.iter().find(|other| other.key == entry.key) {
            Some(first) => {
                hide(&entry.node, sources);
                let problem =
                    Problem::new(entry.key_span, format!("`{}` is defined twice", entry.key))
                        .at(&path.key(&entry.key))
                        .related(first.key_span, "the first time is here");
                problems.push(problem);
            }
            None => entries.push(entry),
        }
    }
}

fn deserialize(sound: &Node, problems: &mut Vec<Problem>) -> Option<Config> {
    match serde_path_to_error::deserialize::<_, Config>(sound.to_json()) {
        Ok(config) => Some(config),
        Err(error) => {
            // The schema passed everything that is left, so this is only reached when the file as a whole is unusable,
            // which was reported, or when schema and structs differ.
            if problems.is_empty() {
                let path = Way(error.path().iter().filter_map(step).collect());
                let problem =
                    Problem::new(sound.value_span(&path), "this value is not accepted").at(&path);
                problems.push(problem);
            }
            None
        }
    }
}

fn step(segment: &serde_path_to_error::Segment) -> Option<Step> {
    match segment {
        serde_path_to_error::Segment::Map { key } => Some(Step::Key(key.clone())),
        serde_path_to_error::Segment::Seq { index } => Some(Step::Index(*index)),
        _ => None,
    }
}

fn default_cache(env: Environment<'_>, folder: &Path) -> PathBuf {
    let absolute = |name: &str| {
        env(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    match (absolute("XDG_CACHE_HOME"), absolute("HOME")) {
        (Some(cache), _) => cache.join("wharf"),
        (None, Some(home)) => home.join(".cache/wharf"),
        (None, None) => folder.join(".wharf/cache"),
    }
}
