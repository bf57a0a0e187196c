//! Every refusal names its source, the key and what would be right, and never a secret.

use super::*;

const CANARY: &str = "canary-8d1f0c";

#[test]
fn all_faults_are_told_at_once_each_with_its_source() {
    let start = Start::new()
        .toml("[poll]\nfirst_after = '3 minuts'\n[sever]\nlisten = 'x'\n[archive]\nmode = 'direct'")
        .env("CATCHMENT_S3__CHECKSUM", "md5")
        .env("CATCHMENT_S3__BUKET", "videos")
        .flag("limits.burst", "-1");
    let faults = start.faults();
    let lines: Vec<&str> = faults.lines().collect();
    assert_eq!(
        lines,
        [
            "CATCHMENT_S3__BUKET (s3.buket): there is no such setting (did you mean s3.bucket?)",
            "catchment.toml: sever.listen: there is no such setting (did you mean server.listen?)",
            "CATCHMENT_S3__CHECKSUM (s3.checksum): \"md5\" is not one of them (sha256, crc64nvme, none)",
            "catchment.toml: poll.first_after: \"3 minuts\" is not a duration \
             (a duration such as 500ms, 30s, 5m, 2h or 7d; a bare number is seconds)",
            "flag limits.burst: \"-1\" is not one (0 to 4294967295) (a whole number)",
            "catchment.toml: archive.mode: is not supported yet (only copy)",
        ]
    );
}

#[test]
fn unknown_keys_name_the_nearest_known_one() {
    let table = [
        ("[poll]\nfirst_aftr = 1", "poll.first_after"),
        ("[polls]\ndeadline = 1", "poll.deadline"),
        ("listen = 'x'", "server.listen"),
        ("[server]\nbucket = 'x'", "s3.bucket"),
        ("[events]\ntimeot = 1", "events.timeout"),
        ("[runware]\napikey_file = 'x'", "runware.api_key_file"),
        ("[poll]\nfirst = 1", "poll.first_after"),
        ("[s3]\nbucket_name = 'x'", "s3.bucket"),
    ];
    for (toml, near) in table {
        let faults = Start::new().toml(toml).faults();
        assert!(
            faults.contains(&format!("(did you mean {near}?)")),
            "{toml}: {faults}"
        );
    }
    let far = Start::new().toml("[kafka]\nbrokers = 'x'").faults();
    assert_eq!(far, "catchment.toml: kafka.brokers: there is no such setting");
}

#[test]
fn unknown_flags_and_secret_files_of_plain_settings_are_refused() {
    let faults = Start::new()
        .flag("s3.bukcet", "x")
        .flag("s3.bucket_file", "x")
        .faults();
    assert!(
        faults.contains("flag s3.bukcet: there is no such setting (did you mean s3.bucket?)"),
        "{faults}"
    );
    assert!(
        faults.contains("flag s3.bucket_file: there is no such setting"),
        "{faults}"
    );
}

#[test]
fn both_forms_of_a_secret_at_once_are_refused() {
    let start = Start::new().file("k", CANARY);
    let by_file = start.toml(&format!("[runware]\napi_key = '{CANARY}'\napi_key_file = 'k'"));
    let faults = by_file.faults();
    assert!(
        faults.contains("runware.api_key and runware.api_key_file are both given"),
        "{faults}"
    );
    assert!(!faults.contains(CANARY), "{faults}");
}

#[test]
fn wrong_secrets_are_described_without_being_shown() {
    let table = [
        ("[runware]\napi_key = 'canary-8d1f0c two'", "has spaces"),
        ("[runware]\napi_key_file = 'absent'", "cannot read"),
        ("[runware]\napi_key_file = 'empty'", "is empty"),
        ("[callback]\nkeys = ['canary8d1f0c']", "bytes instead of 32"),
        ("[callback]\nkeys = ['canary-8d1f0c!']", "not base64"),
        ("[callback]\nkeys = '[canary-8d1f0c'", "not a JSON array"),
        (
            "[callback]\nkeys = ['BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc', 'BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=']",
            "twice",
        ),
        ("[runware]\napi_key = '<hidden>'", "in place of a secret"),
        (
            "[runware]\napi_kye = 'canary-8d1f0c'",
            "did you mean runware.api_key?",
        ),
        (
            "[runware]\nbase_url = 'https://me:canary-8d1f0c@host'",
            "user or password",
        ),
        ("[runware]\napi_key = 'canary-8d1f0c", "line 2"),
        ("[runware]\napi_key = canary-8d1f0c", "line 2"),
        ("[runware]\napi_key = 'a'\napi_key = 'canary-8d1f0c'", "line 3"),
    ];
    for (toml, problem) in table {
        let faults = Start::new().file("empty", "\n").toml(toml).faults();
        assert!(faults.contains(problem), "{toml}: {faults}");
        assert!(!faults.contains("canary"), "{toml}: {faults}");
    }
}

#[test]
fn ranges_and_contradictions() {
    let table = [
        (
            "[server]\nmax_body = '1B'",
            "server.max_body: 1B is out of range (from 1KiB to 1GiB)",
        ),
        (
            "[runware]\nmin_ttl = '30s'",
            "runware.min_ttl: 30s is out of range",
        ),
        (
            "[runware]\nmax_in_flight = 0",
            "runware.max_in_flight: 0 is out of range",
        ),
        (
            "[runware]\nresend_window = '2d'",
            "runware.resend_window: 2d is out of range",
        ),
        (
            "[s3]\nbucket = 's3://videos'",
            "s3.bucket: \"s3://videos\" is not a bucket's name",
        ),
        ("[s3]\nprefix = '/a'", "s3.prefix: \"/a\" cannot start a key"),
        (
            "[s3]\nprefix = 'a/'\n[archive]\nkey_template = '{taskUUID}/{resultId}'",
            "s3.prefix: s3.prefix has no effect",
        ),
        (
            "[archive]\npart_size = '1MiB'",
            "archive.part_size: 1MiB is out of range (from 5MiB to 1GiB)",
        ),
        (
            "[archive]\nmax_object_size = '6GiB'",
            "archive.max_object_size: 6GiB is out of range",
        ),
        ("[archive]\nallowed_hosts = []", "archive.allowed_hosts: is empty"),
        (
            "[archive]\nat_risk_after = 1",
            "archive.at_risk_after: 1 is out of range (above 0, below 1)",
        ),
        ("[archive]\nat_risk_after = nan", "archive.at_risk_after"),
        (
            "[retry]\nmax_interval = '1ms'",
            "retry.max_interval: 1ms is out of range (from 100ms to 1h)",
        ),
        (
            "[events]\nschedule = []",
            "events.schedule: names 0 tries (1 to 50 waits)",
        ),
        (
            "[events]\nschedule = ['8d']",
            "events.schedule: has a wait above 7d",
        ),
        (
            "[events]\nretention = '3d'",
            "events.retention: events.retention ends before the last delivery try",
        ),
        ("[limits]\nburst = 0", "limits.burst: 0 is out of range"),
        ("[log]\nlevel = 'catchment=loud'", "log.level: \"catchment=loud\""),
        ("[archive]\nmode = 'direct'", "archive.mode: is not supported yet"),
        (
            "[store]\nurl = 'postgres://db/x'",
            "store.url: \"postgres://db/x\": PostgreSQL is not supported yet",
        ),
        (
            "[tasks]\nretention = '1ms'",
            "tasks.retention: 1ms is out of range (from 100ms to 3650d)",
        ),
        (
            "[nats]\nurl = 'http://u:pw@localhost'",
            "nats.url: not the address of a NATS server",
        ),
        (
            "[nats]\nstream = 'a.b'",
            "nats.stream: \"a.b\" cannot name a stream",
        ),
    ];
    for (toml, expected) in table {
        let faults = Start::new().toml(toml).faults();
        assert!(
            faults.starts_with(&format!("catchment.toml: {expected}")),
            "{toml}: {faults}"
        );
        assert_eq!(faults.lines().count(), 1, "{toml}: {faults}");
    }
}

#[test]
fn times_that_are_set_alone_may_cross_the_defaults_of_others() {
    for toml in [
        "[poll]\nfirst_after = '10m'",
        "[poll]\nmax_interval = '1s'",
        "[poll]\ndeadline = '10s'",
        "[runware]\ndefault_ttl = '60s'",
    ] {
        assert!(Start::new().toml(toml).load_from(None).is_ok(), "{toml}");
    }
}

#[test]
fn a_value_that_was_not_read_takes_part_in_no_further_rule() {
    let faults = Start::new()
        .toml(&format!(
            "[events]\nretention = 'x'\nschedule = [{}]",
            "'7d', ".repeat(14)
        ))
        .faults();
    assert_eq!(faults.lines().count(), 1, "{faults}");
}

#[test]
fn a_setting_of_the_wrong_shape_is_refused() {
    for toml in [
        "[server]\nlisten = ['127.0.0.1:1']",
        "[server.listen]\nport = 1",
        "server = 1",
        "[s3.bucket]",
    ] {
        assert!(Start::new().toml(toml).load_from(None).is_err(), "{toml}");
    }
}
