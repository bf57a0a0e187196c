//! Durations, sizes, addresses and key templates.

use proptest::prelude::*;

use super::*;
use crate::config::units::{format_duration, parse_duration};

#[test]
fn durations() {
    let table = [
        ("0", Some(0)),
        ("90", Some(90_000)),
        ("500ms", Some(500)),
        ("30s", Some(30_000)),
        (" 5m ", Some(300_000)),
        ("2h", Some(7_200_000)),
        ("7d", Some(604_800_000)),
        ("1h30m", Some(5_400_000)),
        ("1h 30m", Some(5_400_000)),
        ("0s", Some(0)),
        ("", None),
        ("s", None),
        ("-1s", None),
        ("1.5h", None),
        ("5M", None),
        ("5 minutes", None),
        ("3x", None),
        ("1s2", None),
        ("18446744073709551616", None),
        ("18446744073709551615d", None),
        ("٣s", None),
    ];
    for (text, ms) in table {
        assert_eq!(parse_duration(text), ms.map(Duration::from_millis), "{text:?}");
    }
}

#[test]
fn sizes() {
    let table = [
        ("0", Some(0)),
        ("1024", Some(1024)),
        ("8MiB", Some(8 << 20)),
        ("8 mib", Some(8 << 20)),
        ("16MB", Some(16_000_000)),
        ("64KiB", Some(65_536)),
        ("1kB", Some(1_000)),
        ("5GiB", Some(5 << 30)),
        ("2TB", Some(2_000_000_000_000)),
        ("12B", Some(12)),
        ("", None),
        ("MiB", None),
        ("16M", None),
        ("1.5GiB", None),
        ("-1", None),
        ("16777216TiB", None),
        ("18446744073709551616", None),
    ];
    for (text, bytes) in table {
        assert_eq!(text.parse::<ByteSize>().ok(), bytes.map(ByteSize), "{text:?}");
    }
    assert_eq!(ByteSize(8 << 20).to_string(), "8MiB");
    assert_eq!(ByteSize(16_000_000).to_string(), "16MB");
    assert_eq!(ByteSize(0).to_string(), "0B");
}

proptest! {
    #[test]
    fn no_text_breaks_a_parser(text in "\\PC{0,40}", unitlike in "[0-9]{0,22}[a-zA-Z é]{0,4}[0-9]{0,3}") {
        for text in [text, unitlike] {
            let _ = parse_duration(&text);
            let _ = text.parse::<ByteSize>();
            let _ = text.parse::<KeyTemplate>();
            let _ = text.parse::<BaseUrl>();
        }
    }

    #[test]
    fn what_is_printed_reads_back_as_the_same(number in any::<u64>(), zeros in 0_u32..40) {
        let number = number >> zeros << (zeros / 2);
        let duration = Duration::from_millis(number);
        prop_assert_eq!(parse_duration(&format_duration(duration)), Some(duration));
        prop_assert_eq!(ByteSize(number).to_string().parse(), Ok(ByteSize(number)));
    }

    #[test]
    fn whole_units_read_back_as_the_same(count in 0_u64..100_000, unit in 0_usize..5) {
        let duration = Duration::from_millis(count * [1, 1_000, 60_000, 3_600_000, 86_400_000][unit]);
        prop_assert_eq!(parse_duration(&format_duration(duration)), Some(duration));
        let size = ByteSize(count * [1, 1_000, 1 << 10, 1_000_000, 1 << 30][unit]);
        prop_assert_eq!(size.to_string().parse(), Ok(size));
    }
}

#[test]
fn a_duration_is_printed_in_its_largest_whole_unit() {
    for (ms, text) in [
        (0, "0s"),
        (90_000, "90s"),
        (7_200_000, "2h"),
        (604_800_000, "7d"),
        (1_500, "1500ms"),
    ] {
        assert_eq!(format_duration(Duration::from_millis(ms)), text);
    }
}

#[test]
fn base_addresses() {
    for wrong in [
        "catchment.example.com",
        "ftp://x",
        "https://x/?a=1",
        "https://x/#a",
        "https://user:pass@x",
        "https://",
    ] {
        assert!(wrong.parse::<BaseUrl>().is_err(), "{wrong:?}");
    }
    let base: BaseUrl = "https://X.example:8443/a/".parse().unwrap();
    assert_eq!(base.as_str(), "https://x.example:8443/a");
    assert_eq!(base.url().port(), Some(8443));
}

#[test]
fn key_templates() {
    let right = [
        "{prefix}{taskUUID}/{resultId}.{ext}",
        "{yyyy}/{mm}/{dd}/{taskUUID}-{resultId}",
        "a=b/{taskUUID}_{resultId}",
    ];
    for template in right {
        assert_eq!(template.parse::<KeyTemplate>().unwrap().as_str(), template);
    }
    let wrong = [
        ("{taskUUID}/x", "{resultId}"),
        ("{resultId}", "{taskUUID}"),
        ("{taskUUID}/{resultId}.{extension}", "{extension}"),
        ("{taskUUID}/{resultId", "without }"),
        ("{taskUUID}/{resultId}}", "'}'"),
        ("/{taskUUID}/{resultId}", "segment"),
        ("{taskUUID}/../{resultId}", "segment"),
        ("{taskUUID}//{resultId}", "segment"),
        ("{taskUUID} {resultId}", "' '"),
        ("a/{prefix}{taskUUID}/{resultId}", "in front"),
    ];
    for (template, reason) in wrong {
        let fault = template.parse::<KeyTemplate>().unwrap_err();
        assert!(fault.contains(reason), "{template}: {fault}");
    }
    let long = format!("{}{{taskUUID}}{{resultId}}", "a".repeat(500));
    assert!(long.parse::<KeyTemplate>().is_err());
}

#[test]
fn databases() {
    let path = |text: &str| text.parse::<StoreUrl>().map(|url| url.path().clone());
    assert_eq!(path("sqlite:/var/lib/x.db"), Ok("/var/lib/x.db".into()));
    assert!(
        path("postgres://db/catchment")
            .unwrap_err()
            .contains("not supported yet")
    );
    for wrong in ["", "sqlite:", "sqlite::memory:", "/var/lib/x.db"] {
        assert!(path(wrong).is_err(), "{wrong:?}");
    }
}
