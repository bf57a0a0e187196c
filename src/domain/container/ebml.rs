//! WebM and Matroska: EBML elements walked as they pass (RFC 8794, RFC 9559).
//!
//! Live recordings leave the sizes of Segment and Cluster open; such an element ends where one begins that
//! cannot be inside it, or with the stream. All other bodies are stepped over or, if small, read.

use super::gather::{Gather, Open, be};
use super::{Expected, Finding, Media};

/// Longest body read: a document type or a number.
const VALUE_BYTES: usize = 16;

/// Four bytes of id and eight of size.
const MAX_HEADER_BYTES: usize = 12;

const EBML: u32 = 0x1a45_dfa3;
const DOC_TYPE: u32 = 0x4282;
const SEGMENT: u32 = 0x1853_8067;
const INFO: u32 = 0x1549_a966;
const TIMESTAMP_SCALE: u32 = 0x2a_d7b1;
const DURATION: u32 = 0x4489;
const TRACKS: u32 = 0x1654_ae6b;
const TRACK_ENTRY: u32 = 0xae;
const TRACK_TYPE: u32 = 0x83;
const VIDEO: u32 = 0xe0;
const PIXEL_WIDTH: u32 = 0xb0;
const PIXEL_HEIGHT: u32 = 0xba;
const CLUSTER: u32 = 0x1f43_b675;
const VOID: u32 = 0xec;
const CRC_32: u32 = 0xbf;
/// SeekHead, Cues, Chapters, Tags, Attachments: with Info, Tracks and Cluster, what a Segment consists of.
const OTHER_SEGMENT_PARTS: [u32; 5] = [0x114d_9b74, 0x1c53_bb6b, 0x1043_a770, 0x1254_c367, 0x1941_a469];

/// `TrackType` of a video.
const VIDEO_TRACK: u64 = 1;

pub(super) fn starts_document(head: &[u8]) -> bool {
    be::<4>(head, 0) == Some(u64::from(EBML))
}

/// The type that the document's header suggests, for headers that are sent before its tracks are known.
pub(super) fn likely_type(head: &[u8]) -> &'static str {
    // The document type is one of a few short elements at the very front.
    let front = &head[..head.len().min(64)];
    if front.windows(8).any(|window| window == b"matroska") {
        "video/x-matroska"
    } else {
        "video/webm"
    }
}

#[derive(Clone, Debug)]
pub(super) struct EbmlWalk {
    /// Bytes passed so far.
    pos: u64,
    state: State,
    gather: Gather<VALUE_BYTES>,
    open: Open<u32>,
    document: Document,
    track: Track,
    /// Steps taken, for the tests that hold them against the bytes passed.
    #[cfg(test)]
    pub(super) steps: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Gathering id and size, whose lengths their first bytes tell.
    Header,
    /// Gathering the whole body of element `id`.
    Value { id: u32 },
    /// Stepping over a body that ends at `end`.
    Skip { end: u64 },
    /// Not elements any more. Final.
    Broken,
}

/// What has been learnt of the document.
#[derive(Clone, Debug, Default)]
struct Document {
    content_type: Option<&'static str>,
    has_tracks: bool,
    has_cluster: bool,
    has_video: bool,
    /// Nanoseconds per unit of time; the default is a millisecond.
    timestamp_scale: Option<u64>,
    /// In units of `timestamp_scale`.
    duration: Option<f64>,
    /// Of the first video track.
    size: Option<(u32, u32)>,
}

/// The track being read.
#[derive(Clone, Debug, Default)]
struct Track {
    kind: u64,
    width: Option<u32>,
    height: Option<u32>,
}

/// Id and body size (`None`: open) of an element header.
struct Header {
    id: u32,
    size: Option<u64>,
}

impl EbmlWalk {
    pub(super) fn new() -> Self {
        EbmlWalk {
            pos: 0,
            state: State::Header,
            gather: Gather::wanting(1),
            open: Open::new(),
            document: Document::default(),
            track: Track::default(),
            #[cfg(test)]
            steps: 0,
        }
    }

    pub(super) fn push(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        while !rest.is_empty() {
            #[cfg(test)]
            {
                self.steps += 1;
            }
            let used = self.step(rest);
            rest = &rest[used..];
            self.close_ended();
        }
    }

    pub(super) fn finish(mut self, expected: Expected) -> Finding {
        let between_elements = matches!(self.state, State::Header) && self.gather.is_empty();
        let all_may_end_here = self.open.nearest_end().is_none();
        if matches!(self.state, State::Broken) {
            return Finding::Unknown;
        }
        if !between_elements || !all_may_end_here {
            return Finding::Incomplete("the last element is cut off");
        }
        while !self.open.is_empty() {
            self.leave_element();
        }
        if !self.document.has_tracks {
            return Finding::Incomplete("no Tracks element");
        }
        if !self.document.has_cluster {
            return Finding::Incomplete("no Cluster element");
        }
        if expected == Expected::Video && !self.document.has_video {
            return Finding::Unknown;
        }
        self.document
            .into_media()
            .map_or(Finding::Unknown, Finding::Complete)
    }

    /// Takes at least one byte from the front of `rest` (never empty); returns how many.
    fn step(&mut self, rest: &[u8]) -> usize {
        match self.state {
            State::Header => {
                let used = self.gather(rest);
                if self.gather.is_full() {
                    self.read_header();
                }
                used
            }
            State::Value { id } => {
                let used = self.gather(rest);
                if self.gather.is_full() {
                    self.read_value(id);
                    self.expect_header();
                }
                used
            }
            State::Skip { end } => {
                let used = usize::try_from(end - self.pos).map_or(rest.len(), |left| left.min(rest.len()));
                self.pos += used as u64;
                used
            }
            State::Broken => rest.len(),
        }
    }

    fn gather(&mut self, rest: &[u8]) -> usize {
        let used = self.gather.fill(rest);
        self.pos += used as u64;
        used
    }

    /// Leaves every body and element that ends here. Open-ended elements end with the one around them.
    fn close_ended(&mut self) {
        if let State::Skip { end } = self.state
            && end == self.pos
        {
            self.expect_header();
        }
        while matches!(self.state, State::Header)
            && self.gather.is_empty()
            && self.open.nearest_end() == Some(self.pos)
        {
            self.leave_element();
        }
    }

    fn leave_element(&mut self) {
        if let Some(level) = self.open.leave()
            && level.kind == TRACK_ENTRY
        {
            self.document.add(std::mem::take(&mut self.track));
        }
    }

    fn expect_header(&mut self) {
        self.gather.restart(1);
        self.state = State::Header;
    }

    /// Asks for more until the header is whole, then begins its element.
    fn read_header(&mut self) {
        let bytes = self.gather.bytes();
        let id_len = number_len(bytes[0]);
        let Some(size_at) = id_len.filter(|len| *len <= 4) else {
            return self.state = State::Broken;
        };
        let Some(first_of_size) = bytes.get(size_at) else {
            return self.gather.want(size_at + 1);
        };
        let Some(size_len) = number_len(*first_of_size) else {
            return self.state = State::Broken;
        };
        if bytes.len() < size_at + size_len {
            return self.gather.want((size_at + size_len).min(MAX_HEADER_BYTES));
        }
        let header = Header {
            id: value(&bytes[..size_at]) as u32,
            size: element_size(&bytes[size_at..]),
        };
        self.enter_element(header);
    }

    fn enter_element(&mut self, header: Header) {
        self.leave_open_ended(header.id);
        let end = header.size.and_then(|size| self.pos.checked_add(size));
        let too_long = header.size.is_some() && end.is_none_or(|end| self.is_beyond(end));
        let parent = self.open.innermost().map(|level| level.kind);
        if too_long || !may_be_inside(header.id, parent) {
            return self.state = State::Broken;
        }
        self.document.note(header.id);
        match (role(header.id), end) {
            (Role::Container, end) if self.open.enter(header.id, end) => self.expect_header(),
            (Role::Cluster, None) if self.open.enter(header.id, None) => self.expect_header(),
            (Role::Value, Some(end)) if end > self.pos && end - self.pos <= VALUE_BYTES as u64 => {
                self.gather.restart((end - self.pos) as usize);
                self.state = State::Value { id: header.id };
            }
            (_, Some(end)) => self.state = State::Skip { end },
            (_, None) => self.state = State::Broken,
        }
    }

    fn is_beyond(&self, end: u64) -> bool {
        self.open.nearest_end().is_some_and(|outer| end > outer)
    }

    /// An element of open size ends where one begins that belongs further out.
    fn leave_open_ended(&mut self, id: u32) {
        while let Some(level) = self.open.innermost() {
            let ends = match level.kind {
                CLUSTER => is_segment_part(id) || is_top(id),
                SEGMENT => is_top(id),
                _ => false,
            };
            if level.end.is_some() || !ends {
                return;
            }
            self.leave_element();
        }
    }

    fn read_value(&mut self, id: u32) {
        let body = self.gather.bytes();
        match id {
            DOC_TYPE => self.document.read_type(body),
            TIMESTAMP_SCALE => self.document.timestamp_scale = Some(value(body)),
            DURATION => self.document.duration = float(body),
            TRACK_TYPE => self.track.kind = value(body),
            PIXEL_WIDTH => self.track.width = u32::try_from(value(body)).ok(),
            PIXEL_HEIGHT => self.track.height = u32::try_from(value(body)).ok(),
            _ => {}
        }
    }
}

enum Role {
    /// Read inside. Only a Segment may be open-ended (`may_be_open`).
    Container,
    /// Stepped over, or read inside where its end is open.
    Cluster,
    /// Its body is read.
    Value,
    Passed,
}

fn role(id: u32) -> Role {
    match id {
        EBML | SEGMENT | INFO | TRACKS | TRACK_ENTRY | VIDEO => Role::Container,
        CLUSTER => Role::Cluster,
        DOC_TYPE | TIMESTAMP_SCALE | DURATION | TRACK_TYPE | PIXEL_WIDTH | PIXEL_HEIGHT => Role::Value,
        _ => Role::Passed,
    }
}

fn is_top(id: u32) -> bool {
    id == EBML || id == SEGMENT
}

fn is_segment_part(id: u32) -> bool {
    matches!(id, INFO | TRACKS | CLUSTER) || OTHER_SEGMENT_PARTS.contains(&id)
}

/// Whether an element we know is where it belongs; elements we do not know are welcome inside any other.
fn may_be_inside(id: u32, parent: Option<u32>) -> bool {
    match id {
        VOID | CRC_32 => true,
        EBML | SEGMENT => parent.is_none(),
        INFO | TRACKS | CLUSTER => parent == Some(SEGMENT),
        TRACK_ENTRY => parent == Some(TRACKS),
        _ => parent.is_some(),
    }
}

/// Length in bytes of a variable-length number, told by the leading zeros of its first byte; at most 8.
fn number_len(first: u8) -> Option<usize> {
    (first != 0).then(|| first.leading_zeros() as usize + 1)
}

/// A size without its length marker; `None` for all ones, which means open.
fn element_size(bytes: &[u8]) -> Option<u64> {
    let bits = 7 * bytes.len() as u32;
    let ones = (1u64 << bits) - 1;
    let size = value(bytes) & ones;
    (size != ones).then_some(size)
}

/// Big-endian; of more than eight bytes the last eight count.
fn value(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn float(body: &[u8]) -> Option<f64> {
    match body.len() {
        4 => Some(f64::from(f32::from_bits(value(body) as u32))),
        8 => Some(f64::from_bits(value(body))),
        _ => None,
    }
}

impl Document {
    fn note(&mut self, id: u32) {
        self.has_tracks |= id == TRACKS;
        self.has_cluster |= id == CLUSTER;
    }

    fn read_type(&mut self, body: &[u8]) {
        self.content_type = match body {
            b"webm" => Some("video/webm"),
            b"matroska" => Some("video/x-matroska"),
            _ => None,
        };
    }

    fn add(&mut self, track: Track) {
        if track.kind != VIDEO_TRACK {
            return;
        }
        self.has_video = true;
        self.size = self.size.or(track.width.zip(track.height));
    }

    /// `None` for a document type we do not know.
    fn into_media(self) -> Option<Media> {
        let content_type = match (self.content_type?, self.has_video) {
            ("video/webm", false) => "audio/webm",
            ("video/x-matroska", false) => "audio/x-matroska",
            (content_type, _) => content_type,
        };
        Some(Media {
            content_type,
            duration_ms: self.duration_ms(),
            width: self.size.map(|(width, _)| width),
            height: self.size.map(|(_, height)| height),
        })
    }

    fn duration_ms(&self) -> Option<u64> {
        let scale = self.timestamp_scale.unwrap_or(1_000_000) as f64;
        let milliseconds = (self.duration? * scale / 1e6).round();
        // Also false for what is no number; beyond 2^53 a float no longer counts in ones.
        (milliseconds > 0.0 && milliseconds < 9e15).then_some(milliseconds as u64)
    }
}
