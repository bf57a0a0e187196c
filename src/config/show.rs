//! `config show`: what is in force and where each value came from, secrets hidden.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{Settings, keys::Visitor, setting::Setting, sources::Origin};

/// One setting, ready to print.
struct Shown {
    section: &'static str,
    name: &'static str,
    /// `None`: not set.
    value: Option<Value>,
    origin: Origin,
}

impl Settings {
    /// A settings file that says what is in force. Read back without its `<hidden>` lines it gives the same
    /// settings.
    pub fn show(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for entry in self.entries() {
            if entry.section != section {
                let gap = if section.is_empty() { "" } else { "\n" };
                section = entry.section;
                let _ = writeln!(text, "{gap}[{section}]");
            }
            let _ = match &entry.value {
                Some(value) => writeln!(text, "{} = {}  # {}", entry.name, toml(value), entry.origin),
                None => writeln!(text, "# {} is not set", entry.name),
            };
        }
        text
    }

    /// The same as one object: `{"server": {"listen": {"value": "127.0.0.1:8080", "source": "default"}}}`;
    /// `value` is null when nothing is set.
    pub fn show_json(&self) -> Value {
        let mut sections = Map::new();
        for entry in self.entries() {
            let shown = json!({ "value": entry.value, "source": entry.origin.to_string() });
            sections.entry(entry.section).or_insert_with(|| json!({}))[entry.name] = shown;
        }
        Value::Object(sections)
    }

    fn entries(&self) -> Vec<Shown> {
        let mut defaults = Entries::default();
        Self::default().visit(&mut defaults);
        let mut in_force = Entries::default();
        self.clone().visit(&mut in_force);
        let pairs = in_force.0.into_iter().zip(defaults.0);
        pairs
            .map(|((key, value), (_, default))| self.entry(key, value, default.as_ref()))
            .collect()
    }

    fn entry(&self, key: &'static str, value: Option<Value>, default: Option<&Value>) -> Shown {
        let (section, name) = key.split_once('.').expect("every key has a section");
        let unnamed = if value.as_ref() == default {
            Origin::Default
        } else {
            Origin::Code
        };
        let origin = self.origins.get(key).cloned().unwrap_or(unnamed);
        Shown {
            section,
            name,
            value,
            origin,
        }
    }
}

#[derive(Default)]
struct Entries(Vec<(&'static str, Option<Value>)>);

impl Visitor for Entries {
    fn setting<T: Setting>(&mut self, key: &'static str, value: &mut T) {
        self.0.push((key, value.shown()));
    }
}

/// A value as TOML. JSON's notation is TOML's too but for tables, and for DEL, which TOML wants escaped.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Object(table) if table.is_empty() => "{}".to_owned(),
        Value::Object(table) => {
            let pair = |(name, value): (&String, &Value)| {
                format!("{} = {}", toml(&name.as_str().into()), toml(value))
            };
            format!("{{ {} }}", table.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
        plain => plain.to_string().replace('\u{7f}', "\\u007f"),
    }
}
