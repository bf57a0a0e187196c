//! What of the provider's words may be kept and shown: codes as they are, sentences without what they may carry.

/// Longest message kept, in characters.
pub const MAX_MESSAGE_CHARS: usize = 300;
/// Longest code kept, in characters; the longest known one has 40.
const MAX_CODE_CHARS: usize = 64;
/// No word of a sentence is longer, in bytes: it is a link, a key or inline media.
const MAX_WORD_BYTES: usize = 80;
/// How much of a message is looked at, in characters.
const MAX_RAW_CHARS: usize = 4096;

/// The code as a stable word of `[A-Za-z0-9_.-]`; `None` when nothing of it is left.
pub fn code(raw: &str) -> Option<String> {
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let code: String = raw.chars().filter(plain).take(MAX_CODE_CHARS).collect();
    (!code.is_empty()).then_some(code)
}

/// The message on one line, bounded, with every link taken out: the provider may quote what it was sent, and that
/// holds our callback's token and the client's signed links.
pub fn message(raw: &str) -> String {
    let raw: String = raw.chars().take(MAX_RAW_CHARS).collect();
    let shown = |word| if is_link(word) { "[removed]" } else { word };
    let words: Vec<&str> = raw
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .map(shown)
        .collect();
    words.join(" ").chars().take(MAX_MESSAGE_CHARS).collect()
}

fn is_link(word: &str) -> bool {
    let word = word.to_ascii_lowercase().replace('\\', "");
    let host_and_path = |w: &str| w.split_once('/').is_some_and(|(host, _)| host.contains('.'));
    word.len() > MAX_WORD_BYTES
        || ["//", "%2f%2f", "www.", "data:", "/cb/"]
            .iter()
            .any(|mark| word.contains(mark))
        || host_and_path(&word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn t16_links_are_taken_out_of_messages() {
        for link in [
            "https://svc.example/cb/v1/SECRET",
            "'https://svc.example/cb/v1/SECRET'.",
            "(HTTPS://x/SECRET)",
            r"https:\/\/x\/SECRET",
            "url=https%3A%2F%2Fx%2FSECRET",
            "//x/SECRET",
            "vm.runware.ai/video/SECRET.mp4",
            "www.x?SECRET",
            "data:image/png;base64,SECRET",
            &format!("SECRET{}", "A".repeat(80)),
        ] {
            let shown = message(&format!(
                "Invalid value {link} for 'webhookURL', see image/png and/or 1.5"
            ));
            assert_eq!(
                shown,
                "Invalid value [removed] for 'webhookURL', see image/png and/or 1.5"
            );
        }
    }

    #[test]
    fn messages_are_one_bounded_line_and_codes_one_word() {
        assert_eq!(message(" a\r\n\tb\u{0}c  d "), "a b c d");
        assert_eq!(message(&"é ".repeat(400)).chars().count(), MAX_MESSAGE_CHARS);
        assert_eq!(code("invalid\nTtl\"{}").as_deref(), Some("invalidTtl"));
        assert_eq!(code("☃ "), None);
        assert_eq!(code(&"a".repeat(100)).map(|c| c.len()), Some(MAX_CODE_CHARS));
    }

    proptest! {
        #[test]
        fn t16_no_scheme_survives(before in ".{0,400}", after in ".{0,40}") {
            let shown = message(&format!("{before}https://{after}"));
            prop_assert!(!shown.contains("://"), "{}", shown);
            prop_assert!(message(&before).chars().count() <= MAX_MESSAGE_CHARS);
        }
    }
}
