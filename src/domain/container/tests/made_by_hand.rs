//! Files built byte by byte, for what encoders do not write on request.

use super::*;

pub(super) fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&(8 + body.len() as u32).to_be_bytes(), &kind[..], body].concat()
}

pub(super) fn boxed_64(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [
        &1u32.to_be_bytes(),
        &kind[..],
        &(16 + body.len() as u64).to_be_bytes(),
        body,
    ]
    .concat()
}

pub(super) fn mvhd_v1(timescale: u32, duration: u64) -> Vec<u8> {
    let body = [
        &[1, 0, 0, 0],
        &[0; 16][..],
        &timescale.to_be_bytes(),
        &duration.to_be_bytes(),
        &[0; 80],
    ]
    .concat();
    boxed(b"mvhd", &body)
}

fn tkhd_v1(width: u32, height: u32) -> Vec<u8> {
    let unit = [1u32 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30]
        .map(u32::to_be_bytes)
        .concat();
    let size = [width << 16, height << 16].map(u32::to_be_bytes).concat();
    boxed(b"tkhd", &[&[1, 0, 0, 0], &[0; 48][..], &unit, &size].concat())
}

fn track(handler: &[u8; 4], tkhd: &[u8]) -> Vec<u8> {
    let hdlr = boxed(b"hdlr", &[&[0; 8][..], handler, &[0; 13]].concat());
    boxed(b"trak", &[tkhd, &boxed(b"mdia", &hdlr)].concat())
}

pub(super) fn moov() -> Vec<u8> {
    boxed(
        b"moov",
        &[
            mvhd_v1(600, 9000),
            track(b"soun", &tkhd_v1(0, 0)),
            track(b"vide", &tkhd_v1(1080, 1920)),
        ]
        .concat(),
    )
}

pub(super) fn ftyp() -> Vec<u8> {
    boxed(b"ftyp", b"isom\0\0\x02\0isom")
}

fn portrait() -> Finding {
    Finding::Complete(Media {
        content_type: "video/mp4",
        duration_ms: Some(15_000),
        width: Some(1080),
        height: Some(1920),
    })
}

#[test]
fn wide_sizes_and_version_1_headers_are_read() {
    let file = [ftyp(), boxed_64(b"mdat", &[7; 100]), moov(), boxed(b"free", b"")].concat();
    assert_eq!(judge(Expected::Video, &file), portrait());
}

#[test]
fn a_last_box_without_a_size_reaches_to_the_end() {
    let to_end = [&0u32.to_be_bytes(), &b"mdat"[..], &[7; 100]].concat();
    assert_eq!(
        judge(Expected::Video, &[ftyp(), moov(), to_end.clone()].concat()),
        portrait()
    );
    assert_eq!(
        judge(Expected::Video, &[ftyp(), to_end].concat()),
        Finding::Incomplete("no moov box")
    );
}

#[test]
fn what_is_missing_is_named() {
    let mdat = boxed(b"mdat", &[7; 10]);
    let moof = boxed(b"moof", &[]);
    assert_eq!(
        judge(Expected::Video, &[ftyp(), mdat.clone()].concat()),
        Finding::Incomplete("no moov box")
    );
    assert_eq!(
        judge(Expected::Video, &[ftyp(), moov()].concat()),
        Finding::Incomplete("no media data")
    );
    assert_eq!(
        judge(Expected::Video, &[ftyp(), moov(), moof].concat()),
        Finding::Incomplete("the last fragment has no data")
    );
    assert_eq!(judge(Expected::Video, &[moov(), mdat].concat()), Finding::Unknown);
}

#[test]
fn lying_sizes_are_refused_without_being_believed() {
    let mdat = boxed(b"mdat", &[7; 10]);
    let huge = [&1u32.to_be_bytes(), &b"mdat"[..], &u64::MAX.to_be_bytes()].concat();
    let inner_too_long = boxed(
        b"moov",
        &[&900u32.to_be_bytes(), &b"trak"[..], &[0; 100]].concat(),
    );
    let too_short = [&7u32.to_be_bytes(), &b"free"[..]].concat();
    for part in [huge, inner_too_long, too_short] {
        let file = [ftyp(), moov(), mdat.clone(), part].concat();
        assert_eq!(judge(Expected::Video, &file), Finding::Unknown);
    }
    let far = [&1u32.to_be_bytes(), &b"mdat"[..], &(u64::MAX / 2).to_be_bytes()].concat();
    assert!(matches!(
        judge(Expected::Video, &[ftyp(), moov(), far].concat()),
        Finding::Incomplete(_)
    ));
}

#[test]
fn a_list_closed_by_four_zero_bytes_is_accepted() {
    let mut body = [mvhd_v1(600, 9000), track(b"vide", &tkhd_v1(1080, 1920))].concat();
    body.extend([0; 4]);
    let file = [ftyp(), boxed(b"moov", &body), boxed(b"mdat", b"x")].concat();
    assert_eq!(judge(Expected::Video, &file), portrait());
}

#[test]
fn a_movie_without_a_video_track_is_no_video() {
    let silent = boxed(
        b"moov",
        &[mvhd_v1(600, 600), track(b"soun", &tkhd_v1(0, 0))].concat(),
    );
    let file = [ftyp(), silent, boxed(b"mdat", b"x")].concat();
    assert_eq!(judge(Expected::Video, &file), Finding::Unknown);
    assert!(
        matches!(judge(Expected::Any, &file), Finding::Complete(media) if media.content_type == "audio/mp4")
    );
}

/// A movie of fragments alone: one track, a thousand units a second, 40 of them a sample unless said otherwise.
fn fragmented(fragments: &[Vec<u8>]) -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|w| w.to_be_bytes()).collect::<Vec<u8>>();
    let mut tkhd = tkhd_v1(1080, 1920);
    tkhd[8 + 20..8 + 24].copy_from_slice(&7u32.to_be_bytes());
    let mdhd = boxed(b"mdhd", &words(&[0, 0, 0, 1000, 0, 0]));
    let hdlr = boxed(b"hdlr", &[&[0; 8][..], b"vide", &[0; 13]].concat());
    let trak = boxed(b"trak", &[tkhd, boxed(b"mdia", &[mdhd, hdlr].concat())].concat());
    let mvex = boxed(b"mvex", &boxed(b"trex", &words(&[0, 7, 1, 40, 0, 0])));
    let moov = boxed(b"moov", &[mvhd_v1(600, 0), trak, mvex].concat());
    let of = |traf: &Vec<u8>| [boxed(b"moof", &boxed(b"traf", traf)), boxed(b"mdat", b"x")].concat();
    [vec![ftyp(), moov], fragments.iter().map(of).collect()]
        .concat()
        .concat()
}

#[test]
fn the_length_of_a_fragmented_movie_is_the_sum_of_its_samples() {
    let words = |words: &[u32]| words.iter().flat_map(|w| w.to_be_bytes()).collect::<Vec<u8>>();
    let tfhd = |more: &[u32]| boxed(b"tfhd", &words(&[&[0, 7], more].concat()));
    let with_duration = |each: u32| boxed(b"tfhd", &words(&[0x2_000b, 7, 0, 0, 1, each]));
    let tfdt = |at: u32| boxed(b"tfdt", &words(&[0, at]));
    let tfdt_v1 = |at: u32| boxed(b"tfdt", &words(&[1 << 24, 0, at]));
    let counted = |n: u32| boxed(b"trun", &words(&[1, n, 99]));
    let told = boxed(b"trun", &words(&[0x705, 3, 99, 98, 10, 1, 1, 20, 1, 1, 30, 1, 1]));
    for (what, fragments, lasts) in [
        (
            "the movie's default",
            vec![[tfhd(&[]), counted(5)].concat()],
            Some(200),
        ),
        (
            "the fragment's own",
            vec![[with_duration(50), counted(5), counted(1)].concat()],
            Some(300),
        ),
        (
            "each sample's",
            vec![[tfhd(&[]), told.clone()].concat()],
            Some(60),
        ),
        (
            "a recording that began long before",
            vec![
                [tfhd(&[]), tfdt(90_000), counted(5)].concat(),
                [tfhd(&[]), tfdt_v1(90_300), counted(5)].concat(),
            ],
            Some(500),
        ),
        ("no sample at all", vec![tfhd(&[])], None),
    ] {
        let Finding::Complete(media) = judge(Expected::Video, &fragmented(&fragments)) else {
            panic!("{what}")
        };
        assert_eq!(media.duration_ms, lasts, "{what}");
    }
}

#[test]
fn a_moov_of_a_million_boxes_costs_no_memory() {
    let moov = boxed(
        b"moov",
        &[moov()[8..].to_vec(), boxed(b"trak", b"").repeat(1_000_000)].concat(),
    );
    assert_eq!(
        judge_in_chunks(
            Expected::Video,
            &[ftyp(), moov, boxed(b"mdat", b"x")].concat(),
            4096
        ),
        portrait()
    );
}

pub(super) fn element(id: &[u8], body: &[u8]) -> Vec<u8> {
    let size = (1 << 14 | body.len() as u16).to_be_bytes();
    [id, &size, body].concat()
}

const CLUSTER_WITHOUT_SIZE: &[u8] = &[0x1f, 0x43, 0xb6, 0x75, 0xff];

pub(super) fn webm_head() -> Vec<u8> {
    element(&[0x1a, 0x45, 0xdf, 0xa3], &element(&[0x42, 0x82], b"webm"))
}

pub(super) fn webm_tracks() -> Vec<u8> {
    let video = element(
        &[0xe0],
        &[element(&[0xb0], &[4, 56]), element(&[0xba], &[7, 128])].concat(),
    );
    let entry = element(&[0xae], &[element(&[0x83], &[1]), video].concat());
    element(&[0x16, 0x54, 0xae, 0x6b], &entry)
}

#[test]
fn clusters_without_a_size_end_where_the_next_begins_or_with_the_segment() {
    let block = element(&[0xa3], &[7; 50]);
    let cues = element(&[0x1c, 0x53, 0xbb, 0x6b], &[]);
    let media = Media {
        width: Some(1080),
        height: Some(1920),
        ..Media::of_type("video/webm")
    };
    for tail in [vec![], cues] {
        let clusters = [CLUSTER_WITHOUT_SIZE, &block, CLUSTER_WITHOUT_SIZE, &block, &tail].concat();
        let segment = element(&[0x18, 0x53, 0x80, 0x67], &[webm_tracks(), clusters].concat());
        let file = [webm_head(), segment, element(&[0xec], &[0; 9])].concat();
        assert_eq!(judge(Expected::Video, &file), Finding::Complete(media.clone()));
    }
}

#[test]
fn bad_elements_of_a_document_are_refused() {
    let webm = include_bytes!("../../../../tests/fixtures/media/sized.webm");
    let mut no_id = webm.to_vec();
    no_id[0x30] = 0x00; // where the first part of the Segment begins
    assert_eq!(judge(Expected::Video, &no_id), Finding::Unknown);
    let mut nested = webm.to_vec();
    nested[0x30..0x34].copy_from_slice(&[0x18, 0x53, 0x80, 0x67]); // a Segment inside the Segment
    assert_eq!(judge(Expected::Video, &nested), Finding::Unknown);
    let mut other_type = webm.to_vec();
    let at = other_type
        .windows(4)
        .position(|window| window == b"webm")
        .expect("a document type");
    other_type[at] = b'x';
    assert_eq!(judge(Expected::Video, &other_type), Finding::Unknown);
}
