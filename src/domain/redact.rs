//! Text that a stranger wrote, made fit to be kept: whatever looks like a secret goes, ordinary words stay. Errs on
//! the side of hiding: an id or a path that looks like a token is lost too.

/// Stands where something was.
const HIDDEN: &str = "[redacted]";

/// Shortest run of letters and digits that is taken for a token by its looks alone. Words and numbers of people are
/// shorter, keys and signatures longer.
const TOKEN_CHARS: usize = 16;

/// What is said before a secret, in lower case.
const NAMES: [&str; 12] = [
    "secret",
    "token",
    "passw",
    "apikey",
    "api_key",
    "api-key",
    "authorization",
    "signature",
    "credential",
    "session",
    "cookie",
    "private",
];
/// What announces one without a colon.
const SCHEMES: [&str; 3] = ["bearer", "basic", "digest"];
/// What a secret begins with, however short it is.
const PREFIXES: [&str; 9] = ["whsec_", "ck_", "sk_", "sk-", "pk_", "ghp_", "xox", "AKIA", "eyJ"];

/// URL queries, tokens, signatures, and what follows a name such as `password:`, all hidden.
pub fn redact(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    // Whether the next word is a secret by what was said before it.
    let mut announced = Announced::No;
    let mut rest = text;
    while !rest.is_empty() {
        let gap = rest.find(is_word).unwrap_or(rest.len());
        let (between, after) = rest.split_at(gap);
        announced = announced.through(between);
        if between.ends_with('?') && !kept.is_empty() && between.len() == 1 {
            // The query of a URL, up to where a person's text goes on.
            let end = after.find(|c: char| c.is_whitespace() || "\"'<>".contains(c));
            kept.push('?');
            kept.push_str(HIDDEN);
            rest = &after[end.unwrap_or(after.len())..];
            continue;
        }
        kept.push_str(between);
        let end = after.find(|c| !is_word(c)).unwrap_or(after.len());
        let (word, after) = after.split_at(end);
        rest = after;
        let lower = word.to_lowercase();
        if SCHEMES.contains(&lower.as_str()) {
            kept.push_str(word);
            announced = Announced::Yes;
            continue;
        }
        let hidden = announced == Announced::Yes || is_token(word);
        kept.push_str(if hidden && !word.is_empty() { HIDDEN } else { word });
        announced = match NAMES.iter().any(|name| lower.contains(name)) || lower == "key" {
            true => Announced::ByName,
            false => Announced::No,
        };
    }
    kept
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Announced {
    No,
    /// A name was said; a colon or an equals sign makes the next word its value.
    ByName,
    Yes,
}

impl Announced {
    fn through(self, between: &str) -> Self {
        match self {
            Self::ByName if between.contains([':', '=']) => Self::Yes,
            Self::ByName => Self::No,
            other => other,
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || "+/_-.~%@$*#".contains(c)
}

fn is_token(word: &str) -> bool {
    // A path is judged by its parts; base64 has slashes too, but its first part begins no path.
    match word.starts_with('/') {
        true => word.split('/').any(is_token_part),
        false => is_token_part(word),
    }
}

fn is_token_part(part: &str) -> bool {
    let count = |is: fn(char) -> bool| part.chars().filter(|c| is(*c)).count();
    let digits = count(|c| c.is_ascii_digit());
    let mixed = count(|c| c.is_ascii_uppercase()) > 1 && count(|c| c.is_ascii_lowercase()) > 1;
    part.contains('@')
        || PREFIXES
            .iter()
            .any(|p| part.starts_with(p) && part.len() > p.len())
        || (part.chars().count() >= TOKEN_CHARS && (digits >= 3 || (digits >= 1 && mixed)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn t16_what_people_write_stays() {
        for text in [
            "Internal Server Error",
            "database is locked (attempt 3 of 5), try again at 12:30",
            r#"{"error":"unknown campaign","code":4102}"#,
            "token expired",
            "no handler for /hooks/catchment in v2.1",
            "überlastet — später? Ja",
        ] {
            assert_eq!(redact(text), text);
        }
    }

    #[test]
    fn t16_what_looks_like_a_secret_goes() {
        for (text, kept) in [
            (
                "bad signature v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
                "bad signature v1,[redacted]=",
            ),
            ("whsec_x is wrong", "[redacted] is wrong"),
            ("Authorization: Bearer abc", "Authorization: Bearer [redacted]"),
            (
                r#"{"password":"hunter2","user":"bob"}"#,
                r#"{"password":"[redacted]","user":"bob"}"#,
            ),
            ("api_key=abc&x=1", "api_key=[redacted]&x=1"),
            (
                "GET https://h.example/a?sig=abc&x=1 failed",
                "GET https://h.example/a?[redacted] failed",
            ),
            ("https://bob:pw@h.example/", "https://bob:[redacted]"),
            ("key AKIAIOSFODNN7EXAMPLE", "key [redacted]"),
            ("at /hooks/0123456789abcdef0123/in", "at [redacted]"),
            ("jwt eyJhbGciOiJIUzI1NiJ9.e30.abc", "jwt [redacted]"),
        ] {
            assert_eq!(redact(text), kept);
        }
    }

    proptest! {
        #[test]
        fn t16_a_random_key_never_stays(key in "[A-Za-z0-9]{32}", before in "[a-z ]{0,20}", after in "[a-z ]{0,20}") {
            prop_assume!(key.chars().filter(char::is_ascii_digit).count() >= 3);
            let kept = redact(&format!("{before} {key} {after}"));
            prop_assert!(!kept.contains(&key));
        }

        #[test]
        fn any_text_is_taken(text in "\\PC{0,200}") {
            redact(&text);
        }
    }
}
