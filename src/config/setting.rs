//! How a single value is written in a file, a variable or a flag, and how it is printed back.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use ipnet::IpNet;
use serde_json::Value;

/// A value that can be read from any source and printed so that reading it again gives the same value.
pub(super) trait Setting: Sized {
    /// Secrets have a `<key>_file` form and are never printed, neither by `show` nor in an error.
    const SECRET: bool = false;

    /// What may be written, as one half-sentence for error messages.
    fn allowed() -> String;

    /// Reads text (variables, flags) or a typed value (the file).
    ///
    /// # Errors
    /// What is wrong with it, without the value when it is secret.
    fn read(raw: &Value) -> Result<Self, String>;

    /// `None` when nothing is set.
    fn shown(&self) -> Option<Value>;
}

/// An optional setting is switched off again by an empty text: a variable cannot be "absent" over a file.
impl<T: Setting> Setting for Option<T> {
    const SECRET: bool = T::SECRET;

    fn allowed() -> String {
        T::allowed()
    }

    fn read(raw: &Value) -> Result<Self, String> {
        match raw {
            Value::String(text) if text.trim().is_empty() => Ok(None),
            other => T::read(other).map(Some),
        }
    }

    fn shown(&self) -> Option<Value> {
        self.as_ref().and_then(T::shown)
    }
}

/// A list: an array in the file; in text, a JSON array or items between commas (line breaks do as well).
impl<T: Setting> Setting for Vec<T> {
    const SECRET: bool = T::SECRET;

    fn allowed() -> String {
        format!("a list, comma-separated or an array, of {}", T::allowed())
    }

    fn read(raw: &Value) -> Result<Self, String> {
        list_items(raw)?.iter().map(T::read).collect()
    }

    fn shown(&self) -> Option<Value> {
        if T::SECRET {
            return self.first().and_then(T::shown); // not even how many there are
        }
        Some(Value::Array(self.iter().filter_map(T::shown).collect()))
    }
}

fn list_items(raw: &Value) -> Result<Vec<Value>, String> {
    match raw {
        Value::Array(items) => Ok(items.clone()),
        Value::String(text) if text.trim_start().starts_with('[') => {
            serde_json::from_str(text).map_err(|_| "starts with [ but is not a JSON array".to_owned())
        }
        Value::String(text) => Ok(split_items(text).map(Value::from).collect()),
        single => Ok(vec![single.clone()]),
    }
}

fn split_items(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', '\n'])
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

/// Names and values such as object tags: a table, or `name=value` items.
impl Setting for BTreeMap<String, String> {
    fn allowed() -> String {
        "a table, or name=value items between commas".to_owned()
    }

    fn read(raw: &Value) -> Result<Self, String> {
        let Value::Object(table) = raw else {
            return list_items(raw)?
                .iter()
                .map(|item| name_and_value(&text_of(item)?))
                .collect();
        };
        table
            .iter()
            .map(|(name, value)| Ok((name.clone(), text_of(value)?)))
            .collect()
    }

    fn shown(&self) -> Option<Value> {
        Some(Value::Object(
            self.iter()
                .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
                .collect(),
        ))
    }
}

fn name_and_value(item: &str) -> Result<(String, String), String> {
    match item.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err(format!("{item:?} is not name=value")),
    }
}

/// The text of a value, also where the file wrote a bare number or boolean.
pub(super) fn text_of(raw: &Value) -> Result<String, String> {
    match raw {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Array(_) => Err("a list where one value is expected".to_owned()),
        Value::Object(_) => Err("a table where one value is expected".to_owned()),
        Value::Null => Err("no value".to_owned()),
    }
}

/// The text as it was written, unless it may hold a password (`https://user:password@host`).
pub(super) fn quoted(text: &str) -> String {
    if text.contains('@') {
        "the value".to_owned()
    } else {
        format!("{text:?}")
    }
}

/// For types whose text form is `FromStr` and `Display`.
macro_rules! setting_as_text {
    ($($type:ty => $allowed:expr;)+) => {$(
        impl $crate::config::setting::Setting for $type {
            fn allowed() -> String {
                $allowed.to_string()
            }

            fn read(raw: &serde_json::Value) -> Result<Self, String> {
                let text = $crate::config::setting::text_of(raw)?;
                text.trim().parse().map_err(|fault| format!("{}: {fault}", $crate::config::setting::quoted(&text)))
            }

            fn shown(&self) -> Option<serde_json::Value> {
                Some(self.to_string().into())
            }
        }
    )+};
}
pub(super) use setting_as_text;

/// A closed set of words: the enum, its text forms and its reading in one place.
macro_rules! choices {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_meta])* $variant),+ }

        impl $name {
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl $crate::config::setting::Setting for $name {
            fn allowed() -> String {
                [$($text),+].join(", ")
            }

            fn read(raw: &serde_json::Value) -> Result<Self, String> {
                let text = $crate::config::setting::text_of(raw)?;
                match text.trim() {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(format!("{text:?} is not one of them")),
                }
            }

            fn shown(&self) -> Option<serde_json::Value> {
                Some(self.as_str().into())
            }
        }
    };
}
pub(super) use choices;

setting_as_text! {
    SocketAddr => "an address with a port, such as 127.0.0.1:8080 or [::]:8080";
    IpNet => "a network such as 10.0.0.0/8 or ::1/128";
}

impl Setting for String {
    fn allowed() -> String {
        "text".to_owned()
    }

    fn read(raw: &Value) -> Result<Self, String> {
        text_of(raw)
    }

    fn shown(&self) -> Option<Value> {
        Some(self.as_str().into())
    }
}

impl Setting for PathBuf {
    fn allowed() -> String {
        "a path, relative ones from the working directory".to_owned()
    }

    fn read(raw: &Value) -> Result<Self, String> {
        match text_of(raw)? {
            text if text.is_empty() => Err("is empty".to_owned()),
            text => Ok(text.into()),
        }
    }

    fn shown(&self) -> Option<Value> {
        Some(self.to_string_lossy().into_owned().into())
    }
}

impl Setting for bool {
    fn allowed() -> String {
        "true or false".to_owned()
    }

    fn read(raw: &Value) -> Result<Self, String> {
        let text = text_of(raw)?;
        text.trim().parse().map_err(|_| format!("{text:?} is neither"))
    }

    fn shown(&self) -> Option<Value> {
        Some((*self).into())
    }
}

impl Setting for u32 {
    fn allowed() -> String {
        "a whole number".to_owned()
    }

    fn read(raw: &Value) -> Result<Self, String> {
        let text = text_of(raw)?;
        text.trim()
            .parse()
            .map_err(|_| format!("{text:?} is not one (0 to {})", u32::MAX))
    }

    fn shown(&self) -> Option<Value> {
        Some((*self).into())
    }
}

impl Setting for f64 {
    fn allowed() -> String {
        "a number such as 0.5".to_owned()
    }

    fn read(raw: &Value) -> Result<Self, String> {
        let text = text_of(raw)?;
        match text.trim().parse() {
            Ok(number) if f64::is_finite(number) => Ok(number),
            _ => Err(format!("{text:?} is not one")),
        }
    }

    fn shown(&self) -> Option<Value> {
        Some((*self).into())
    }
}
