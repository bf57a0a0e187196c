//! Strict JSON in, canonical JSON out.

use super::error::ApiError;
use crate::domain::ids::Digest;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use sha2::{Digest as _, Sha256};
use std::cell::Cell;
use std::fmt;
use std::io::{self, Write};

/// Deepest nesting taken. The provider's tasks need four levels; the parser's own stack ends far later.
pub const MAX_DEPTH: usize = 64;

/// What the values of a document may need beside its text, in bytes: a task with all it may hold needs some thousands,
/// and a body has up to a hundred of them.
const MAX_TREE_BYTES: usize = 8 * 1024 * 1024;
/// The same of a list of tasks to import: a hundred thousand objects of a few members.
const MAX_LIST_BYTES: usize = 96 * 1024 * 1024;

/// A value, in an array or beside its name; the names and their tree in an object: the first few, then each.
const VALUE_BYTES: usize = size_of::<Value>();
const OBJECT_BYTES: usize = 640;
const MEMBER_BYTES: usize = 120;
const MEMBERS_WITHIN: usize = 5;

/// Reads one JSON document: UTF-8, at most [`MAX_DEPTH`] deep, no member twice in one object (two readers that pick
/// different ones would disagree about what was asked for).
pub fn parse(bytes: &[u8]) -> Result<(&str, Value), ApiError> {
    parse_within(bytes, MAX_TREE_BYTES)
}

/// The same of a long list.
pub fn parse_list(bytes: &[u8]) -> Result<(&str, Value), ApiError> {
    parse_within(bytes, MAX_LIST_BYTES)
}

fn parse_within(bytes: &[u8], max_tree: usize) -> Result<(&str, Value), ApiError> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        ApiError::MalformedJson(format!("The body is not UTF-8 at byte {}.", e.valid_up_to()))
    })?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let room = Cell::new(Some(max_tree));
    let read = Strict {
        depth: 0,
        room: &room,
    }
    .deserialize(&mut reader)
    .and_then(|value| reader.end().map(|()| value));
    match read {
        Ok(value) => Ok((text, value)),
        Err(_) if room.get().is_none() => Err(ApiError::TooManyValues),
        Err(e) => Err(ApiError::MalformedJson(format!(
            "The body is not the JSON expected: {e}."
        ))),
    }
}

/// SHA-256 of the canonical form: members sorted by name, no whitespace, numbers as they were parsed.
pub fn fingerprint(value: &Value) -> Digest {
    let mut hash = HashWriter(Sha256::new());
    write_canonical(&mut hash, value).expect("hashing cannot fail");
    Digest(hash.0.finalize().into())
}

/// The same of an object that lacks the member `without`.
pub fn fingerprint_without(without: &str, members: &Map<String, Value>) -> Digest {
    let mut hash = HashWriter(Sha256::new());
    write_object(&mut hash, members, Some(without)).expect("hashing cannot fail");
    Digest(hash.0.finalize().into())
}

fn write_canonical(out: &mut impl Write, value: &Value) -> io::Result<()> {
    match value {
        Value::Object(members) => write_object(out, members, None),
        Value::Array(items) => {
            out.write_all(b"[")?;
            for (n, item) in items.iter().enumerate() {
                out.write_all(if n == 0 { b"" } else { b"," })?;
                write_canonical(out, item)?;
            }
            out.write_all(b"]")
        }
        scalar => Ok(serde_json::to_writer(out, scalar)?),
    }
}

/// Sorted here, whatever order the map itself keeps.
fn write_object(out: &mut impl Write, members: &Map<String, Value>, without: Option<&str>) -> io::Result<()> {
    let mut sorted: Vec<_> = members
        .iter()
        .filter(|(name, _)| Some(name.as_str()) != without)
        .collect();
    sorted.sort_unstable_by_key(|(name, _)| *name);
    out.write_all(b"{")?;
    for (n, (name, value)) in sorted.into_iter().enumerate() {
        out.write_all(if n == 0 { b"" } else { b"," })?;
        serde_json::to_writer(&mut *out, name)?;
        out.write_all(b":")?;
        write_canonical(out, value)?;
    }
    out.write_all(b"}")
}

struct HashWriter(Sha256);

impl Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A value `depth` levels down.
#[derive(Clone, Copy)]
struct Strict<'r> {
    depth: usize,
    /// Bytes left for the tree; `None`: it was too large.
    room: &'r Cell<Option<usize>>,
}

impl Strict<'_> {
    /// Counts bytes before they are needed.
    fn take<E: serde::de::Error>(self, bytes: usize) -> Result<(), E> {
        let left = self.room.get().and_then(|room| room.checked_sub(bytes));
        self.room.set(left);
        left.map(drop).ok_or_else(|| E::custom("too many values"))
    }

    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth {
            MAX_DEPTH => Err(E::custom(format_args!("nested deeper than {MAX_DEPTH} levels"))),
            depth => Ok(Self {
                depth: depth + 1,
                room: self.room,
            }),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(Value::Number(v.into()))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(Value::Number(v.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, v: f64) -> Result<Value, E> {
        let number = Number::from_f64(v).ok_or_else(|| E::custom("a number out of range"))?;
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::String(v.to_owned()))
    }

    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(Value::String(v))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let deeper = self.deeper()?;
        let mut items = vec![];
        while let Some(item) = seq.next_element_seed(deeper)? {
            self.take(VALUE_BYTES)?;
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let deeper = self.deeper()?;
        self.take(OBJECT_BYTES)?;
        let mut members = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value_seed(deeper)?;
            if members.len() >= MEMBERS_WITHIN {
                self.take(MEMBER_BYTES)?;
            }
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a member is given twice"));
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn refused(bytes: &[u8]) -> String {
        match parse(bytes) {
            Err(ApiError::MalformedJson(detail)) => detail,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_one_json_document_is_refused() {
        for text in [
            "",
            "{",
            "{}{}",
            "[1,]",
            "nul",
            "\u{feff}{}",
            "1e400",
            "{\"a\":NaN}",
            "'a'",
        ] {
            refused(text.as_bytes());
        }
        assert!(refused(b"\"\xff\"").contains("UTF-8"));
    }

    #[test]
    fn t2_a_member_given_twice_is_refused_however_it_is_spelled() {
        assert!(refused(br#"{"taskUUID":"a","taskUUID":"b"}"#).contains("twice"));
        assert!(refused(br#"[{"x":{"webhookURL":1,"\u0077ebhookURL":2}}]"#).contains("twice"));
    }

    #[test]
    fn t2_depth_is_bounded_long_before_the_stack_is() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert!(refused(nested(MAX_DEPTH + 1).as_bytes()).contains("deeper"));
        refused("[".repeat(1_000_000).as_bytes());
        refused("{\"a\":".repeat(1_000_000).as_bytes());
    }

    #[test]
    fn t2_a_body_of_countless_values_is_refused_before_they_are_made() {
        let mib = 1024 * 1024;
        for text in [
            format!("[{}0]", "0,".repeat(8 * mib)),
            format!("[{}0]", "{},".repeat(5 * mib)),
            format!("[{}[]]", "[[]],".repeat(3 * mib)),
            format!("{{\"a\":[{}0]}}", "{\"\":1},".repeat(2 * mib)),
        ] {
            assert_eq!(parse(text.as_bytes()).err(), Some(ApiError::TooManyValues));
            assert_eq!(parse_list(text.as_bytes()).err(), Some(ApiError::TooManyValues));
        }
        let wide: Vec<String> = (0..100_000).map(|n| format!("\"{n}\":0")).collect();
        let wide = format!("{{{}}}", wide.join(","));
        assert_eq!(parse(wide.as_bytes()).err(), Some(ApiError::TooManyValues));
        // One long text is no tree, and a list of as many tasks as may be imported is one.
        assert!(parse(format!("\"{}\"", "x".repeat(16 * mib)).as_bytes()).is_ok());
        let item = r#"{"taskUUID":"0c0ffee0-0000-4000-8000-000000000001","model":"m","labels":{}}"#;
        let list = format!("[{}]", vec![item; 70_000].join(","));
        assert!(parse_list(list.as_bytes()).is_ok());
    }

    #[test]
    fn the_fingerprint_sees_values_and_not_spelling() {
        let of = |text: &str| fingerprint(&parse(text.as_bytes()).unwrap().1);
        assert_eq!(
            of(r#"{"a":1,"b":[true,"x"]}"#),
            of(" { \"b\" : [true, \"\\u0078\"], \"a\":1 } ")
        );
        assert_ne!(of(r#"{"a":1}"#), of(r#"{"a":"1"}"#));
        assert_ne!(of(r#"[1,2]"#), of(r#"[2,1]"#));
        assert_ne!(of(r#"{"a":{}}"#), of(r#"{"a":[]}"#));
    }

    #[test]
    fn a_member_is_left_out_of_the_outermost_object_alone() {
        let without_id = |value: Value| fingerprint_without("id", value.as_object().unwrap());
        let one = without_id(json!({"id": 1, "x": {"id": 1}}));
        assert_eq!(one, without_id(json!({"id": 2, "x": {"id": 1}})));
        assert_eq!(one, fingerprint(&json!({"x": {"id": 1}})));
        assert_ne!(one, without_id(json!({"id": 1, "x": {"id": 2}})));
    }

    #[test]
    fn the_canonical_form_is_compact_and_sorted() {
        let mut out = vec![];
        write_canonical(&mut out, &json!({"b": [1, {"d": null, "c": "é\n"}], "a": 0.5})).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"a":0.5,"b":[1,{"c":"é\n","d":null}]}"#
        );
    }

    proptest! {
        #[test]
        fn t2_any_bytes_are_read_or_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn what_is_read_is_what_the_ordinary_parser_reads(text in r#"[\[\]{}":,0-9a-c \\-]{0,40}"#) {
            if let Ok((_, value)) = parse(text.as_bytes()) {
                prop_assert_eq!(value, serde_json::from_str::<Value>(&text).unwrap());
            }
        }
    }
}
