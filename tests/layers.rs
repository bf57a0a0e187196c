//! The direction of dependencies, read from the source: `domain ← ports ← steps ← http | worker | cli ← app ← main`.
//! Fails with the rule that was broken.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Which modules of the crate each may name, beside itself.
const MAY_USE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("ports", &["domain"]),
    ("crash", &[]),
    ("steps", &["domain", "ports", "crash", "crash_point"]),
    ("adapters", &["domain", "ports", "crash", "crash_point"]),
    ("config", &["domain"]),
    ("telemetry", &["config", "domain"]),
    ("http", &["domain", "ports", "steps", "telemetry"]),
    ("worker", &["domain", "ports", "steps", "telemetry"]),
    ("simulator", &[]),
    // The composition root: the only one that names an adapter.
    (
        "app",
        &[
            "domain",
            "ports",
            "steps",
            "adapters",
            "config",
            "telemetry",
            "http",
            "worker",
            "simulator",
        ],
    ),
    // Commands on the host call the composition root; the others are HTTP clients and name none of the service.
    (
        "cli",
        &["app", "config", "telemetry", "simulator", "domain", "ports"],
    ),
    ("main", &["cli"]),
];

/// Libraries that only these places may name.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("actix_web", &["http", "simulator"]),
    ("rusqlite", &["adapters/sqlite"]),
    ("refinery", &["adapters/sqlite"]),
    ("aws_sdk_s3", &["adapters/s3"]),
    ("aws_config", &["adapters/s3"]),
    ("async_nats", &["adapters/nats"]),
    ("s3s", &["adapters/embedded_s3"]),
    ("s3s_fs", &["adapters/embedded_s3"]),
    ("clap", &["cli", "config/flags", "simulator"]),
];

/// What decisions must not know.
const NOT_IN_DOMAIN: &[&str] = &[
    "async fn",
    "tokio::",
    "SystemTime",
    "Instant::",
    "std::fs",
    "std::net::Tcp",
    "reqwest",
];

struct Source {
    /// Below `src`, without `.rs` or `/mod.rs`: `steps/archive/flow`.
    place: String,
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = vec![];
    collect(&root, &mut found);
    assert!(found.len() > 30, "the sources were not found");
    found.iter().map(|path| read(&root, path)).collect()
}

fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => collect(&path, found),
            false if path.extension().is_some_and(|e| e == "rs") => found.push(path),
            false => {}
        }
    }
}

fn read(root: &Path, path: &Path) -> Source {
    let below = path.strip_prefix(root).unwrap().with_extension("");
    let place = below.to_str().unwrap().trim_end_matches("/mod").to_owned();
    let code = |line: &&str| !line.trim_start().starts_with("//");
    let text = fs::read_to_string(path).unwrap();
    Source {
        place,
        code: text.lines().filter(code).collect::<Vec<_>>().join("\n"),
    }
}

impl Source {
    fn top(&self) -> &str {
        self.place.split('/').next().unwrap()
    }

    fn is_test(&self) -> bool {
        self.place.ends_with("tests") || self.place.contains("/tests/")
    }

    /// First segments of every `crate::…` path, groups after `crate::{` included.
    fn crate_paths(&self) -> Vec<String> {
        let mut found = vec![];
        for (at, _) in self.code.match_indices("crate::") {
            let foreign = self.code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$');
            let rest = &self.code[at + "crate::".len()..];
            if foreign {
                continue;
            }
            match rest.strip_prefix('{') {
                Some(group) => {
                    let group = group.split('}').next().unwrap();
                    found.extend(group.split(',').map(|part| first_word(part.trim())));
                }
                None => found.push(first_word(rest)),
            }
        }
        found.retain(|name| !name.is_empty());
        found
    }

    fn names(&self, library: &str) -> bool {
        self.code.match_indices(library).any(|(at, _)| {
            let before = self.code[..at].chars().next_back();
            let after = self.code[at + library.len()..].chars().next();
            let word = |c: char| c.is_alphanumeric() || c == '_';
            !before.is_some_and(word) && after == Some(':')
        })
    }
}

fn first_word(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

#[test]
fn modules_name_only_what_their_layer_allows() {
    let rules: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    let mut broken = vec![];
    // A layer's own tests may stand on real adapters rather than on mocks.
    for source in sources().iter().filter(|s| s.place != "lib" && !s.is_test()) {
        let top = source.top();
        let allowed = rules
            .get(top)
            .unwrap_or_else(|| panic!("no rule for the module `{top}`: add one"));
        for used in source.crate_paths() {
            if used != top && !allowed.contains(&used.as_str()) {
                broken.push(format!("{}: `{top}` must not use `crate::{used}`", source.place));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn no_step_calls_another() {
    let mut broken = vec![];
    for source in sources()
        .iter()
        .filter(|s| s.top() == "steps" && s.place != "steps")
    {
        let own = source.place.split('/').nth(1).unwrap();
        let others = source
            .code
            .match_indices("crate::steps::")
            .map(|(at, m)| first_word(&source.code[at + m.len()..]));
        broken.extend(
            others
                .filter(|o| o != own)
                .map(|o| format!("{}: uses step `{o}`", source.place)),
        );
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn each_driver_is_named_in_its_own_place() {
    let mut broken = vec![];
    for source in sources().iter().filter(|s| !s.is_test()) {
        for (library, places) in ONLY_IN {
            let at_home = places
                .iter()
                .any(|p| source.place == *p || source.place.starts_with(&format!("{p}/")));
            if !at_home && source.names(library) {
                broken.push(format!("{}: `{library}` belongs in {places:?}", source.place));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn decisions_know_no_clock_no_io_and_no_waiting() {
    let mut broken = vec![];
    for source in sources().iter().filter(|s| s.top() == "domain" && !s.is_test()) {
        let code = source.code.split("#[cfg(test)]").next().unwrap();
        broken.extend(
            NOT_IN_DOMAIN
                .iter()
                .filter(|w| code.contains(**w))
                .map(|w| format!("{}: `{w}`", source.place)),
        );
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn architecture_names_only_paths_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let quoted = text.split('`').skip(1).step_by(2);
    let tops = [
        "src/",
        "tests/",
        "migrations/",
        "deploy/",
        "assets/",
        "tools/",
        ".ci/",
        "docs/",
    ];
    let paths: Vec<&str> = quoted.filter(|q| tops.iter().any(|t| q.starts_with(t))).collect();
    assert!(paths.len() > 20, "the map names too few paths: {paths:?}");
    let missing: Vec<_> = paths.iter().filter(|p| !root.join(p).exists()).collect();
    assert!(
        missing.is_empty(),
        "ARCHITECTURE.md names what is not there: {missing:?}"
    );
}
