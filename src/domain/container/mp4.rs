//! MP4 and QuickTime: boxes within boxes, walked as they pass (ISO/IEC 14496-12).
//!
//! Only the few headers that carry size and length are read; every other body is stepped over. A size field is
//! only ever compared with offsets, never used to reserve anything.

mod boxes;
mod fields;
mod fragments;

use super::gather::{Gather, Open, be};
use super::{Expected, Finding, Media};
use boxes::{Container, Leaf, Role, role};
use fields::{Movie, Track};
use fragments::{Fragments, Run};

/// Longest run of leading fields read from one box: a `tkhd` of version 1.
const FIELD_BYTES: usize = 96;

/// Brands of still pictures in the same box format: they have no `moov` and are told by their first bytes.
const PICTURE_BRANDS: [&[u8; 4]; 9] = [
    b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1",
];

/// The type that the first box alone suggests, for headers that are sent before the movie is known.
pub(super) fn likely_type(head: &[u8]) -> &'static str {
    match (head.get(4..8), head.get(8..12)) {
        (Some(b"ftyp"), Some(b"qt  ")) => "video/quicktime",
        (Some(b"ftyp"), Some(b"M4A " | b"M4B " | b"M4P ")) => "audio/mp4",
        (Some(b"ftyp"), _) => "video/mp4",
        // Before `ftyp` there was only QuickTime.
        _ => "video/quicktime",
    }
}

/// Whether `head` begins a movie: its first box is one that movies begin with.
pub(super) fn starts_movie(head: &[u8]) -> bool {
    match head.get(4..8) {
        Some(b"ftyp") => !head
            .get(8..12)
            .is_some_and(|brand| PICTURE_BRANDS.iter().any(|known| brand == *known)),
        Some(b"moov" | b"mdat" | b"free" | b"skip" | b"wide") => true,
        _ => false,
    }
}

#[derive(Clone, Debug)]
pub(super) struct Mp4Walk {
    /// Bytes passed so far.
    pos: u64,
    state: State,
    gather: Gather<FIELD_BYTES>,
    open: Open<Container>,
    seen: Seen,
    movie: Movie,
    track: Track,
    fragments: Fragments,
    /// Steps taken, for the tests that hold them against the bytes passed.
    #[cfg(test)]
    pub(super) steps: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Gathering a box header: 8 bytes, or 16 where the size has 64 bits.
    Header,
    /// Gathering the leading fields of a box that ends at `end`.
    Fields { leaf: Leaf, end: u64 },
    /// Gathering one sample's record after the other, in a box that ends at `end`.
    Samples { run: Run, end: u64 },
    /// Stepping over a body that ends at `end`.
    Skip { end: u64 },
    /// A box without a size: it is the last and ends with the stream.
    ToEnd,
    /// Not boxes any more. Final.
    Broken,
}

/// Which top-level boxes have begun.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    ftyp: bool,
    moov: bool,
    mdat: bool,
    moof: bool,
    /// A `moof` whose `mdat` has not begun.
    moof_is_bare: bool,
}

impl Mp4Walk {
    pub(super) fn new() -> Self {
        Mp4Walk {
            pos: 0,
            state: State::Header,
            gather: Gather::wanting(8),
            open: Open::new(),
            seen: Seen::default(),
            movie: Movie::default(),
            track: Track::default(),
            fragments: Fragments::default(),
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

    pub(super) fn finish(self, expected: Expected) -> Finding {
        let between_boxes =
            matches!(self.state, State::Header) && self.gather.is_empty() && self.open.is_empty();
        if matches!(self.state, State::Broken) {
            return Finding::Unknown;
        }
        if !between_boxes && !matches!(self.state, State::ToEnd) {
            return Finding::Incomplete("the last box is cut off");
        }
        if !self.seen.moov {
            return Finding::Incomplete("no moov box");
        }
        if !self.seen.mdat && !self.seen.moof {
            return Finding::Incomplete("no media data");
        }
        if self.seen.moof_is_bare {
            return Finding::Incomplete("the last fragment has no data");
        }
        // A movie without ftyp is older than the standard; without a video track it is no video.
        if !self.seen.ftyp || (expected == Expected::Video && !self.movie.has_video) {
            return Finding::Unknown;
        }
        let fragments_ms = self
            .seen
            .moof
            .then(|| self.fragments.duration_ms(self.movie.duration > 0))
            .flatten();
        Finding::Complete(self.movie.into_media(fragments_ms))
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
            State::Fields { leaf, end } => {
                let used = self.gather(rest);
                if self.gather.is_full() {
                    self.read_fields(leaf, end);
                }
                used
            }
            State::Samples { run, end } => {
                let used = self.gather(rest);
                if self.gather.is_full() {
                    self.fragments.read_sample(&self.gather.bytes()[run.lead_bytes..]);
                    let left = run.left - 1;
                    self.read_samples(
                        Run {
                            left,
                            lead_bytes: 0,
                            ..run
                        },
                        end,
                    );
                }
                used
            }
            State::Skip { end } => {
                let used = usize::try_from(end - self.pos).map_or(rest.len(), |left| left.min(rest.len()));
                self.pos += used as u64;
                used
            }
            State::ToEnd | State::Broken => rest.len(),
        }
    }

    fn gather(&mut self, rest: &[u8]) -> usize {
        let used = self.gather.fill(rest);
        self.pos += used as u64;
        used
    }

    /// Leaves every body and container that ends here, and is then ready for the next header.
    fn close_ended(&mut self) {
        if let State::Skip { end } = self.state
            && end == self.pos
        {
            self.expect_header();
        }
        while let (State::Header, true, Some(level)) =
            (self.state, self.gather.is_empty(), self.open.innermost())
        {
            let left = level.end.map_or(0, |end| end - self.pos);
            match left {
                0 => self.leave_container(),
                // QuickTime ends some lists with four zero bytes.
                1..8 => return self.skip_to(self.pos + left),
                _ => return,
            }
        }
    }

    fn leave_container(&mut self) {
        if let Some(level) = self.open.leave()
            && level.kind == Container::Trak
        {
            let track = std::mem::take(&mut self.track);
            self.fragments.declare(track.id, track.timescale);
            self.movie.add(track);
        }
    }

    fn expect_header(&mut self) {
        self.gather.restart(8);
        self.state = State::Header;
    }

    fn skip_to(&mut self, end: u64) {
        self.state = State::Skip { end };
    }

    fn read_header(&mut self) {
        let header = self.gather.bytes();
        let (Some(size), Some(Ok(kind))) = (be::<4>(header, 0), header.get(4..8).map(<[u8; 4]>::try_from))
        else {
            return self.state = State::Broken;
        };
        match (size, header.len()) {
            (1, 8) => self.gather.want(16),
            (1, _) => {
                let size = be::<8>(header, 8).unwrap_or(0);
                self.enter_box(kind, size);
            }
            (0, _) if self.open.is_empty() && &kind == b"mdat" => {
                self.seen.note(kind);
                self.state = State::ToEnd;
            }
            (size, _) => self.enter_box(kind, size),
        }
    }

    /// Begins a box of `size` bytes, of which the header has been read.
    fn enter_box(&mut self, kind: [u8; 4], size: u64) {
        let header_len = self.gather.len() as u64;
        let body_len = size.checked_sub(header_len);
        let end = body_len.and_then(|len| self.pos.checked_add(len));
        // Codes are printable; QuickTime begins some with a copyright sign in MacRoman.
        let plausible = kind.iter().all(|byte| *byte >= b' ' && *byte != 0x7f);
        let Some(end) =
            end.filter(|end| plausible && self.open.nearest_end().is_none_or(|outer| *end <= outer))
        else {
            return self.state = State::Broken;
        };
        if self.open.is_empty() {
            self.seen.note(kind);
        }
        match role(self.open.innermost().map(|level| level.kind), kind) {
            Role::Container(container) if self.open.enter(container, Some(end)) => self.expect_header(),
            Role::Leaf(leaf, wanted) if end > self.pos => {
                self.gather
                    .restart(usize::try_from(end - self.pos).map_or(wanted, |len| len.min(wanted)));
                self.state = State::Fields { leaf, end };
            }
            _ => self.skip_to(end),
        }
    }

    fn read_fields(&mut self, leaf: Leaf, end: u64) {
        let fields = self.gather.bytes();
        match leaf {
            Leaf::Trun => {
                if let Some(run) = self.fragments.read_run(fields) {
                    return self.read_samples(run, end);
                }
            }
            Leaf::Mdhd => self.track.read_media_header(fields),
            Leaf::Trex => self.fragments.read_defaults(fields),
            Leaf::Tfhd => self.fragments.read_track_header(fields),
            Leaf::Tfdt => self.fragments.read_time(fields),
            Leaf::Ftyp => self.movie.read_brand(fields),
            Leaf::Mvhd => self.movie.read_header(fields),
            Leaf::Mehd => self.movie.read_fragments_header(fields),
            Leaf::Tkhd => self.track.read_header(fields),
            Leaf::Hdlr => self.track.read_handler(fields),
        }
        self.skip_to(end);
    }

    /// The next sample of a run, if it has one and its box has room for it.
    fn read_samples(&mut self, run: Run, end: u64) {
        let wanted = run.lead_bytes + run.record_bytes;
        if run.left == 0 || end - self.pos < wanted as u64 {
            return self.skip_to(end);
        }
        self.gather.restart(wanted);
        self.state = State::Samples { run, end };
    }
}

impl Seen {
    fn note(&mut self, kind: [u8; 4]) {
        match &kind {
            b"ftyp" => self.ftyp = true,
            b"moov" => self.moov = true,
            b"mdat" => {
                self.mdat = true;
                self.moof_is_bare = false;
            }
            b"moof" => {
                self.moof = true;
                self.moof_is_bare = true;
            }
            _ => {}
        }
    }
}
