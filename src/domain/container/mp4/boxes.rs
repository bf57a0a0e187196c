//! Which boxes are looked into, and how far.

use super::FIELD_BYTES;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Container {
    Moov,
    Trak,
    Mdia,
    Mvex,
    Moof,
    Traf,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Leaf {
    Ftyp,
    Mvhd,
    Tkhd,
    Mdhd,
    Hdlr,
    Mehd,
    Trex,
    Tfhd,
    Tfdt,
    Trun,
}

pub(super) enum Role {
    Container(Container),
    /// With the number of leading bytes we want of it.
    Leaf(Leaf, usize),
    Passed,
}

/// What to do with a box of `kind` inside `parent`.
pub(super) fn role(parent: Option<Container>, kind: [u8; 4]) -> Role {
    match (parent, &kind) {
        (None, b"ftyp") => Role::Leaf(Leaf::Ftyp, 4),
        (None, b"moov") => Role::Container(Container::Moov),
        (Some(Container::Moov), b"mvhd") => Role::Leaf(Leaf::Mvhd, 32),
        (Some(Container::Moov), b"trak") => Role::Container(Container::Trak),
        (Some(Container::Moov), b"mvex") => Role::Container(Container::Mvex),
        (Some(Container::Mvex), b"mehd") => Role::Leaf(Leaf::Mehd, 12),
        (Some(Container::Trak), b"tkhd") => Role::Leaf(Leaf::Tkhd, FIELD_BYTES),
        (Some(Container::Trak), b"mdia") => Role::Container(Container::Mdia),
        (Some(Container::Mdia), b"mdhd") => Role::Leaf(Leaf::Mdhd, 24),
        (Some(Container::Mdia), b"hdlr") => Role::Leaf(Leaf::Hdlr, 12),
        (Some(Container::Mvex), b"trex") => Role::Leaf(Leaf::Trex, 16),
        (None, b"moof") => Role::Container(Container::Moof),
        (Some(Container::Moof), b"traf") => Role::Container(Container::Traf),
        (Some(Container::Traf), b"tfhd") => Role::Leaf(Leaf::Tfhd, 24),
        (Some(Container::Traf), b"tfdt") => Role::Leaf(Leaf::Tfdt, 12),
        (Some(Container::Traf), b"trun") => Role::Leaf(Leaf::Trun, 8),
        _ => Role::Passed,
    }
}
