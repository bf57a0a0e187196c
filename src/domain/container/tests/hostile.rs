//! T10: whatever a stream says of its own sizes, judging it costs a fixed amount of memory and less than one step a
//! byte. Steps are counted, not milliseconds: a busy machine proves nothing.
//!
//! `make fuzz` runs the mutations longer; `CATCHMENT_FUZZ_ROUNDS` and `CATCHMENT_FUZZ_SEED` say how long and from where.

use super::made_by_hand::{boxed, boxed_64, element, ftyp, moov, mvhd_v1, webm_head, webm_tracks};
use super::*;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// Enough to pass each mutation some dozens of times.
const ROUNDS: u64 = 1500;

/// Judges in chunks of this length and counts.
fn costs(expected: Expected, bytes: &[u8], chunk_bytes: usize) -> (Finding, u64) {
    let mut check = ContainerCheck::new(expected);
    bytes.chunks(chunk_bytes).for_each(|chunk| check.push(chunk));
    let steps = match &check.stage {
        Stage::Mp4(walk) => walk.steps,
        Stage::Ebml(walk) => walk.steps,
        Stage::Head | Stage::Settled(_) => 0,
    };
    (check.finish(), steps)
}

/// A step takes at least one byte, so there are never more steps than bytes, whatever the chunks.
fn assert_bounded(what: &str, bytes: &[u8]) -> Finding {
    let (finding, steps) = costs(Expected::Any, bytes, 4096);
    assert!(steps <= bytes.len() as u64, "{what}: {steps} steps");
    for chunk_bytes in [1, 7] {
        let (again, steps) = costs(Expected::Any, bytes, chunk_bytes);
        assert_eq!(again, finding, "{what}: chunks of {chunk_bytes}");
        assert!(steps <= bytes.len() as u64, "{what}: {steps} steps");
    }
    finding
}

fn nested(kind: &[u8; 4], depth: usize) -> Vec<u8> {
    (0..depth).fold(vec![], |inner, _| boxed(kind, &inner))
}

fn trun(flags: u32, samples: u32, body: &[u8]) -> Vec<u8> {
    boxed(
        b"trun",
        &[&flags.to_be_bytes()[..], &samples.to_be_bytes(), body].concat(),
    )
}

fn fragment(runs: &[u8]) -> Vec<u8> {
    let header = boxed(b"tfhd", &[0u32.to_be_bytes(), 1u32.to_be_bytes()].concat());
    let traf = boxed(b"traf", &[&header, runs].concat());
    [boxed(b"moof", &traf), boxed(b"mdat", b"x")].concat()
}

#[test]
fn t10_bombs_cost_no_more_than_their_bytes() {
    let open_size = |id: &[u8]| [id, &[0xff]].concat();
    let mdat = boxed(b"mdat", b"x");
    let huge = |kind: &[u8; 4]| [&1u32.to_be_bytes(), &kind[..], &(u64::MAX / 2).to_be_bytes()].concat();
    let bombs: Vec<(&str, Vec<u8>)> = vec![
        ("empty boxes", boxed(b"free", b"").repeat(100_000)),
        ("boxes of size 0 inside", boxed(b"moov", &[0; 80_000])),
        (
            "boxes of size 1 to 7",
            (1u32..8)
                .flat_map(|n| [&n.to_be_bytes(), &b"free"[..]].concat())
                .collect(),
        ),
        ("64-bit sizes of nothing", boxed_64(b"free", b"").repeat(50_000)),
        (
            "a 64-bit size below its header",
            [&1u32.to_be_bytes(), &b"mdat"[..], &15u64.to_be_bytes()].concat(),
        ),
        ("half the universe", huge(b"mdat")),
        ("moov within moov", nested(b"moov", 5_000)),
        ("traks within traks", boxed(b"moov", &nested(b"trak", 5_000))),
        (
            "mdia within mdia",
            boxed(b"moov", &boxed(b"trak", &nested(b"mdia", 5_000))),
        ),
        ("moofs within moofs", nested(b"moof", 5_000)),
        (
            "tracks without end",
            boxed(b"moov", &boxed(b"trak", b"").repeat(50_000)),
        ),
        (
            "headers without end",
            boxed(b"moov", &mvhd_v1(1, 1).repeat(3_000)),
        ),
        ("a box larger than its parent", boxed(b"moov", &huge(b"trak"))),
        (
            "samples without end",
            fragment(&trun(0x100, u32::MAX, &[0; 100_000])),
        ),
        ("samples nobody sent", fragment(&trun(0xf05, u32::MAX, b""))),
        ("samples of nothing", fragment(&trun(0, u32::MAX, b""))),
        (
            "runs without end",
            fragment(&trun(0x100, 1, &[0; 4]).repeat(10_000)),
        ),
        ("fragments without end", fragment(b"").repeat(5_000)),
        ("data before data", mdat.repeat(20_000)),
        (
            "void elements",
            [
                webm_head(),
                open_size(&[0x18, 0x53, 0x80, 0x67]),
                [0xec, 0x80].repeat(50_000),
            ]
            .concat(),
        ),
        (
            "clusters without an end",
            [
                webm_head(),
                open_size(&[0x18, 0x53, 0x80, 0x67]),
                webm_tracks(),
                open_size(&[0x1f, 0x43, 0xb6, 0x75]).repeat(30_000),
            ]
            .concat(),
        ),
        (
            "segments without an end",
            [webm_head(), open_size(&[0x18, 0x53, 0x80, 0x67]).repeat(30_000)].concat(),
        ),
        (
            "tracks of open size",
            [
                webm_head(),
                open_size(&[0x18, 0x53, 0x80, 0x67]),
                open_size(&[0x16, 0x54, 0xae, 0x6b]).repeat(9_000),
            ]
            .concat(),
        ),
        (
            "an element of 2^56 bytes",
            [
                webm_head(),
                vec![
                    0x18, 0x53, 0x80, 0x67, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe,
                ],
            ]
            .concat(),
        ),
        (
            "documents without end",
            element(&[0x1a, 0x45, 0xdf, 0xa3], &[]).repeat(20_000),
        ),
        ("blanks", b" ".repeat(200_000)),
    ];
    for (what, bomb) in bombs {
        // As it is, and behind the beginning of a good file.
        assert_bounded(what, &bomb);
        assert_bounded(what, &[ftyp(), moov(), mdat.clone(), bomb].concat());
    }
}

#[test]
fn t10_lies_about_samples_never_make_a_length_from_nothing() {
    let movie = |runs: &[u8]| [ftyp(), moov(), fragment(runs)].concat();
    let lasts = |runs: &[u8]| match assert_bounded("a lie", &movie(runs)) {
        Finding::Complete(media) => media.duration_ms,
        other => panic!("{other:?}"),
    };
    // The movie says 15 s itself; samples of a track that nobody declared have no unit of time.
    for runs in [
        trun(0x100, 2, &[0xff; 8]).repeat(3),
        trun(0, u32::MAX, b""),
        trun(0x100, u32::MAX, &[0; 4]),
    ] {
        assert_eq!(lasts(&runs), Some(15_000));
    }
}

/// One change of the kinds that encoders, proxies and attackers make.
fn mutated(rng: &mut StdRng, bytes: &mut Vec<u8>, others: &[&[u8]]) {
    let reach = match rng.random_bool(0.5) {
        true => bytes.len().min(1500),
        false => bytes.len(),
    };
    if reach < 16 {
        return;
    }
    let at = rng.random_range(0..reach - 8);
    match rng.random_range(0..8) {
        0 => bytes[at] ^= 1 << rng.random_range(0..8),
        1 => bytes[at..at + 4].copy_from_slice(
            &[0u32, 1, 7, 8, 0x7fff_ffff, u32::MAX]
                .choose(rng)
                .expect("some")
                .to_be_bytes(),
        ),
        2 => bytes[at..at + 8].copy_from_slice(
            &[0u64, 16, u64::MAX, u64::MAX / 2, 1 << 32]
                .choose(rng)
                .expect("some")
                .to_be_bytes(),
        ),
        3 => bytes.truncate(at),
        4 => {
            let end = rng.random_range(at..bytes.len());
            bytes.drain(at..end.min(at + 600));
        }
        5 => {
            let piece: Vec<u8> = bytes[at..(at + rng.random_range(1..200)).min(bytes.len())].to_vec();
            bytes.splice(at..at, piece.repeat(rng.random_range(1..6)));
        }
        6 => {
            let kinds = [
                b"moov", b"trak", b"mdia", b"moof", b"traf", b"trun", b"mvex", b"mdat", b"ftyp", b"free",
            ];
            bytes[at..at + 4].copy_from_slice(*kinds.choose(rng).expect("some"));
        }
        _ => {
            let other = others.choose(rng).expect("some");
            let from = rng.random_range(0..other.len());
            bytes.splice(at.., other[from..].iter().copied());
        }
    }
}

fn setting(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().expect("a number"))
}

#[test]
fn t10_mutations_of_real_files_are_judged_alike_in_any_chunks_and_never_cost_more_than_their_bytes() {
    let rounds = setting("CATCHMENT_FUZZ_ROUNDS", ROUNDS);
    let seed = setting("CATCHMENT_FUZZ_SEED", 1);
    let files: Vec<&[u8]> = videos().into_iter().map(|clip| clip.bytes).collect();
    let mut outcomes = [0; 3];
    for round in 0..rounds {
        let mut rng = StdRng::seed_from_u64(seed.wrapping_mul(1 << 32).wrapping_add(round));
        let mut bytes = files.choose(&mut rng).expect("some").to_vec();
        for _ in 0..rng.random_range(1..6) {
            mutated(&mut rng, &mut bytes, &files);
        }
        let what = format!("seed {seed}, round {round}");
        let (finding, steps) = costs(Expected::Video, &bytes, rng.random_range(1..3000));
        assert!(
            steps <= bytes.len() as u64,
            "{what}: {steps} steps, {} bytes",
            bytes.len()
        );
        let (whole, _) = costs(Expected::Video, &bytes, bytes.len().max(1));
        assert_eq!(finding, whole, "{what}");
        outcomes[match finding {
            Finding::Complete(_) => 0,
            Finding::Incomplete(_) => 1,
            Finding::NotMedia(_) | Finding::Unknown => 2,
        }] += 1;
    }
    assert!(
        outcomes.iter().all(|n| *n > 0),
        "mutations of every effect: {outcomes:?}"
    );
}
