//! Real files, made by `tests/fixtures/media/make.sh`; what they hold is copied from the ffprobe table it prints.

mod hostile;
mod made_by_hand;

use proptest::prelude::*;

use super::*;

struct Clip {
    name: &'static str,
    bytes: &'static [u8],
    media: Media,
}

macro_rules! clip {
    ($name:literal, $content_type:literal, $duration_ms:expr, $size:expr) => {
        Clip {
            name: $name,
            bytes: include_bytes!(concat!("../../../tests/fixtures/media/", $name)),
            media: Media {
                content_type: $content_type,
                duration_ms: $duration_ms,
                width: $size.map(|(width, _)| width),
                height: $size.map(|(_, height)| height),
            },
        }
    };
}

const LANDSCAPE: Option<(u32, u32)> = Some((96, 64));
const NO_SIZE: Option<(u32, u32)> = None;

/// Files of which every strict prefix is visibly cut.
fn self_delimiting() -> Vec<Clip> {
    vec![
        clip!("index_last.mp4", "video/mp4", Some(1000), LANDSCAPE),
        clip!("index_first.mp4", "video/mp4", Some(1000), LANDSCAPE),
        // ffprobe: 96 × 64 as coded, turned by 90 degrees.
        clip!("turned.mp4", "video/mp4", Some(1000), Some((64, 96))),
        clip!("plain.mov", "video/quicktime", Some(1000), LANDSCAPE),
        clip!("sized.webm", "video/webm", Some(1008), LANDSCAPE),
        clip!("plain.mkv", "video/x-matroska", Some(1000), LANDSCAPE),
    ]
}

/// Files that may end after any fragment or cluster: only their declared length tells that all of it came.
fn open_ended() -> Vec<Clip> {
    vec![
        // Its sound is the longer track.
        clip!("fragmented.mp4", "video/mp4", Some(1200), LANDSCAPE),
        clip!("dash.mp4", "video/mp4", Some(1000), LANDSCAPE),
        clip!("open.webm", "video/webm", None, LANDSCAPE),
    ]
}

fn videos() -> Vec<Clip> {
    self_delimiting().into_iter().chain(open_ended()).collect()
}

fn judge(expected: Expected, bytes: &[u8]) -> Finding {
    let mut check = ContainerCheck::new(expected);
    check.push(bytes);
    check.finish()
}

fn judge_in_chunks(expected: Expected, bytes: &[u8], chunk_bytes: usize) -> Finding {
    let mut check = ContainerCheck::new(expected);
    bytes
        .chunks(chunk_bytes.max(1))
        .for_each(|chunk| check.push(chunk));
    check.finish()
}

#[test]
fn whole_videos_are_complete_with_what_ffprobe_says() {
    for clip in videos() {
        for expected in [Expected::Video, Expected::Any] {
            assert_eq!(
                judge(expected, clip.bytes),
                Finding::Complete(clip.media.clone()),
                "{}",
                clip.name
            );
        }
    }
}

/// The clips that the simulator serves, and what `ffprobe -show_entries format=duration:stream=width,height` says.
#[test]
fn served_clips_are_complete_with_what_ffprobe_says() {
    macro_rules! served {
        ($($name:literal $content_type:literal $duration_ms:literal $width:literal $height:literal,)+) => {
            [$((
                $name,
                &include_bytes!(concat!("../../../assets/videos/", $name))[..],
                ($content_type, $duration_ms, $width, $height),
            ),)+]
        };
    }
    for (name, bytes, expected) in served! {
        "portrait_moov_first.mp4" "video/mp4" 2000 216 384,
        "landscape_moov_last.mp4" "video/mp4" 3000 384 216,
        "fragmented.mp4" "video/mp4" 4167 256 256,
        "portrait.mov" "video/quicktime" 5000 216 384,
        "landscape.webm" "video/webm" 2008 384 216,
    } {
        let Finding::Complete(media) = judge(Expected::Video, bytes) else {
            panic!("{name} is whole")
        };
        let told = (
            media.content_type,
            media.duration_ms.unwrap(),
            media.width.unwrap(),
            media.height.unwrap(),
        );
        assert_eq!(told, expected, "{name}");
        assert_eq!(likely_type(&bytes[..HEAD_BYTES]), Some(expected.0), "{name}");
    }
}

#[test]
fn the_first_bytes_suggest_the_type_that_the_whole_has() {
    for clip in videos() {
        let head = &clip.bytes[..HEAD_BYTES];
        assert_eq!(likely_type(head), Some(clip.media.content_type), "{}", clip.name);
    }
    for (head, kind) in [
        (
            &include_bytes!("../../../tests/fixtures/media/sound.m4a")[..],
            "audio/mp4",
        ),
        (
            include_bytes!("../../../tests/fixtures/media/sound.mp3"),
            "audio/mpeg",
        ),
        (
            include_bytes!("../../../tests/fixtures/media/sound.wav"),
            "audio/wav",
        ),
        (
            include_bytes!("../../../tests/fixtures/media/picture.png"),
            "image/png",
        ),
        (
            include_bytes!("../../../tests/fixtures/media/picture.jpg"),
            "image/jpeg",
        ),
        (
            include_bytes!("../../../tests/fixtures/media/picture.webp"),
            "image/webp",
        ),
        (b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>", "image/svg+xml"),
    ] {
        assert_eq!(likely_type(&head[..head.len().min(HEAD_BYTES)]), Some(kind));
    }
    assert_eq!(likely_type(b"<html>"), None);
    assert_eq!(likely_type(b""), None);
}

#[test]
fn every_strict_prefix_is_incomplete() {
    for clip in self_delimiting() {
        for len in 1..clip.bytes.len() {
            let finding = judge(Expected::Video, &clip.bytes[..len]);
            assert!(
                matches!(finding, Finding::Incomplete(_)),
                "{} cut to {len}: {finding:?}",
                clip.name
            );
        }
    }
}

#[test]
fn an_open_ended_file_may_end_only_between_its_elements() {
    for clip in open_ended() {
        let mut ends = 0;
        for len in 1..clip.bytes.len() {
            match judge(Expected::Video, &clip.bytes[..len]) {
                Finding::Complete(_) => ends += 1,
                Finding::Incomplete(_) => {}
                other => panic!("{} cut to {len}: {other:?}", clip.name),
            }
        }
        assert!(ends <= 20, "{} could end at {ends} places", clip.name);
    }
}

#[test]
fn trailing_bytes_are_noticed() {
    for clip in videos() {
        for extra in [&b"\0"[..], b"\0\0\0\0\0\0\0\0", b"<html></html>", b"abcdefgh"] {
            let finding = judge(Expected::Video, &[clip.bytes, extra].concat());
            assert!(
                !matches!(finding, Finding::Complete(_)),
                "{} + {extra:?}: {finding:?}",
                clip.name
            );
        }
    }
}

#[test]
fn other_media_are_named_where_any_are_expected_and_unknown_as_video() {
    let sounds_and_pictures = [
        clip!("sound.m4a", "audio/mp4", Some(1000), NO_SIZE),
        clip!("sound.mp3", "audio/mpeg", None, NO_SIZE),
        clip!("sound.wav", "audio/wav", None, NO_SIZE),
        clip!("picture.png", "image/png", None, NO_SIZE),
        clip!("picture.jpg", "image/jpeg", None, NO_SIZE),
        clip!("picture.webp", "image/webp", None, NO_SIZE),
    ];
    for clip in sounds_and_pictures {
        assert_eq!(
            judge(Expected::Any, clip.bytes),
            Finding::Complete(clip.media.clone()),
            "{}",
            clip.name
        );
        assert_eq!(
            judge(Expected::Video, clip.bytes),
            Finding::Unknown,
            "{}",
            clip.name
        );
    }
}

#[test]
fn pages_and_documents_are_not_media() {
    let far = [" \r\n".repeat(5000).as_bytes(), b"<!doctype html><p>gone"].concat();
    let wide: Vec<u8> = [0xff, 0xfe]
        .into_iter()
        .chain(b"<html>".iter().flat_map(|byte| [*byte, 0]))
        .collect();
    let cases: [(&[u8], NotMedia); 11] = [
        (b"", NotMedia::Empty),
        (b"<", NotMedia::Markup),
        (b"<!DOCTYPE html><html><body>404</body></html>", NotMedia::Markup),
        (
            b"<?xml version=\"1.0\"?>\n<Error><Code>AccessDenied</Code></Error>",
            NotMedia::Markup,
        ),
        (b"\xef\xbb\xbf  <html>", NotMedia::Markup),
        (b"<html>\xc3\xa9t\xc3\xa9</html>", NotMedia::Markup),
        (&far, NotMedia::Markup),
        (&wide, NotMedia::Markup),
        (b"{}", NotMedia::Json),
        (b"\n {\"errors\":[{\"code\":\"notFound\"}]}", NotMedia::Json),
        (b"[1,2]", NotMedia::Json),
    ];
    for (bytes, not_media) in cases {
        for expected in [Expected::Video, Expected::Any] {
            let text = String::from_utf8_lossy(bytes);
            assert_eq!(
                judge(expected, bytes),
                Finding::NotMedia(not_media),
                "{}",
                text.trim()
            );
        }
    }
}

#[test]
fn an_svg_is_a_picture_only_where_pictures_are_expected() {
    let svg = b"<?xml version=\"1.0\"?>\n<!-- made by hand -->\n<svg xmlns=\"http://www.w3.org/2000/svg\"/>";
    assert_eq!(
        judge(Expected::Any, svg),
        Finding::Complete(Media::of_type("image/svg+xml"))
    );
    assert_eq!(judge(Expected::Video, svg), Finding::NotMedia(NotMedia::Markup));
    assert_eq!(
        judge(Expected::Any, b"<svgx/>"),
        Finding::NotMedia(NotMedia::Markup)
    );
    assert_eq!(
        judge(Expected::Any, b"<!-- <svg> --><html>"),
        Finding::NotMedia(NotMedia::Markup)
    );
}

#[test]
fn binary_data_behind_a_brace_or_bracket_is_unknown_not_text() {
    for first in *b"{[<" {
        let bytes: Vec<u8> = [first].into_iter().chain(0..=255).collect();
        assert_eq!(judge(Expected::Video, &bytes), Finding::Unknown);
    }
}

#[test]
fn the_first_bytes_are_enough_to_stop_early() {
    let early = |bytes: &[u8]| {
        let mut check = ContainerCheck::new(Expected::Video);
        check.push(bytes);
        check.early()
    };
    let page = [&b"<html>"[..], &[b' '; HEAD_BYTES]].concat();
    assert_eq!(early(&page), Some(Finding::NotMedia(NotMedia::Markup)));
    assert_eq!(early(&[0x55; HEAD_BYTES]), Some(Finding::Unknown));
    assert_eq!(early(&page[..20]), None);
    for clip in videos() {
        assert_eq!(early(clip.bytes), None, "{}", clip.name);
    }
}

fn any_video() -> impl Strategy<Value = &'static [u8]> {
    prop::sample::select(videos().into_iter().map(|clip| clip.bytes).collect::<Vec<_>>())
}

proptest! {
    #[test]
    fn chunking_changes_nothing(video in any_video(), cuts in prop::collection::vec(1usize..2000, 1..40), any in any::<bool>()) {
        let expected = if any { Expected::Any } else { Expected::Video };
        let mut check = ContainerCheck::new(expected);
        let (mut rest, mut sizes) = (video, cuts.iter().cycle());
        while !rest.is_empty() {
            let (chunk, left) = rest.split_at(rest.len().min(*sizes.next().expect("a cycle")));
            check.push(chunk);
            check.push(&[]);
            rest = left;
        }
        prop_assert_eq!(check.finish(), judge(expected, video));
    }

    #[test]
    fn damaged_files_never_panic_and_chunking_still_changes_nothing(
        video in any_video(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..30),
        near_the_front in any::<bool>(),
        chunk_bytes in 1usize..700,
    ) {
        let mut bytes = video.to_vec();
        let reach = if near_the_front { bytes.len().min(900) } else { bytes.len() };
        damage.iter().for_each(|(at, byte)| bytes[at.index(reach)] = *byte);
        prop_assert_eq!(judge_in_chunks(Expected::Any, &bytes, chunk_bytes), judge(Expected::Any, &bytes));
    }

    #[test]
    fn spliced_files_never_panic(first in any_video(), second in any_video(), at in any::<prop::sample::Index>()) {
        let bytes = [&first[..at.index(first.len())], &second[at.index(second.len())..]].concat();
        prop_assert_eq!(judge_in_chunks(Expected::Video, &bytes, 13), judge(Expected::Video, &bytes));
    }

    #[test]
    fn random_bytes_are_never_a_video(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        prop_assert!(!matches!(judge(Expected::Video, &bytes), Finding::Complete(_)));
    }

    #[test]
    fn random_bytes_behind_a_true_beginning_are_never_a_video(
        bytes in prop::collection::vec(any::<u8>(), 1..3000),
        which in 0usize..3,
    ) {
        let start: &[u8] = [&b"\0\0\0\x14ftypisom\0\0\x02\0isom"[..], b"\x1a\x45\xdf\xa3\x87\x42\x82\x84webm", b"\0\0\0\x08moov"][which];
        prop_assert!(!matches!(judge(Expected::Video, &[start, &bytes].concat()), Finding::Complete(_)));
    }

    #[test]
    fn early_agrees_with_the_end(bytes in prop::collection::vec(any::<u8>(), 0..1500), video in any_video(), keep in 0usize..600) {
        let bytes = [&video[..keep], &bytes].concat();
        let mut check = ContainerCheck::new(Expected::Video);
        check.push(&bytes);
        let early = check.early();
        let end = check.finish();
        prop_assert!(early.is_none_or(|early| early == end));
    }
}
