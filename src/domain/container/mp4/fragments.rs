//! How long a movie is whose samples come in fragments: `mvhd` then counts only what `moov` itself holds, so the
//! sample durations are added up as they pass.

use super::super::gather::be;
use super::fields::milliseconds;

/// Tracks whose time is counted; of a movie with more, these tell.
const MAX_TRACKS: usize = 8;

/// What `trex` and the fragments say, track by track.
#[derive(Clone, Debug, Default)]
pub(super) struct Fragments {
    tracks: [Timeline; MAX_TRACKS],
    /// The `traf` being read.
    current: Traf,
}

/// One track's time; `id` 0 is a free place.
#[derive(Clone, Copy, Debug, Default)]
struct Timeline {
    id: u32,
    /// Units per second; 0 until known.
    timescale: u32,
    default_duration: u32,
    /// Where its first fragment begins, and its last one ends so far.
    start: Option<u64>,
    end: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Traf {
    track: u32,
    default_duration: Option<u32>,
}

/// The samples of one `trun`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// Samples still to be read; each begins with its duration.
    pub(super) left: u32,
    pub(super) record_bytes: usize,
    /// Bytes before the first of them.
    pub(super) lead_bytes: usize,
}

impl Fragments {
    /// Of a `trak`.
    pub(super) fn declare(&mut self, id: u32, timescale: u32) {
        if let Some(track) = self.track(id) {
            track.timescale = timescale;
        }
    }

    /// `trex`: what holds for samples of which nothing else is said.
    pub(super) fn read_defaults(&mut self, fields: &[u8]) {
        if let (Some(id), Some(duration)) = (number(fields, 4), number(fields, 12))
            && let Some(track) = self.track(id)
        {
            track.default_duration = duration;
        }
    }

    /// `tfhd`: begins the fragment of one track.
    pub(super) fn read_track_header(&mut self, fields: &[u8]) {
        let flags = number(fields, 0).unwrap_or(0);
        let before = 8 * usize::from(flags & 0x01 != 0) + 4 * usize::from(flags & 0x02 != 0);
        self.current = Traf {
            track: number(fields, 4).unwrap_or(0),
            default_duration: (flags & 0x08 != 0).then(|| number(fields, 8 + before)).flatten(),
        };
    }

    /// `tfdt`: when the fragment's first sample is due.
    pub(super) fn read_time(&mut self, fields: &[u8]) {
        let time = match fields.first() {
            Some(0) => be::<4>(fields, 4),
            Some(1) => be::<8>(fields, 4),
            _ => None,
        };
        let id = self.current.track;
        if let (Some(time), Some(track)) = (time, self.track(id)) {
            track.start.get_or_insert(time);
            track.end = track.end.max(time);
        }
    }

    /// `trun`: counts samples of equal length at once, or says how to read each.
    pub(super) fn read_run(&mut self, fields: &[u8]) -> Option<Run> {
        let flags = number(fields, 0)?;
        let samples = number(fields, 4)?;
        if flags & 0x100 == 0 {
            let each = self.default_duration();
            self.pass(u64::from(samples) * u64::from(each));
            return None;
        }
        (samples > 0).then_some(Run {
            left: samples,
            record_bytes: 4 * (flags & 0xf00).count_ones() as usize,
            lead_bytes: 4 * (flags & 0x05).count_ones() as usize,
        })
    }

    pub(super) fn read_sample(&mut self, record: &[u8]) {
        self.pass(be::<4>(record, 0).unwrap_or(0));
    }

    fn pass(&mut self, duration: u64) {
        let id = self.current.track;
        if let Some(track) = self.track(id) {
            track.start.get_or_insert(track.end);
            track.end = track.end.saturating_add(duration);
        }
    }

    fn default_duration(&mut self) -> u32 {
        let Traf {
            track,
            default_duration,
        } = self.current;
        let of_movie = self.track(track).map_or(0, |t| t.default_duration);
        default_duration.unwrap_or(of_movie)
    }

    /// The place of a track, a free one where it is new.
    fn track(&mut self, id: u32) -> Option<&mut Timeline> {
        let at = self.tracks.iter().position(|t| t.id == id || t.id == 0)?;
        self.tracks[at].id = id;
        (id != 0).then_some(&mut self.tracks[at])
    }

    /// Milliseconds of the longest track. `from_zero`: `moov` holds the beginning itself.
    pub(super) fn duration_ms(&self, from_zero: bool) -> Option<u64> {
        let lasts = |track: &Timeline| {
            let start = if from_zero { 0 } else { track.start? };
            milliseconds(track.end.saturating_sub(start), track.timescale)
        };
        self.tracks.iter().filter_map(lasts).max()
    }
}

fn number(fields: &[u8], at: usize) -> Option<u32> {
    be::<4>(fields, at).map(|value| value as u32)
}
