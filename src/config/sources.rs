//! Where values come from: flags, then the environment, then a file; defaults are under all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
};

use config::{FileFormat, Format as _};
use serde_json::Value;

use super::{
    ConfigErrors, Fault, Settings,
    keys::Visitor,
    secrets::{HIDDEN, read_secret_file},
    setting::Setting,
};

/// The file that is read from the working directory when `--config` names none; it may be absent.
pub const DEFAULT_FILE: &str = "catchment.toml";

const ENV_PREFIX: &str = "CATCHMENT_";

/// Well-known variables that stand under every `CATCHMENT_…__…`, but over the file.
const ENV_ALIASES: [(&str, &str); 2] = [("RUNWARE_API_KEY", "runware.api_key"), ("RUST_LOG", "log.level")];

/// Everything that `Settings::load` may look at; it reads nothing ambient but the files named here.
pub struct Sources<E> {
    /// `--config`: must exist. `None`: `catchment.toml` in `cwd`, if there is one.
    pub config_file: Option<PathBuf>,
    /// The environment, foreign variables included.
    pub env: E,
    /// (`section.key`, value); of two for one key the later wins.
    pub flags: Vec<(String, String)>,
    /// Relative names of the settings file and of secret files count from here.
    pub cwd: PathBuf,
}

/// Where a value in force was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    #[default]
    Default,
    /// Set by this program itself (`catchment dev`).
    Code,
    File(PathBuf),
    /// The variable's name.
    Env(String),
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Code => f.write_str("built in"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "environment {name}"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// What one source says, by key.
type Layer = BTreeMap<String, (Value, Origin)>;

impl Settings {
    /// Reads and checks every setting.
    ///
    /// # Errors
    /// All faults at once: unreadable sources, unknown keys, wrong values, contradictions. Settings that a
    /// command merely needs are the matter of [`Settings::check`].
    pub fn load(sources: Sources<impl IntoIterator<Item = (String, String)>>) -> Result<Self, ConfigErrors> {
        let mut faults = Vec::new();
        let (env, aliases) = env_layers(sources.env);
        let file = file_layer(sources.config_file.as_deref(), &sources.cwd, &mut faults);
        let layers = [flag_layer(sources.flags), env, aliases, file];
        let mut settings = Self::default();
        let mut loader = Loader::new(&layers, &sources.cwd);
        settings.visit(&mut loader);
        let Loader {
            known,
            origins,
            faults: wrong_values,
            ..
        } = loader;
        settings.origins = origins;
        let failed: BTreeSet<String> = wrong_values.iter().map(|fault| fault.key.clone()).collect();
        faults.extend(unknown_keys(&layers, &known));
        faults.extend(wrong_values);
        faults.extend(settings.contradictions(&failed));
        if faults.is_empty() {
            Ok(settings)
        } else {
            Err(ConfigErrors(faults))
        }
    }
}

fn flag_layer(flags: Vec<(String, String)>) -> Layer {
    flags
        .into_iter()
        .map(|(key, value)| (key, (Value::String(value), Origin::Flag)))
        .collect()
}

/// Our own variables and, as a layer below, the well-known ones. Only names with a double underscore are
/// settings: `CATCHMENT_URL` is the client's, `CATCHMENT_PORT_8080_TCP` comes from Kubernetes.
fn env_layers(env: impl IntoIterator<Item = (String, String)>) -> (Layer, Layer) {
    let (mut own, mut aliases) = (Layer::new(), Layer::new());
    for (name, value) in env {
        if let Some((section, key)) = name
            .strip_prefix(ENV_PREFIX)
            .and_then(|rest| rest.split_once("__"))
        {
            let key = format!("{section}.{key}").to_ascii_lowercase();
            own.insert(key, (Value::String(value), Origin::Env(name)));
        } else if let Some((_, key)) = ENV_ALIASES
            .iter()
            .find(|(alias, _)| *alias == name && !value.is_empty())
        {
            aliases.insert((*key).to_owned(), (Value::String(value), Origin::Env(name)));
        }
    }
    (own, aliases)
}

fn file_layer(named: Option<&Path>, cwd: &Path, faults: &mut Vec<Fault>) -> Layer {
    let path = cwd.join(named.unwrap_or(Path::new(DEFAULT_FILE)));
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(fault) if named.is_none() && fault.kind() == std::io::ErrorKind::NotFound => return Layer::new(),
        Err(fault) => {
            faults.push(Fault::of_file(&path, format!("cannot be read: {fault}")));
            return Layer::new();
        }
    };
    match FileFormat::Toml.parse(None, &text) {
        Ok(sections) => flatten(sections, &path),
        Err(fault) => {
            faults.push(Fault::of_file(&path, without_source_line(&fault.to_string())));
            Layer::new()
        }
    }
}

/// TOML errors quote the line they are about, and that line may hold a secret: keep the place and the reason.
fn without_source_line(error: &str) -> String {
    let kept: Vec<&str> = error
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.contains('|'))
        .collect();
    kept.join(": ")
}

fn flatten(sections: config::Map<String, config::Value>, path: &Path) -> Layer {
    let mut layer = Layer::new();
    for (section, value) in sections {
        let value = value.try_deserialize().unwrap_or(Value::Null);
        match value {
            Value::Object(keys) => {
                let entry =
                    |(key, value)| (format!("{section}.{key}"), (value, Origin::File(path.to_owned())));
                layer.extend(keys.into_iter().map(entry));
            }
            other => drop(layer.insert(section, (other, Origin::File(path.to_owned())))),
        }
    }
    layer
}

/// Puts what the layers say over the defaults and notes what it met.
struct Loader<'a> {
    /// Strongest first.
    layers: &'a [Layer],
    cwd: &'a Path,
    known: Vec<String>,
    origins: BTreeMap<&'static str, Origin>,
    faults: Vec<Fault>,
}

impl<'a> Loader<'a> {
    fn new(layers: &'a [Layer], cwd: &'a Path) -> Self {
        Self {
            layers,
            cwd,
            known: Vec::new(),
            origins: BTreeMap::new(),
            faults: Vec::new(),
        }
    }

    /// A secret's text from the strongest layer that has it, directly or as the name of a file.
    fn find_secret(&self, key: &str, file_key: &str) -> Option<(Result<Value, String>, Origin)> {
        let pairs = self
            .layers
            .iter()
            .map(|layer| (layer.get(key), layer.get(file_key)));
        match pairs.into_iter().find(|pair| *pair != (None, None))? {
            (Some((_, origin)), Some(_)) => Some((
                Err(format!("{key} and {file_key} are both given; keep one")),
                origin.clone(),
            )),
            (Some((Value::String(text), origin)), None) if text == HIDDEN => Some((
                Err(format!(
                    "{HIDDEN} is what `config show` prints in place of a secret"
                )),
                origin.clone(),
            )),
            (Some((value, origin)), None) => Some((Ok(value.clone()), origin.clone())),
            (None, Some((name, origin))) => Some((self.read_named(name), origin.clone())),
            (None, None) => None,
        }
    }

    fn read_named(&self, name: &Value) -> Result<Value, String> {
        let path = PathBuf::read(name).map_err(|fault| format!("its _file form {fault}"))?;
        read_secret_file(&self.cwd.join(path)).map(Value::String)
    }

    fn find(&self, key: &str) -> Option<(Result<Value, String>, Origin)> {
        let (value, origin) = self.layers.iter().find_map(|layer| layer.get(key))?;
        Some((Ok(value.clone()), origin.clone()))
    }
}

impl Visitor for Loader<'_> {
    fn setting<T: Setting>(&mut self, key: &'static str, value: &mut T) {
        self.known.push(key.to_owned());
        let found = if T::SECRET {
            let file_key = format!("{key}_file");
            self.known.push(file_key.clone());
            self.find_secret(key, &file_key)
        } else {
            self.find(key)
        };
        let Some((raw, origin)) = found else { return };
        match raw.and_then(|raw| T::read(&raw)) {
            Ok(parsed) => {
                *value = parsed;
                self.origins.insert(key, origin);
            }
            Err(problem) => {
                self.faults.push(Fault {
                    origin,
                    key: key.to_owned(),
                    problem,
                    allowed: Some(T::allowed()),
                });
            }
        }
    }
}

fn unknown_keys<'a>(layers: &'a [Layer], known: &'a [String]) -> impl Iterator<Item = Fault> + 'a {
    let unknown = |key: &&String| !known.contains(key);
    layers.iter().flat_map(move |layer| {
        layer
            .keys()
            .filter(unknown)
            .map(|key| unknown_key(key, &layer[key].1, known))
    })
}

fn unknown_key(key: &str, origin: &Origin, known: &[String]) -> Fault {
    let allowed = nearest(key, known).map(|near| format!("did you mean {near}?"));
    Fault {
        origin: origin.clone(),
        key: key.to_owned(),
        problem: "there is no such setting".to_owned(),
        allowed,
    }
}

/// The known key that reads most like `key`: the right name in a wrong or missing section counts too.
fn nearest<'a>(key: &str, known: &'a [String]) -> Option<&'a str> {
    /// Below this two keys only share a few letters.
    const ALIKE: f64 = 0.5;
    let leaf = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let likeness = |candidate: &str| {
        let whole = strsim::normalized_damerau_levenshtein(key, candidate);
        let leaves = strsim::normalized_damerau_levenshtein(&leaf(key), &leaf(candidate));
        // The whole name breaks ties: `events.timeot` is nearer to `events.timeout` than to another section's.
        (whole.max(leaves * 0.95), whole)
    };
    let scored = known
        .iter()
        .map(|candidate| (likeness(candidate), candidate.as_str()));
    let ((score, _), best) =
        scored.max_by(|(a, _), (b, _)| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal))?;
    (score >= ALIKE).then_some(best)
}
