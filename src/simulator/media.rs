//! The files behind the links: real clips, each made unique and grown to size by a box that players skip.

use std::sync::{LazyLock, OnceLock};

use bytes::{BufMut, Bytes, BytesMut};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A committed file and where something that players skip may be put into it.
#[derive(Debug)]
pub struct Clip {
    pub name: &'static str,
    pub extension: &'static str,
    pub content_type: &'static str,
    pub seconds: f64,
    container: Container,
    bytes: &'static [u8],
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Container {
    /// ISO media: a `free` box goes before the last box of this kind, or at the end.
    Boxes { before: Option<&'static [u8; 4]> },
    /// Matroska: a Void element goes to the end of the Segment, whose size is an eight-byte number.
    Ebml,
    /// JPEG: a comment segment goes after the first marker.
    Jpeg,
    /// MP3: an ID3v2 tag with one private frame goes to the front.
    Mp3,
    /// PNG: a private chunk goes behind the header.
    Png,
    /// WebP, WAVE: a JUNK chunk goes to the end.
    Riff,
}

macro_rules! clip {
    ($name:literal, $file:literal, $extension:literal, $kind:literal, $seconds:literal, $container:expr) => {
        Clip {
            name: $name,
            extension: $extension,
            content_type: $kind,
            seconds: $seconds,
            container: $container,
            bytes: include_bytes!(concat!("../../assets/videos/", $file)),
        }
    };
}

use Container::{Boxes, Ebml, Jpeg, Mp3, Png, Riff};

/// Everything that can be served; `assets/videos/make.sh` says how it was made.
pub static CLIPS: [Clip; 10] = [
    clip!(
        "moov-first",
        "portrait_moov_first.mp4",
        "mp4",
        "video/mp4",
        2.0,
        Boxes { before: None }
    ),
    clip!(
        "moov-last",
        "landscape_moov_last.mp4",
        "mp4",
        "video/mp4",
        3.0,
        Boxes {
            before: Some(b"moov")
        }
    ),
    clip!(
        "fragmented",
        "fragmented.mp4",
        "mp4",
        "video/mp4",
        4.0,
        Boxes {
            before: Some(b"mfra")
        }
    ),
    clip!(
        "mov",
        "portrait.mov",
        "mov",
        "video/quicktime",
        5.0,
        Boxes {
            before: Some(b"moov")
        }
    ),
    clip!("webm", "landscape.webm", "webm", "video/webm", 2.0, Ebml),
    clip!("picture", "picture.jpg", "jpg", "image/jpeg", 0.0, Jpeg),
    clip!("tone", "tone.mp3", "mp3", "audio/mpeg", 2.0, Mp3),
    clip!("picture-png", "picture.png", "png", "image/png", 0.0, Png),
    clip!("picture-webp", "picture.webp", "webp", "image/webp", 0.0, Riff),
    clip!("tone-wav", "tone.wav", "wav", "audio/wav", 1.0, Riff),
];

impl Clip {
    pub fn by_name(name: &str) -> Option<&'static Clip> {
        CLIPS.iter().find(|clip| clip.name == name)
    }

    /// The clips with this extension, of which one is drawn per result.
    pub fn by_extension(extension: &str) -> Vec<&'static Clip> {
        CLIPS.iter().filter(|clip| clip.extension == extension).collect()
    }
}

/// One result's file. Any part of it can be made at any time; it is never held whole.
#[derive(Debug)]
pub struct Media {
    pub clip: &'static Clip,
    parts: Vec<Part>,
    pub size: u64,
    sha256: OnceLock<String>,
}

#[derive(Debug)]
enum Part {
    Bytes(Bytes),
    /// Bytes that follow from `key` and their offset, different in every block, so a mix-up changes the digest.
    Padding {
        key: u64,
        size: u64,
    },
}

impl Part {
    fn size(&self) -> u64 {
        match self {
            Part::Bytes(bytes) => bytes.len() as u64,
            Part::Padding { size, .. } => *size,
        }
    }
}

impl Media {
    /// The clip with the result's id in it, grown to `wanted` bytes, or as small as it gets. Pictures and sounds
    /// only get the id.
    pub fn new(clip: &'static Clip, id: Uuid, wanted: u64) -> Self {
        let mut parts = match clip.container {
            Boxes { before } => grown_boxes(clip.bytes, before, id, wanted),
            Ebml => grown_ebml(clip.bytes, id, wanted),
            Jpeg => tagged_jpeg(clip.bytes, id),
            Mp3 => tagged_mp3(clip.bytes, id),
            Png => tagged_png(clip.bytes, id),
            Riff => tagged_riff(clip.bytes, id),
        };
        parts.retain(|part| part.size() > 0);
        let size = parts.iter().map(Part::size).sum();
        Self {
            clip,
            parts,
            size,
            sha256: OnceLock::new(),
        }
    }

    /// At most `most` bytes from `offset` on; empty only at the end.
    pub fn read(&self, offset: u64, most: usize) -> Bytes {
        let mut start = 0;
        for part in &self.parts {
            let end = start + part.size();
            if offset < end {
                let within = offset - start;
                let length = most.min((end - offset) as usize);
                return match part {
                    Part::Bytes(bytes) => bytes.slice(within as usize..within as usize + length),
                    Part::Padding { key, .. } => padding(*key, within, length),
                };
            }
            start = end;
        }
        Bytes::new()
    }

    /// Lower-case hex over the whole file; computed on first use.
    pub fn sha256(&self) -> &str {
        self.sha256.get_or_init(|| {
            let mut hash = Sha256::new();
            let mut offset = 0;
            while offset < self.size {
                let chunk = self.read(offset, 1 << 20);
                hash.update(&chunk);
                offset += chunk.len() as u64;
            }
            hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
        })
    }
}

/// Bytes of the same number that are no container at all.
pub fn garbage(offset: u64, length: usize) -> Bytes {
    padding(0x6761_7262_6167_6521, offset, length)
}

fn grown_boxes(bytes: &'static [u8], before: Option<&[u8; 4]>, id: Uuid, wanted: u64) -> Vec<Part> {
    let at = before
        .and_then(|kind| box_offset(bytes, kind))
        .unwrap_or(bytes.len());
    let payload = room_for(wanted, bytes.len() + 8);
    let mut head = BytesMut::new();
    match u32::try_from(payload + 8) {
        Ok(size) => {
            head.put_u32(size);
            head.put_slice(b"free");
        }
        Err(_) => {
            // Past 4 GiB the size moves into eight bytes of its own, taken from the padding.
            head.put_u32(1);
            head.put_slice(b"free");
            head.put_u64(payload + 8);
            return around(bytes, at, head, id, payload - 8);
        }
    }
    around(bytes, at, head, id, payload)
}

/// Offset of the top-level box of this kind.
fn box_offset(bytes: &[u8], kind: &[u8; 4]) -> Option<usize> {
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + 8) {
        if &head[4..] == kind {
            return Some(at);
        }
        at += u32::from_be_bytes(head[..4].try_into().expect("four bytes")) as usize;
    }
    None
}

fn grown_ebml(bytes: &'static [u8], id: Uuid, wanted: u64) -> Vec<Part> {
    const SEGMENT: [u8; 4] = [0x18, 0x53, 0x80, 0x67];
    let found = bytes.windows(4).position(|window| window == SEGMENT);
    let size_at = found.expect("the committed clip has a Segment") + 4;
    let old_size: [u8; 8] = bytes[size_at..size_at + 8].try_into().expect("eight bytes");
    let payload = room_for(wanted, bytes.len() + 9);
    // The marker bit on top of the eight-byte number stays as it is.
    let new_size = u64::from_be_bytes(old_size) + payload + 9;
    let mut front = BytesMut::from(&bytes[..size_at]);
    front.put_u64(new_size);
    let mut head = BytesMut::new();
    head.put_u8(0xEC);
    head.put_u64(payload | 1 << 56);
    let mut parts = vec![Part::Bytes(front.freeze())];
    parts.extend(around(
        &bytes[size_at + 8..],
        bytes.len() - size_at - 8,
        head,
        id,
        payload,
    ));
    parts
}

/// How large a payload makes the file `wanted` bytes; at least the id's sixteen.
fn room_for(wanted: u64, taken: usize) -> u64 {
    wanted.saturating_sub(taken as u64).max(16)
}

/// `bytes` with head, id and padding put in at `at`; the payload counts the id.
fn around(bytes: &'static [u8], at: usize, mut head: BytesMut, id: Uuid, payload: u64) -> Vec<Part> {
    head.put_slice(id.as_bytes());
    vec![
        Part::Bytes(Bytes::from_static(&bytes[..at])),
        Part::Bytes(head.freeze()),
        Part::Padding {
            key: id.as_u64_pair().0,
            size: payload - 16,
        },
        Part::Bytes(Bytes::from_static(&bytes[at..])),
    ]
}

fn tagged_jpeg(bytes: &'static [u8], id: Uuid) -> Vec<Part> {
    let mut head = BytesMut::from(&[0xFF, 0xFE, 0, 18][..]);
    head.put_slice(id.as_bytes());
    inserted(bytes, 2, head)
}

fn tagged_mp3(bytes: &'static [u8], id: Uuid) -> Vec<Part> {
    // A tag of 27 bytes: frame header (10), an empty owner with its zero byte, the id.
    let mut head = BytesMut::from(&b"ID3\x04\x00\x00\x00\x00\x00\x1bPRIV\x00\x00\x00\x11\x00\x00\x00"[..]);
    head.put_slice(id.as_bytes());
    inserted(bytes, 0, head)
}

fn tagged_png(bytes: &'static [u8], id: Uuid) -> Vec<Part> {
    // Signature (8), then IHDR: length, type, 13 bytes, check sum.
    const BEHIND_HEADER: usize = 8 + 4 + 4 + 13 + 4;
    let mut chunk = BytesMut::from(&b"siMu"[..]);
    chunk.put_slice(id.as_bytes());
    let check = crc32(&chunk);
    let mut head = BytesMut::new();
    head.put_u32(16);
    head.put_slice(&chunk);
    head.put_u32(check);
    inserted(bytes, BEHIND_HEADER, head)
}

/// As PNG has it (ISO 3309).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

fn tagged_riff(bytes: &'static [u8], id: Uuid) -> Vec<Part> {
    let mut chunk = BytesMut::from(&b"JUNK"[..]);
    chunk.put_u32_le(16);
    chunk.put_slice(id.as_bytes());
    let old_size = u32::from_le_bytes(bytes[4..8].try_into().expect("four bytes"));
    let mut front = BytesMut::from(&b"RIFF"[..]);
    front.put_u32_le(old_size + chunk.len() as u32);
    vec![
        Part::Bytes(front.freeze()),
        Part::Bytes(Bytes::from_static(&bytes[8..])),
        Part::Bytes(chunk.freeze()),
    ]
}

fn inserted(bytes: &'static [u8], at: usize, piece: BytesMut) -> Vec<Part> {
    vec![
        Part::Bytes(Bytes::from_static(&bytes[..at])),
        Part::Bytes(piece.freeze()),
        Part::Bytes(Bytes::from_static(&bytes[at..])),
    ]
}

/// Padding repeats one block of noise, each time with a head of its own: copying is all it costs.
const BLOCK: usize = 4096;

static NOISE: LazyLock<[u8; BLOCK]> = LazyLock::new(|| {
    let mut noise = [0; BLOCK];
    for (n, word) in noise.chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&scrambled(n as u64).to_be_bytes());
    }
    noise
});

fn padding(key: u64, offset: u64, length: usize) -> Bytes {
    let skip = (offset % BLOCK as u64) as usize;
    let first = offset / BLOCK as u64;
    let blocks = (skip + length).div_ceil(BLOCK);
    let mut bytes = BytesMut::with_capacity(blocks * BLOCK);
    for block in first..first + blocks as u64 {
        bytes.put_u64(scrambled(key ^ block));
        bytes.put_slice(&NOISE[8..]);
    }
    bytes.freeze().slice(skip..skip + length)
}

/// The finaliser of splitmix64: cheap, and any two inputs differ in about half of their bits.
fn scrambled(mut word: u64) -> u64 {
    word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
