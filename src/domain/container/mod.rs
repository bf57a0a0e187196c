//! Is this stream a whole media file? Judged while the bytes pass by, so nothing is read twice or kept.
//!
//! The check is handed chunks as they come, and asked at the end. It knows MP4/MOV (whole and fragmented) and
//! WebM/Matroska by structure; other images and sounds only by their first bytes, and only where any kind of
//! result is expected.

mod ebml;
mod gather;
mod mp4;
mod sniff;
#[cfg(test)]
mod tests;

use ebml::EbmlWalk;
use gather::Gather;
use mp4::Mp4Walk;

/// First bytes kept to recognise a format, and to tell an SVG from an error page behind a long prologue.
pub const HEAD_BYTES: usize = 512;

/// No container we know is recognisable in less; below it a stream is cut, not unknown.
const MIN_CONTAINER_BYTES: usize = 12;

/// What kind of result was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// A video: anything without a video track is [`Finding::Unknown`].
    Video,
    /// Any media: sounds and images too, these named by their first bytes alone.
    Any,
}

/// What a stream turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A media file. For video containers: with its index, its data, and its last element ending with the
    /// stream. For other types (`Expected::Any` only): the first bytes name the type; whether all of it came
    /// is for the length to say.
    Complete(Media),
    /// A container we know, of which something is missing. The text says what, for people.
    Incomplete(&'static str),
    /// Certainly no media file; never to be stored.
    NotMedia(NotMedia),
    /// Neither: a format, or a construction within one, that we do not understand.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotMedia {
    Empty,
    /// HTML or XML other than SVG.
    Markup,
    Json,
}

/// What the container tells about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    pub content_type: &'static str,
    /// Milliseconds; `None` where the container does not say (live recordings).
    pub duration_ms: Option<u64>,
    /// Pixels as shown, rotation applied.
    pub width: Option<u32>,
    /// Pixels as shown, rotation applied.
    pub height: Option<u32>,
}

impl Media {
    fn of_type(content_type: &'static str) -> Self {
        Media {
            content_type,
            duration_ms: None,
            width: None,
            height: None,
        }
    }
}

/// What the first bytes, at best [`HEAD_BYTES`] of them, suggest for a header that is sent before all is known.
pub fn likely_type(head: &[u8]) -> Option<&'static str> {
    if mp4::starts_movie(head) {
        return Some(mp4::likely_type(head));
    }
    if ebml::starts_document(head) {
        return Some(ebml::likely_type(head));
    }
    match sniff::judge(head, Expected::Any) {
        Finding::Complete(media) => Some(media.content_type),
        _ => None,
    }
}

/// Judges one stream from byte 0. Any division of the same bytes into chunks gives the same finding.
///
/// Bounds: no heap at all, `size_of::<ContainerCheck>()` (below 2 KiB) whatever the stream says about its own
/// sizes, nesting at most four levels, and less than one step a byte passed (bodies are stepped over, not read).
/// Never panics.
#[derive(Clone, Debug)]
pub struct ContainerCheck {
    expected: Expected,
    empty: bool,
    head: Gather<HEAD_BYTES>,
    stage: Stage,
}

#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one per copy, and nothing of it is to be on the heap"
)]
enum Stage {
    /// Fewer than `HEAD_BYTES` so far, or nothing but blanks. Leaves for any other stage once the head is full.
    Head,
    Mp4(Mp4Walk),
    Ebml(EbmlWalk),
    /// The first bytes said it all.
    Settled(Finding),
}

// The bounds promised above: a fixed size, and nothing to drop means nothing on the heap.
const _: () = assert!(size_of::<ContainerCheck>() < 2048 && !std::mem::needs_drop::<ContainerCheck>());

impl ContainerCheck {
    pub fn new(expected: Expected) -> Self {
        ContainerCheck {
            expected,
            empty: true,
            head: Gather::wanting(HEAD_BYTES),
            stage: Stage::Head,
        }
    }

    pub fn push(&mut self, chunk: &[u8]) {
        self.empty &= chunk.is_empty();
        let mut rest = chunk;
        while !rest.is_empty() && matches!(self.stage, Stage::Head) {
            rest = &rest[self.head.fill(rest)..];
            if self.head.is_full() {
                self.leave_head();
            }
        }
        self.stage.push(rest);
    }

    /// What the first bytes already decide against the stream: markup, JSON or an unknown format.
    /// `None` while it may still turn out complete. Lets a copy stop early; `finish` would say the same.
    pub fn early(&self) -> Option<Finding> {
        match &self.stage {
            Stage::Settled(finding @ (Finding::NotMedia(_) | Finding::Unknown)) => Some(finding.clone()),
            _ => None,
        }
    }

    /// The verdict, the stream having ended here.
    pub fn finish(mut self) -> Finding {
        if self.empty {
            return Finding::NotMedia(NotMedia::Empty);
        }
        if matches!(self.stage, Stage::Head) {
            self.stage = open_stage(self.head.bytes(), self.expected);
            if self.head.len() < MIN_CONTAINER_BYTES && matches!(self.stage, Stage::Settled(Finding::Unknown))
            {
                return Finding::Incomplete("shorter than any container's header");
            }
        }
        match self.stage {
            Stage::Mp4(walk) => walk.finish(self.expected),
            Stage::Ebml(walk) => walk.finish(self.expected),
            Stage::Settled(finding) => finding,
            Stage::Head => Finding::Unknown,
        }
    }

    /// Blanks may precede a page at any length: a head of nothing else is dropped and gathered anew.
    fn leave_head(&mut self) {
        if sniff::is_blank(self.head.bytes()) {
            self.head = Gather::wanting(HEAD_BYTES);
        } else {
            self.stage = open_stage(self.head.bytes(), self.expected);
        }
    }
}

impl Stage {
    fn push(&mut self, chunk: &[u8]) {
        match self {
            Stage::Mp4(walk) => walk.push(chunk),
            Stage::Ebml(walk) => walk.push(chunk),
            Stage::Head | Stage::Settled(_) => {}
        }
    }
}

/// The stage that the first bytes lead to, with these bytes already walked.
fn open_stage(head: &[u8], expected: Expected) -> Stage {
    let mut stage = if mp4::starts_movie(head) {
        Stage::Mp4(Mp4Walk::new())
    } else if ebml::starts_document(head) {
        Stage::Ebml(EbmlWalk::new())
    } else {
        Stage::Settled(sniff::judge(head, expected))
    };
    stage.push(head);
    stage
}
