//! Settings with a grammar of their own.

use std::{fmt, path::PathBuf, str::FromStr};

use url::Url;

use crate::domain::address::HostPattern;

use super::setting::{choices, setting_as_text};

choices! {
    /// How a result reaches the bucket.
    ArchiveMode {
        /// The service copies it from the provider's link.
        Copy = "copy",
        /// The provider writes to a staging key itself.
        Direct = "direct",
    }
}

choices! {
    /// The checksum that the store keeps with an object.
    Checksum { Sha256 = "sha256", Crc64Nvme = "crc64nvme", None = "none" }
}

choices! {
    /// How an existing object is protected from being overwritten.
    CreateOnly {
        /// `If-None-Match: *`, decided by the store.
        Native = "native",
        /// A HEAD before the upload, for stores without conditional writes; two writers can race between them.
        Head = "head",
    }
}

choices! {
    LogFormat { Text = "text", Json = "json" }
}

setting_as_text! {
    BaseUrl => "an http or https address without user, query or fragment, such as https://catchment.example.com";
    StoreUrl => "sqlite:PATH";
    HostPattern => "host names, exact (im.runware.ai) or with one leading wildcard (*.runware.ai), without scheme and port";
    KeyTemplate => "letters, digits and / _ . = - with {taskUUID} and {resultId}, and optionally {prefix} \
                    (in front), {ext}, {yyyy}, {mm}, {dd}";
    Prompt => "text";
}

/// An http(s) address to which paths are appended: no trailing slash, no query, no credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl(Url);

impl BaseUrl {
    /// Without a trailing slash, so that `{base}/cb/v1` is always right.
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    pub const fn url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for BaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|_| "not an address".to_owned())?;
        let plain = url.username().is_empty() && url.password().is_none();
        match url.scheme() {
            "http" | "https" if url.query().is_some() || url.fragment().is_some() => {
                Err("has a query or fragment".into())
            }
            "http" | "https" if !plain => Err("has a user or password".into()),
            "http" | "https" => Ok(Self(url)),
            other => Err(format!("starts with {other}:")),
        }
    }
}

/// Where tasks are kept: a SQLite file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreUrl(PathBuf);

impl StoreUrl {
    pub const fn path(&self) -> &PathBuf {
        &self.0
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sqlite:{}", self.0.display())
    }
}

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("postgres:") || text.starts_with("postgresql:") {
            return Err("PostgreSQL is not supported yet".into());
        }
        match text.strip_prefix("sqlite:") {
            Some(":memory:") => Err("a database in memory would lose accepted tasks".into()),
            Some("") | None => Err("names no SQLite file".into()),
            Some(path) => Ok(Self(path.into())),
        }
    }
}

/// The pattern of object keys, checked; it always tells tasks and results apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTemplate(String);

/// Every placeholder of `archive.key_template`.
pub const KEY_PLACEHOLDERS: [&str; 7] = ["prefix", "taskUUID", "resultId", "ext", "yyyy", "mm", "dd"];

/// Longest template in bytes: prefix, ids and extension must still fit S3's 1024.
const MAX_TEMPLATE_BYTES: usize = 512;

impl KeyTemplate {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn uses(&self, placeholder: &str) -> bool {
        self.0.contains(&format!("{{{placeholder}}}"))
    }
}

impl fmt::Display for KeyTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for KeyTemplate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let literal = without_placeholders(text)?;
        if let Some(odd) = literal.chars().find(|c| !is_key_char(*c)) {
            return Err(format!("{odd:?} is not allowed in a key"));
        }
        if text.starts_with('/') || text.ends_with('/') || text.contains("//") || text.contains("..") {
            return Err("has an empty or dotted path segment".into());
        }
        if text.len() > MAX_TEMPLATE_BYTES {
            return Err(format!("longer than {MAX_TEMPLATE_BYTES} bytes"));
        }
        let template = Self(text.to_owned());
        match ["taskUUID", "resultId"].iter().find(|name| !template.uses(name)) {
            Some(missing) => Err(format!("lacks {{{missing}}}: two results would share a key")),
            None if text.rfind("{prefix}").is_some_and(|at| at > 0) => {
                Err("{prefix} stands only in front".into())
            }
            None => Ok(template),
        }
    }
}

/// Characters that every S3 API takes unescaped.
pub(super) const fn is_key_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '.' | '=' | '-')
}

/// The literal text between the placeholders.
fn without_placeholders(template: &str) -> Result<String, String> {
    let mut literal = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, next) = after.split_once('}').ok_or("has a { without }")?;
        if !KEY_PLACEHOLDERS.contains(&name) {
            return Err(format!("has an unknown placeholder {{{name}}}"));
        }
        literal.push_str(before);
        rest = next;
    }
    literal.push_str(rest);
    Ok(literal)
}

/// Text that is sent to the provider with a task; like every prompt it stays out of logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Prompt(String);

impl Prompt {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hidden>")
    }
}

impl fmt::Display for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Prompt {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}
