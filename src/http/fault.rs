//! What is wrong with a request, and where.

use serde::Serialize;
use utoipa::ToSchema;

/// One fault of a request body or query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(example = json!({"pointer": "/outputQuality", "code": "out_of_range", "detail": "must be an integer from 20 to 99"}))]
pub struct Fault {
    /// JSON pointer from the body's root: to what is wrong, or to the member that is missing. For a query parameter
    /// `?` and its name.
    pub pointer: String,
    pub code: FaultCode,
    /// What would be right. Never repeats a value of the request.
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultCode {
    Required,
    WrongType,
    OutOfRange,
    NotAllowed,
    TooLong,
    TooShort,
    UnknownMember,
    InvalidFormat,
    Duplicate,
    NotSupportedYet,
}

/// Most faults reported at once. A body of nothing but faults would otherwise be answered by a larger one.
const MAX_FAULTS: usize = 100;

/// Gathers faults in the order they are found.
#[derive(Debug, Default)]
pub struct Faults(Vec<Fault>);

impl Faults {
    pub fn add(&mut self, pointer: impl Into<String>, code: FaultCode, detail: impl Into<String>) {
        if self.0.len() < MAX_FAULTS {
            self.0.push(Fault {
                pointer: pointer.into(),
                code,
                detail: detail.into(),
            });
        }
    }

    /// Whether looking further would add nothing.
    pub fn is_full(&self) -> bool {
        self.0.len() >= MAX_FAULTS
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn into_vec(self) -> Vec<Fault> {
        self.0
    }
}

/// The pointer to a member of what `parent` points to.
pub fn member(parent: &str, name: &str) -> String {
    format!("{parent}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Longest member name that an answer repeats, in bytes. A longer one is reported at its parent.
const MAX_NAME_BYTES: usize = 100;

/// Reports a member nobody knows, with the known name it may have been meant to be.
pub fn unknown_member<'a>(
    faults: &mut Faults,
    parent: &str,
    name: &str,
    known: impl Iterator<Item = &'a str>,
) {
    if name.len() > MAX_NAME_BYTES {
        let detail = format!(
            "holds a member with a name of {} bytes, which is unknown",
            name.len()
        );
        return faults.add(parent, FaultCode::UnknownMember, detail);
    }
    let nearest = known
        .map(|k| (strsim::jaro_winkler(&name.to_lowercase(), &k.to_lowercase()), k))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let detail = match nearest {
        Some((_, k)) => format!("unknown member; did you mean `{k}`?"),
        None => "unknown member".to_owned(),
    };
    faults.add(member(parent, name), FaultCode::UnknownMember, detail);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_escape_what_json_pointer_needs_escaped() {
        assert_eq!(member("/0", "a/b~c"), "/0/a~1b~0c");
        let body = serde_json::json!([{ "a/b~c": 1 }]);
        assert_eq!(body.pointer(&member("/0", "a/b~c")), Some(&serde_json::json!(1)));
    }

    #[test]
    fn an_unknown_member_names_the_nearest_known_one() {
        let mut faults = Faults::default();
        unknown_member(
            &mut faults,
            "",
            "postivePrompt",
            ["positivePrompt", "ttl"].into_iter(),
        );
        unknown_member(&mut faults, "", "zzz", ["positivePrompt", "ttl"].into_iter());
        unknown_member(&mut faults, "/inputs", &"x".repeat(4_000), ["ttl"].into_iter());
        let faults = faults.into_vec();
        assert!(faults[0].detail.contains("`positivePrompt`"));
        assert_eq!(faults[1].detail, "unknown member");
        assert_eq!(faults[2].pointer, "/inputs");
    }

    #[test]
    fn the_list_of_faults_is_bounded() {
        let mut faults = Faults::default();
        (0..1_000).for_each(|n| faults.add(format!("/{n}"), FaultCode::WrongType, "x"));
        assert_eq!(faults.into_vec().len(), MAX_FAULTS);
    }
}
