//! What single values cannot say about themselves: ranges, contradictions, and what a command needs.

use std::{collections::BTreeSet, fmt::Display, time::Duration};

use tracing_subscriber::EnvFilter;

use super::{
    ArchiveMode, ByteSize, ConfigErrors, DAY, Fault, HOUR, MINUTE, Nats, Origin, Settings, setting::Setting,
    units::format_duration, values::is_key_char,
};

/// What the settings are for; only `Serve` has settings that must be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Talks to the provider and the bucket.
    Serve,
    /// Works on this host alone: keys, migrate, backup, config show.
    Tool,
}

/// Shortest interval of a repeated action. Below it a mistyped unit becomes a storm.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// Longest duration that means anything here; it keeps sums of instants far from overflow.
const MAX_DURATION: Duration = Duration::from_secs(3_650 * 86_400);

/// S3: at most this many parts in one upload.
const MAX_PARTS: u64 = 10_000;

impl Settings {
    /// Checks settings that may have been built in code, and that everything `purpose` needs is there.
    ///
    /// # Errors
    /// All faults at once.
    pub fn check(&self, purpose: Purpose) -> Result<(), ConfigErrors> {
        let mut faults = self.contradictions(&BTreeSet::new());
        if purpose == Purpose::Serve {
            faults.extend(self.missing());
        }
        if faults.is_empty() {
            Ok(())
        } else {
            Err(ConfigErrors(faults))
        }
    }

    fn missing(&self) -> impl Iterator<Item = Fault> {
        let required = [
            ("server.public_url", self.server.public_url.is_none()),
            ("runware.api_key", self.runware.api_key.is_none()),
            ("s3.bucket", self.s3.bucket.is_none()),
        ];
        required
            .into_iter()
            .filter(|(_, missing)| *missing)
            .map(|(key, _)| missing_key(key))
    }

    /// Faults of values that are fine by themselves. Rules about a key in `skip` are left out: its value was
    /// not read, and the default in its place would only add noise.
    pub(super) fn contradictions(&self, skip: &BTreeSet<String>) -> Vec<Fault> {
        let mut rules = Rules {
            settings: self,
            skip,
            faults: Vec::new(),
        };
        rules.server_and_provider();
        rules.bucket();
        rules.archive();
        rules.times();
        rules.limits_and_log();
        rules.nats();
        rules.not_supported_yet();
        rules.faults
    }
}

fn missing_key(key: &str) -> Fault {
    let (section, name) = key.split_once('.').expect("every key has a section");
    let mut allowed = format!(
        "give {name} in [{section}] of the settings file or CATCHMENT_{}",
        env_form(section, name)
    );
    if key == "runware.api_key" {
        allowed.push_str(", its _file form, or RUNWARE_API_KEY");
    }
    Fault {
        origin: Origin::Default,
        key: key.to_owned(),
        problem: "is required to serve".to_owned(),
        allowed: Some(allowed),
    }
}

fn env_form(section: &str, name: &str) -> String {
    format!("{section}__{name}").to_ascii_uppercase()
}

struct Rules<'a> {
    settings: &'a Settings,
    skip: &'a BTreeSet<String>,
    faults: Vec<Fault>,
}

impl Rules<'_> {
    /// Demands that `holds`, else blames the first of `keys` that a source names: that is the line to look at.
    fn demand(
        &mut self,
        keys: &[&'static str],
        holds: bool,
        problem: impl Display,
        allowed: impl Into<String>,
    ) {
        if holds || keys.iter().any(|key| self.skip.contains(*key)) {
            return;
        }
        let origins = &self.settings.origins;
        let key = keys
            .iter()
            .find(|key| origins.contains_key(*key))
            .unwrap_or(&keys[0]);
        let origin = origins.get(key).cloned().unwrap_or_default();
        let (key, problem) = ((*key).to_owned(), problem.to_string());
        self.faults.push(Fault {
            origin,
            key,
            problem,
            allowed: Some(allowed.into()),
        });
    }

    fn within<T: Setting + PartialOrd>(&mut self, key: &'static str, value: &T, least: T, most: T) {
        let text = |value: &T| {
            value
                .shown()
                .map_or_else(String::new, |shown| shown.to_string().replace('"', ""))
        };
        let allowed = format!("from {} to {}", text(&least), text(&most));
        self.demand(
            &[key],
            (&least..=&most).contains(&value),
            format!("{} is out of range", text(value)),
            allowed,
        );
    }

    fn server_and_provider(&mut self) {
        let Settings { server, runware, .. } = self.settings;
        self.within(
            "server.max_body",
            &server.max_body,
            ByteSize::kib(1),
            ByteSize::gib(1),
        );
        // Runware, image and video reference: the smallest ttl is 60 s.
        self.within("runware.min_ttl", &runware.min_ttl, MINUTE, MAX_DURATION);
        self.within("runware.default_ttl", &runware.default_ttl, MINUTE, MAX_DURATION);
        self.within("runware.max_in_flight", &runware.max_in_flight, 1, 256);
        self.within("runware.max_per_second", &runware.max_per_second, 1, 10_000);
        // Beyond a day nobody can say whether the provider still recognises the taskUUID.
        self.within(
            "runware.resend_window",
            &runware.resend_window,
            Duration::ZERO,
            DAY,
        );
        self.within("runware.max_hold", &runware.max_hold, MIN_INTERVAL, MAX_DURATION);
    }

    fn bucket(&mut self) {
        let s3 = &self.settings.s3;
        let bucket = s3.bucket.as_deref().unwrap_or("bucket");
        let bucket_is_name = bucket.starts_with("arn:") || !bucket.contains(['/', ':', ' ', '\t', '\n']);
        self.demand(
            &["s3.bucket"],
            bucket_is_name,
            format!("{bucket:?} is not a bucket's name"),
            "the bare name, or an access point's ARN",
        );
        let prefix_fits = s3.prefix.len() <= 256 && s3.prefix.chars().all(is_key_char);
        let prefix_plain =
            !s3.prefix.starts_with('/') && !s3.prefix.contains("..") && !s3.prefix.contains("//");
        self.demand(
            &["s3.prefix"],
            prefix_fits && prefix_plain,
            format!("{:?} cannot start a key", s3.prefix),
            "letters, digits and / _ . = -, no leading /, no .. or //, at most 256 bytes",
        );
        self.demand(
            &["s3.prefix", "archive.key_template"],
            s3.prefix.is_empty() || self.settings.archive.key_template.uses("prefix"),
            "s3.prefix has no effect: archive.key_template lacks {prefix}",
            "add {prefix} to the template or remove the prefix",
        );
        // Amazon S3: ten tags, names of 128 and values of 256 characters.
        let tags_fit = s3.tags.len() <= 10
            && s3
                .tags
                .iter()
                .all(|(name, value)| name.len() <= 128 && value.len() <= 256);
        self.demand(
            &["s3.tags"],
            tags_fit,
            "S3 would refuse them",
            "ten tags, names of 128 and values of 256 bytes",
        );
    }

    fn archive(&mut self) {
        let archive = &self.settings.archive;
        self.within("archive.concurrency", &archive.concurrency, 1, 512);
        self.within(
            "archive.unsized_concurrency",
            &archive.unsized_concurrency,
            1,
            512,
        );
        // S3's smallest part is 5 MiB; one part is held in memory, so the upper end is ours.
        self.within(
            "archive.part_size",
            &archive.part_size,
            ByteSize::mib(5),
            ByteSize::gib(1),
        );
        // A source that names its length is one PutObject, and that ends at 5 GiB.
        self.within(
            "archive.max_object_size",
            &archive.max_object_size,
            ByteSize::kib(1),
            ByteSize::gib(5),
        );
        self.demand(
            &["archive.part_size", "archive.max_object_size"],
            archive.part_size.bytes().saturating_mul(MAX_PARTS) >= archive.max_object_size.bytes(),
            format!("{MAX_PARTS} parts do not hold archive.max_object_size"),
            "larger parts",
        );
        self.demand(
            &["archive.allowed_hosts"],
            !archive.allowed_hosts.is_empty(),
            "is empty: nothing could be archived",
            "at least one host",
        );
        let share = archive.at_risk_after;
        self.demand(
            &["archive.at_risk_after"],
            share > 0.0 && share < 1.0,
            format!("{share} is out of range"),
            "above 0, below 1",
        );
    }

    fn times(&mut self) {
        let Settings {
            retry,
            callback,
            poll,
            events,
            tasks,
            ..
        } = self.settings;
        self.within("retry.max_interval", &retry.max_interval, MIN_INTERVAL, HOUR);
        self.demand(
            &["callback.keys"],
            !has_duplicate_key(self.settings),
            "names one key twice",
            "each key once",
        );
        self.within("callback.trust_after", &callback.trust_after, Duration::ZERO, DAY);
        self.within("poll.first_after", &poll.first_after, MIN_INTERVAL, DAY);
        self.within("poll.max_interval", &poll.max_interval, MIN_INTERVAL, DAY);
        self.within("poll.deadline", &poll.deadline, MIN_INTERVAL, MAX_DURATION);
        // No rule among these three: a task is asked about once more before its deadline closes it, and each may be
        // set alone against the others' defaults.
        self.within("events.timeout", &events.timeout, MIN_INTERVAL, 5 * MINUTE);
        self.within("events.retention", &events.retention, MIN_INTERVAL, MAX_DURATION);
        self.schedule();
        self.within(
            "tasks.keep_request",
            &tasks.keep_request,
            Duration::ZERO,
            MAX_DURATION,
        );
        if let Some(retention) = &tasks.retention {
            self.within("tasks.retention", retention, MIN_INTERVAL, MAX_DURATION);
        }
    }

    fn schedule(&mut self) {
        let events = &self.settings.events;
        let tries = events.schedule.len();
        self.demand(
            &["events.schedule"],
            (1..=50).contains(&tries),
            format!("names {tries} tries"),
            "1 to 50 waits",
        );
        let longest = events.schedule.iter().max().copied().unwrap_or_default();
        self.demand(
            &["events.schedule"],
            longest <= 7 * DAY,
            "has a wait above 7d",
            "waits of at most 7d",
        );
        // Each wait may be a fifth longer by jitter.
        let total = events
            .schedule
            .iter()
            .fold(Duration::ZERO, |sum, wait| sum.saturating_add(*wait));
        self.demand(
            &["events.retention", "events.schedule"],
            events.retention >= total.saturating_add(total / 5),
            "events.retention ends before the last delivery try, so events would vanish undelivered",
            format!("at least {}", format_duration(total.saturating_add(total / 5))),
        );
    }

    fn limits_and_log(&mut self) {
        let Settings { limits, log, .. } = self.settings;
        self.within("limits.max_connections", &limits.max_connections, 16, 100_000);
        self.within(
            "limits.requests_per_second",
            &limits.requests_per_second,
            1,
            100_000,
        );
        self.within("limits.burst", &limits.burst, 1, 100_000);
        self.within(
            "limits.concurrent_requests",
            &limits.concurrent_requests,
            1,
            100_000,
        );
        self.within("limits.event_streams", &limits.event_streams, 1, 100_000);
        let fault = EnvFilter::builder().parse(&log.level).err();
        let problem = fault
            .as_ref()
            .map_or_else(String::new, |fault| format!("{:?}: {fault}", log.level));
        self.demand(
            &["log.level"],
            fault.is_none(),
            problem,
            "directives such as info or info,catchment=debug",
        );
    }

    fn nats(&mut self) {
        let Nats { url, stream } = &self.settings.nats;
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        self.demand(
            &["nats.stream"],
            (1..=64).contains(&stream.len()) && stream.bytes().all(plain),
            format!("{stream:?} cannot name a stream"),
            "1 to 64 letters, digits, - and _",
        );
        self.demand(
            &["nats.url"],
            url.is_none() || cfg!(feature = "nats"),
            "this program was built without NATS",
            "a build with the feature `nats`, or leave it out",
        );
    }

    /// Settings whose feature does not exist yet: to accept them would promise what nobody does.
    fn not_supported_yet(&mut self) {
        let Settings { archive, .. } = self.settings;
        let later = [("archive.mode", archive.mode == ArchiveMode::Copy, "only copy")];
        for (key, at_default, allowed) in later {
            self.demand(&[key], at_default, "is not supported yet", allowed);
        }
    }
}

fn has_duplicate_key(settings: &Settings) -> bool {
    let distinct: BTreeSet<_> = settings.callback.keys.iter().map(|key| key.expose()).collect();
    distinct.len() < settings.callback.keys.len()
}
