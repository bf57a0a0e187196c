//! What the first bytes alone can tell.

use super::{Expected, Finding, HEAD_BYTES, Media, NotMedia};

/// Spaces, tabs and line ends, which may precede a page or document.
pub(super) fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_whitespace)
}

/// Judges a stream that begins with no container we walk.
pub(super) fn judge(head: &[u8], expected: Expected) -> Finding {
    if let Some(finding) = judge_text(head, expected) {
        return finding;
    }
    match expected {
        Expected::Any => {
            by_magic(head).map_or(Finding::Unknown, |kind| Finding::Complete(Media::of_type(kind)))
        }
        Expected::Video => Finding::Unknown,
    }
}

/// Markup and JSON, by their first sign; everything after it must be text too, so that no binary format that
/// happens to begin with a brace is thrown away.
fn judge_text(head: &[u8], expected: Expected) -> Option<Finding> {
    let (plain, len) = without_encoding(head);
    let text = plain[..len].trim_ascii_start();
    if !text
        .iter()
        .all(|byte| *byte >= b' ' || byte.is_ascii_whitespace() || *byte == 0x1b)
    {
        return None;
    }
    match text.first()? {
        b'<' if expected == Expected::Any && is_svg(text) => {
            Some(Finding::Complete(Media::of_type("image/svg+xml")))
        }
        b'<' => Some(Finding::NotMedia(NotMedia::Markup)),
        b'{' | b'[' => Some(Finding::NotMedia(NotMedia::Json)),
        _ => None,
    }
}

/// The head without byte order mark and, where that says UTF-16, without the zero half of each character.
fn without_encoding(head: &[u8]) -> ([u8; HEAD_BYTES], usize) {
    let (body, wide) = match head {
        [0xef, 0xbb, 0xbf, body @ ..] => (body, false),
        [0xff, 0xfe, body @ ..] | [0xfe, 0xff, body @ ..] => (body, true),
        body => (body, false),
    };
    let mut plain = [0; HEAD_BYTES];
    let mut len = 0;
    for byte in body.iter().filter(|byte| !wide || **byte != 0).take(HEAD_BYTES) {
        plain[len] = *byte;
        len += 1;
    }
    (plain, len)
}

/// Whether the root element is `svg`: behind the XML declaration and comments, which are stepped over.
fn is_svg(text: &[u8]) -> bool {
    let mut rest = text;
    loop {
        rest = rest.trim_ascii_start();
        let close: &[u8] = match rest {
            [b'<', b'?', ..] => b"?>",
            [b'<', b'!', b'-', b'-', ..] => b"-->",
            _ => break,
        };
        match rest.windows(close.len()).position(|window| window == close) {
            Some(at) => rest = &rest[at + close.len()..],
            None => return false,
        }
    }
    [&b"<svg"[..], b"<!DOCTYPE svg"].iter().any(|root| {
        rest.len() > root.len()
            && rest[..root.len()].eq_ignore_ascii_case(root)
            && !rest[root.len()].is_ascii_alphanumeric()
    })
}

/// Images, sounds and 3D models by their magic bytes. Archives, programs and the like are not results.
fn by_magic(head: &[u8]) -> Option<&'static str> {
    if head.starts_with(b"glTF") {
        return Some("model/gltf-binary");
    }
    let kind = infer::get(head)?;
    match (kind.matcher_type(), kind.mime_type()) {
        (infer::MatcherType::Audio, "audio/x-wav") => Some("audio/wav"),
        (infer::MatcherType::Audio, "audio/x-flac") => Some("audio/flac"),
        (infer::MatcherType::Audio, "audio/m4a") => Some("audio/mp4"),
        (infer::MatcherType::Image | infer::MatcherType::Audio | infer::MatcherType::Video, mime) => {
            Some(mime)
        }
        _ => None,
    }
}
