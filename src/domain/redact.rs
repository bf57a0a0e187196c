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
    let mut rest = text;
    while !rest.is_empty() {
        let gap = rest.find(is_word).unwrap_or(rest.len());
        let (between, after) = rest.split_at(gap);
        kept.push_str(between);
        if between == "?" && kept.len() > 1 {
            // The query of a URL, up to where a person's text goes on.
            rest = hide(&mut kept, after, until(after, &['"', '<', '>']));
            continue;
        }
        let begins_line = kept.is_empty() || kept.ends_with('\n');
        let end = after.find(|c| !is_word(c)).unwrap_or(after.len());
        let (word, after) = after.split_at(end);
        rest = after;
        let lower = word.to_lowercase();
        let is_name = lower == "key" || NAMES.iter().any(|name| lower.contains(name));
        if SCHEMES.contains(&lower.as_str()) && after.starts_with(' ') {
            kept.push_str(word);
            kept.push(' ');
            rest = hide(&mut kept, &after[1..], until(&after[1..], &['"']));
            continue;
        }
        // What was percent-encoded whole holds its secret in the same word.
        let hidden = !word.is_empty() && (is_token(word) || (is_name && word.contains('%')));
        kept.push_str(if hidden { HIDDEN } else { word });
        if is_name && let Some((announcing, value)) = announcement(after) {
            let is_header = begins_line || lower.contains("authorization") || lower.contains("cookie");
            kept.push_str(&after[..announcing]);
            let value_and_more = &after[announcing..];
            rest = match after.starts_with(':') && is_header {
                true => hide_line(&mut kept, value_and_more),
                false => hide_value(&mut kept, value_and_more, value, after.starts_with([':', '='])),
            };
        }
    }
    kept
}

/// Puts the sign for `length` bytes that are left out, and answers what comes after them.
fn hide<'a>(kept: &mut String, text: &'a str, length: usize) -> &'a str {
    if length > 0 {
        kept.push_str(HIDDEN);
    }
    &text[length..]
}

/// Up to the next of these, or the next blank.
fn until(text: &str, ends: &[char]) -> usize {
    let end = text.find(|c: char| c.is_whitespace() || ends.contains(&c));
    end.unwrap_or(text.len())
}

/// How the value after a name is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    /// Between quotes, each behind so many backslashes: JSON, and JSON within JSON.
    Quoted { quote: char, backslashes: usize },
    /// A list or an object.
    Bracketed,
    /// Bare after a colon: a person's text.
    Told,
    /// Bare after an equals sign: a query or a form.
    Set,
    /// The content of a form's part.
    Part,
    /// The content of an element.
    Element,
}

/// What makes the text after a name its value: the quote that closes the name, a colon or the like, and the quote that
/// opens the value. Answers their length.
fn announcement(text: &str) -> Option<(usize, Value)> {
    let trimmed = text.trim_start_matches(['"', '\'', '\\', ']']);
    for blank_line in ["\r\n\r\n", "\n\n"] {
        if let Some(content) = trimmed.strip_prefix(blank_line) {
            return Some((text.len() - content.len(), Value::Part));
        }
    }
    let trimmed = trimmed.trim_start_matches([' ', '\t', '\n', '\r']);
    let sign = trimmed.chars().next().filter(|c| ":=>".contains(*c))?;
    let value = trimmed.trim_start_matches([':', '=', '>']);
    let value = value.trim_start_matches([' ', '\t', '\n', '\r']);
    let inner = value.trim_start_matches('\\');
    let backslashes = value.len() - inner.len();
    let before = text.len() - value.len();
    Some(match inner.chars().next() {
        Some(quote @ ('"' | '\'')) => (before + backslashes + 1, Value::Quoted { quote, backslashes }),
        Some('{' | '[') if backslashes == 0 => (before, Value::Bracketed),
        _ if sign == '>' => (before, Value::Element),
        _ if sign == '=' => (before, Value::Set),
        _ => (before, Value::Told),
    })
}

/// A header's value, save the name of its scheme.
fn hide_line<'a>(kept: &mut String, text: &'a str) -> &'a str {
    let scheme = SCHEMES.iter().find_map(|s| {
        let given = text.get(..s.len())?;
        (given.eq_ignore_ascii_case(s) && text[s.len()..].starts_with(' ')).then_some(s.len() + 1)
    });
    let (scheme, text) = text.split_at(scheme.unwrap_or(0));
    kept.push_str(scheme);
    hide(kept, text, text.find(['\r', '\n']).unwrap_or(text.len()))
}

fn hide_value<'a>(kept: &mut String, text: &'a str, value: Value, is_bare: bool) -> &'a str {
    let upto = |ends: &[char]| text.find(ends).unwrap_or(text.len());
    let bare = |text: &str| until(text, &['&', '"', '<', '>']);
    let end = match value {
        Value::Part => upto(&['\r', '\n']),
        Value::Element => upto(&['<']),
        Value::Set => bare(text),
        Value::Told => until(text, &['"', '}']),
        Value::Quoted { quote, backslashes } => quoted(text, quote, backslashes),
        Value::Bracketed => bracketed(text),
    };
    let is_enclosed = matches!(value, Value::Quoted { .. } | Value::Bracketed);
    // A bare name's value may begin with a quote that is its own.
    let more = if is_bare && is_enclosed {
        text[end..].find(|c: char| c.is_whitespace() || c == '&')
    } else {
        Some(0)
    };
    hide(kept, text, more.map_or(text.len(), |more| end + more))
}

/// The length of what is between quotes: up to the quote that is not escaped at this depth, or to the end where the
/// text was cut. Each depth doubles the backslashes before a quote, and adds one.
fn quoted(text: &str, quote: char, backslashes: usize) -> usize {
    let mut run = 0;
    for (at, c) in text.char_indices() {
        match c {
            '\\' => run += 1,
            c if c == quote => {
                if run < backslashes {
                    return at - run; // the text around it ends
                }
                let escaping = run - backslashes;
                if escaping.is_multiple_of(2 * (backslashes + 1)) {
                    return at - backslashes;
                }
                run = 0;
            }
            _ => run = 0,
        }
    }
    text.len()
}

/// The length of a list or an object, with all that is in it.
fn bracketed(text: &str) -> usize {
    let (mut depth, mut rest) = (0usize, text);
    while let Some(at) = rest.find(['{', '[', '}', ']', '"']) {
        let after = &rest[at + 1..];
        match rest.as_bytes()[at] {
            b'"' => {
                let end = quoted(after, '"', 0);
                rest = after.get(end + 1..).unwrap_or("");
                continue;
            }
            b'{' | b'[' => depth += 1,
            _ => depth = depth.saturating_sub(1),
        }
        rest = after;
        if depth == 0 {
            return text.len() - rest.len();
        }
    }
    text.len()
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
            (
                r#"{"token": "ab,cd", "code": 5}"#,
                r#"{"token": "[redacted]", "code": 5}"#,
            ),
            (
                r#"{"token": "ab\"cd\\", "code": 5}"#,
                r#"{"token": "[redacted]", "code": 5}"#,
            ),
            (r#"{"token": "cut off, he"#, r#"{"token": "[redacted]"#),
            (
                r#"{"body": "{\"token\": \"a,\\\"b\", \"n\": 1}"}"#,
                r#"{"body": "{\"token\": \"[redacted]\", \"n\": 1}"}"#,
            ),
            (
                r#"{"tokens": ["a,b", "c]"], "n": 1}"#,
                r#"{"tokens": [redacted], "n": 1}"#,
            ),
            ("Cookie: a=b; c=d\r\nHost: h", "Cookie: [redacted]\r\nHost: h"),
            ("wrong token: try again", "wrong token: [redacted] again"),
            ("<password>a b</password>", "<password>[redacted]</password>"),
            ("next=token%3Dabc", "next=[redacted]"),
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

        /// Whatever is in a secret: quotes, backslashes, brackets, commas, blanks. The text around it has neither
        /// capitals nor digits, so that none of the secret's may be left.
        #[test]
        fn t16_nothing_of_a_named_secret_stays_in_any_usual_form(
            secret in r#"[A-Z0-9,;:'"\\\\{}\[\]()!?&=<>+/ .~|^é-]{1,40}"#,
            name in prop::sample::select(&["token", "api_key", "x-signature", "client-secret", "password"][..]),
            before in "[a-z ]{0,20}",
        ) {
            let word: String = secret.chars().filter(|c| !c.is_whitespace() && !"\"<>&".contains(*c)).collect();
            let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            let json = serde_json::json!({ "detail": before, name: secret, "why": "unknown" }).to_string();
            let within = serde_json::json!({ "body": json, "why": "unknown" }).to_string();
            for text in [
                json.clone(),
                serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(&json).unwrap()).unwrap(),
                within.clone(),
                serde_json::json!({ "body": within }).to_string(),
                serde_json::json!({ name: [&secret, &secret], "why": "unknown" }).to_string(),
                serde_json::json!({ name: { "value": &secret }, "why": "unknown" }).to_string(),
                format!("{before} https://h.example/a?b=c&{name}={encoded}&d=e"),
                format!("b=c&{name}={encoded}&d=e"),
                format!("b=c&{name}={word}"),
                format!("host: h\r\n{name}: {secret}\r\naccept: none"),
                format!("{before} authorization: bearer {secret}\nhost: h"),
                format!("{before}, cookie: sid={secret}\nhost: h"),
                format!("form-data; name=\"{name}\"\r\n\r\n{}\r\n--", secret.replace('<', "")),
            ] {
                let kept = redact(&text);
                let left = kept.chars().any(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
                prop_assert!(!left, "{text} → {kept}");
            }
        }

        #[test]
        fn any_text_is_taken(text in "\\PC{0,200}") {
            redact(&text);
        }
    }
}
