//! The few header fields of a movie that tell its type, length and size.

use super::super::gather::be;
use super::Media;

/// What has been learnt of the movie.
#[derive(Clone, Debug, Default)]
pub(super) struct Movie {
    pub(super) has_video: bool,
    has_sound: bool,
    quicktime: bool,
    /// Units per second; 0 until known.
    timescale: u32,
    /// In units of `timescale`; 0 where the header does not say.
    pub(super) duration: u64,
    /// The same for the whole of a fragmented movie, where the first part alone is in the header.
    fragments_duration: u64,
    /// Of the first video track that has one.
    size: Option<(u32, u32)>,
}

/// The track being read.
#[derive(Clone, Debug, Default)]
pub(super) struct Track {
    pub(super) id: u32,
    /// Units per second of its own; 0 until known.
    pub(super) timescale: u32,
    handler: [u8; 4],
    /// Pixels as shown.
    size: Option<(u32, u32)>,
}

impl Movie {
    /// `ftyp`: major brand.
    pub(super) fn read_brand(&mut self, fields: &[u8]) {
        self.quicktime = fields == b"qt  ";
    }

    /// `mvhd`: times, time scale and duration, of 32 bits in version 0 and of 64 in version 1.
    pub(super) fn read_header(&mut self, fields: &[u8]) {
        let (timescale, duration) = match fields.first() {
            Some(0) => (
                be::<4>(fields, 12),
                be::<4>(fields, 16).filter(|value| *value != u64::from(u32::MAX)),
            ),
            Some(1) => (
                be::<4>(fields, 20),
                be::<8>(fields, 24).filter(|value| *value != u64::MAX),
            ),
            _ => (None, None),
        };
        self.timescale = timescale.and_then(|value| u32::try_from(value).ok()).unwrap_or(0);
        self.duration = duration.unwrap_or(0);
    }

    /// `mehd`: duration of the movie with all its fragments.
    pub(super) fn read_fragments_header(&mut self, fields: &[u8]) {
        self.fragments_duration = match fields.first() {
            Some(0) => be::<4>(fields, 4).unwrap_or(0),
            Some(1) => be::<8>(fields, 4).unwrap_or(0),
            _ => 0,
        };
    }

    pub(super) fn add(&mut self, track: Track) {
        match &track.handler {
            b"vide" => {
                self.has_video = true;
                self.size = self.size.or(track.size);
            }
            b"soun" => self.has_sound = true,
            _ => {}
        }
    }

    /// `fragments_ms`: how long the fragments are, where there are any.
    pub(super) fn into_media(self, fragments_ms: Option<u64>) -> Media {
        let content_type = match (self.has_video, self.has_sound, self.quicktime) {
            (false, true, _) => "audio/mp4",
            (_, _, true) => "video/quicktime",
            _ => "video/mp4",
        };
        Media {
            content_type,
            duration_ms: milliseconds(self.duration.max(self.fragments_duration), self.timescale)
                .max(fragments_ms),
            width: self.size.map(|(width, _)| width),
            height: self.size.map(|(_, height)| height),
        }
    }
}

impl Track {
    /// `mdhd`: the unit of the track's own times.
    pub(super) fn read_media_header(&mut self, fields: &[u8]) {
        let timescale = match fields.first() {
            Some(0) => be::<4>(fields, 12),
            Some(1) => be::<4>(fields, 20),
            _ => None,
        };
        self.timescale = timescale.map_or(0, |value| value as u32);
    }

    /// `hdlr`: what the track is for.
    pub(super) fn read_handler(&mut self, fields: &[u8]) {
        if let Some(Ok(handler)) = fields.get(8..12).map(<[u8; 4]>::try_from) {
            self.handler = handler;
        }
    }

    /// `tkhd`: the size as shown, then turned as the matrix says.
    pub(super) fn read_header(&mut self, fields: &[u8]) {
        let (id_at, matrix_at) = match fields.first() {
            Some(0) => (12, 40),
            Some(1) => (20, 52),
            _ => return,
        };
        self.id = be::<4>(fields, id_at).map_or(0, |value| value as u32);
        let entry = |index: usize| be::<4>(fields, matrix_at + 4 * index);
        let pixels = |index: usize| entry(index).and_then(pixels).filter(|value| *value > 0);
        if let (Some(width), Some(height)) = (pixels(9), pixels(10)) {
            // The matrix is a b u c d v x y w; a quarter turn has nothing on its diagonal.
            let quarter_turn = entry(0) == Some(0) && entry(4) == Some(0);
            self.size = Some(if quarter_turn {
                (height, width)
            } else {
                (width, height)
            });
        }
    }
}

/// From 16.16 fixed point to the nearest whole number.
fn pixels(fixed: u64) -> Option<u32> {
    u32::try_from((fixed + 0x8000) >> 16).ok()
}

pub(super) fn milliseconds(duration: u64, timescale: u32) -> Option<u64> {
    if duration == 0 || timescale == 0 {
        return None;
    }
    let scale = u128::from(timescale);
    u64::try_from((u128::from(duration) * 1000 + scale / 2) / scale).ok()
}
