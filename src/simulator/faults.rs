//! Every way in which the simulated provider can misbehave, by name, and the three profiles.

use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::setting::{Bytes, OneOf, Refusal, Setting, Shape, Span};

/// One switch as `--help` shows it.
pub struct Switch {
    pub name: &'static str,
    pub help: &'static str,
    pub hint: &'static str,
    /// What the bare name means.
    pub bare: &'static str,
}

macro_rules! switches {
    ($($name:literal $field:ident: $kind:ty = $default:expr, $help:literal;)+) => {
        /// Every switch; `Default` is a provider without a fault. A chance is 0 to 1 and rolled anew for each
        /// occasion (each request, callback, result, download), always alike for the same seed and taskUUID.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Faults {
            $(#[doc = $help] pub $field: $kind,)+
        }

        impl Default for Faults {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl Faults {
            /// Every switch there is, in the order of the help text.
            pub const SWITCHES: &'static [Switch] = &[$(Switch {
                name: $name,
                help: $help,
                hint: <$kind as Setting>::HINT,
                bare: <$kind as Setting>::BARE,
            },)+];

            /// Sets one switch by its name in kebab case; `None` is the bare name.
            ///
            /// # Errors
            /// A sentence: no such switch, or not a value for it.
            pub fn set(&mut self, name: &str, text: Option<&str>) -> Result<(), String> {
                match name {
                    $($name => {
                        let text = text.unwrap_or(<$kind as Setting>::BARE);
                        self.$field = Setting::read(text).map_err(|fault| format!("{}: {fault}", $name))?;
                    })+
                    _ => return Err(format!("there is no fault switch {name:?}")),
                }
                Ok(())
            }

            /// Each switch by its name in kebab case, with its value.
            pub fn values(&self) -> Vec<(&'static str, Value)> {
                vec![$(($name, self.$field.to_json()),)+]
            }
        }
    };
}

switches! {
    // Submissions.
    "at-most" at_most: u32 = 0,
        "Let chance spoil each task's submissions, its queries and each result's downloads only so often (0: no limit)";
    "refuse-submit" refuse_submit: f64 = 0.0, "Refuse a submission, nothing accepted";
    "refuse-submit-with" refuse_submit_with: OneOf<Refusal> = mix(&[Refusal::Status(429), Refusal::Status(503)]),
        "How, e.g. 402+429+retry-after+500+503+504+html";
    "cut-before-accept" cut_before_accept: f64 = 0.0, "Cut the connection, nothing accepted";
    "cut-after-accept" cut_after_accept: f64 = 0.0, "Accept, then cut the connection: the answer is lost";
    "truncate-answers" truncate_answers: f64 = 0.0, "Cut an answer of the API in the middle of its body";
    "slow-ack" slow_ack: f64 = 0.0, "Accept at once but answer late";
    "slow-ack-by" slow_ack_by: Duration = Duration::from_secs(2), "How late";
    "empty-ack" empty_ack: f64 = 0.0, "Acknowledge with empty data";
    "empty-errors" empty_errors: f64 = 0.0, "Put an empty errors list beside data";
    "require-prompt" require_prompt: bool = false, "Refuse avatar tasks without a positivePrompt";
    "archive-refusals" archive_refusals: bool = true, "Let a refused replay hide the outcome from getTaskDetails";

    // Rendering.
    "render" render: Option<Span> = None, "How long one result takes, e.g. 200ms or 1s..3s";
    "fail" fail: u32 = 0, "So many of the task's results fail";
    "fail-results" fail_results: f64 = 0.0, "A result fails";
    "fail-one-of-several" fail_one_of_several: f64 = 0.0, "One result fails, if the task has several";
    "fail-with" fail_with: OneOf<String> = OneOf(vec!["timeoutProvider".to_owned()]), "With which error codes";
    "one-error-for-all" one_error_for_all: f64 = 0.0, "If all results fail, report it once, not once per result";
    "stick" stick: u32 = 0, "So many of the task's results never end";
    "stick-results" stick_results: f64 = 0.0, "A result never ends";
    "nsfw" nsfw: f64 = 0.0, "A result carries NSFWContent: true";
    "result-index" result_index: f64 = 0.0, "A result carries its resultIndex";
    "omit-result-id" omit_result_id: f64 = 0.0, "A result carries no videoUUID";
    "zero-cost" zero_cost: f64 = 0.0, "A result reports a cost of 0";

    // Callbacks.
    "lose-callbacks" lose_callbacks: f64 = 0.0, "Never send a result's callback";
    "delay-callbacks" delay_callbacks: f64 = 0.0, "Send a result's callback late";
    "delay-callbacks-by" delay_callbacks_by: Duration = Duration::from_secs(2), "How late";
    "double-callbacks" double_callbacks: f64 = 0.0, "Send a result's callback more than once: a share of all, like the lost";
    "callback-copies" callback_copies: u32 = 2, "How often then";
    "reorder-callbacks" reorder_callbacks: f64 = 0.0,
        "Send a task's callbacks last one first; hold a single one for up to 2 s";
    "callback-before-ack" callback_before_ack: f64 = 0.0, "Finish one result and call back before answering";
    "callback-shapes" callback_shapes: OneOf<Shape> = mix(&[Shape::B, Shape::C]), "Body shapes, e.g. A+B+C+D+E";
    "cumulative-callbacks" cumulative_callbacks: f64 = 0.0, "Send all that getResponse would show instead of one item";
    "omit-status" omit_status: f64 = 0.0, "Leave status out of a success callback";
    "processing-callbacks" processing_callbacks: f64 = 0.0, "Send a callback with status processing first";
    "forge-failure" forge_failure: f64 = 0.0, "Someone with the callback URL claims a failure that is not true";
    "forge-success" forge_success: f64 = 0.0, "Someone with the callback URL claims a result that does not exist";
    "wrong-token" wrong_token: f64 = 0.0, "Also send the callback to a URL with one character altered";
    "callback-attempts" callback_attempts: u32 = 5, "Tries per callback until a 2xx";
    "callback-timeout" callback_timeout: Duration = Duration::from_secs(5), "Time for the 2xx";

    // Status queries.
    "refuse-query" refuse_query: f64 = 0.0, "Refuse a getResponse or getTaskDetails";
    "refuse-query-with" refuse_query_with: OneOf<Refusal> = mix(&[Refusal::Status(429), Refusal::Status(503)]),
        "How, as for refuse-submit-with";
    "cut-query" cut_query: f64 = 0.0, "Cut the connection instead of answering a query";
    "nest-errors" nest_errors: f64 = 0.0, "Report failures inside data, with a nested error";
    "unknown-as-error" unknown_as_error: bool = false, "Answer unknown UUIDs with taskFailedOrNotFound, not with empty data";
    "hide-queued" hide_queued: Option<Duration> = None, "A task looks unknown to queries for so long";
    "omit-link" omit_link: f64 = 0.0, "A query shows a success without its link";
    "running-word" running_word: OneOf<String> = OneOf(vec!["processing".to_owned()]),
        "The status of an unfinished result, e.g. processing+queued+pending";
    "query-type" query_type: bool = false, "Answer queries with taskType getResponse";

    // Links.
    "dead-link" dead_link: f64 = 0.0, "A result's link dies early";
    "dead-link-after" dead_link_after: Duration = Duration::ZERO, "So long after completion";
    "fresh-link" fresh_link: f64 = 0.0, "A query shows a fresh link for one whose `ttl` is over, or that was tried and found dead";
    "dead-status" dead_status: OneOf<Refusal> = mix(&[Refusal::Status(404)]), "The answer of a dead link, e.g. 403+404+410";
    "late-file" late_file: f64 = 0.0, "The link answers 404 for a while after completion";
    "late-file-by" late_file_by: Duration = Duration::from_secs(2), "For how long";

    // Downloads.
    "refuse-download" refuse_download: f64 = 0.0, "Refuse a download";
    "refuse-download-with" refuse_download_with: OneOf<Refusal> = mix(&[Refusal::Status(503)]), "How";
    "cut-download" cut_download: Option<Bytes> = None, "Cut every download after so many bytes";
    "cut-downloads" cut_downloads: f64 = 0.0, "Cut a download somewhere";
    "truncate-download" truncate_download: Option<Bytes> = None,
        "End every download properly after so many bytes, as if that were all";
    "truncate-downloads" truncate_downloads: f64 = 0.0, "End a download properly somewhere";
    "stall-download" stall_download: Option<Bytes> = None, "Pause every download after so many bytes";
    "stall-downloads" stall_downloads: f64 = 0.0, "Pause a download somewhere";
    "stall-for" stall_for: Duration = Duration::from_secs(60), "How long";
    "download-rate" download_rate: Option<Bytes> = None, "Bytes a second at most";
    "length-off" length_off: Option<i64> = None, "Content-Length is off by so many bytes, always";
    "wrong-lengths" wrong_lengths: f64 = 0.0, "Content-Length is too large or too small";
    "html-downloads" html_downloads: f64 = 0.0, "An HTML page with status 200";
    "garbage-downloads" garbage_downloads: f64 = 0.0, "Bytes of the right number that are no video";
    "redirect-downloads" redirect_downloads: f64 = 0.0, "A redirect to the same file elsewhere on the host";
    "wrong-range" wrong_range: f64 = 0.0, "A range answer that starts elsewhere than asked";
    "no-length" no_length: f64 = 0.0, "A result's file is sent without Content-Length";
    "no-range" no_range: f64 = 0.0, "Ranges of a result's file are ignored";
    "no-etag" no_etag: f64 = 0.0, "A result's file has no ETag";
    "changing-etag" changing_etag: f64 = 0.0, "The ETag differs with each download of a result";
    "clip" clip: Option<String> = None, "Serve this clip: moov-first, moov-last, fragmented, mov, webm";
    "video-size" video_size: Option<Bytes> = None, "Grow each file to so many bytes";

    // uploadEndpoint.
    "skip-upload" skip_upload: f64 = 0.0, "Nothing is put to the uploadEndpoint";
    "empty-upload" empty_upload: f64 = 0.0, "Zero bytes are put to the uploadEndpoint";
    "cut-upload" cut_upload: f64 = 0.0, "The upload breaks half way";
    "late-upload" late_upload: f64 = 0.0, "The upload starts only 2 s after the callback";
    "untyped-upload" untyped_upload: f64 = 0.0, "The upload names no Content-Type";
}

fn mix<T: Clone>(alternatives: &[T]) -> OneOf<T> {
    OneOf(alternatives.to_vec())
}

impl Faults {
    /// A provider that does what its documentation says.
    pub fn none() -> Self {
        Self::default()
    }

    /// An ordinary bad day: a few percent of each common fault, none of which delays a good client for long.
    pub fn mild() -> Self {
        Self {
            at_most: 2,
            refuse_submit: 0.05,
            refuse_submit_with: mix(&[Refusal::RetryAfter, Refusal::Status(503)]),
            cut_before_accept: 0.02,
            cut_after_accept: 0.02,
            fail_one_of_several: 0.02,
            lose_callbacks: 0.05,
            delay_callbacks: 0.05,
            delay_callbacks_by: Duration::from_secs(1),
            double_callbacks: 0.05,
            reorder_callbacks: 0.05,
            callback_before_ack: 0.05,
            callback_shapes: mix(&[Shape::A, Shape::B, Shape::C]),
            refuse_query: 0.03,
            late_file: 0.03,
            late_file_by: Duration::from_millis(500),
            refuse_download: 0.03,
            cut_downloads: 0.05,
            ..Self::default()
        }
    }

    /// Everything at once. `at_most` keeps it possible to finish.
    pub fn harsh() -> Self {
        use Refusal::{Html, RetryAfter, Status};
        let refusals = mix(&[
            Status(429),
            RetryAfter,
            Status(500),
            Html,
            Status(503),
            Status(504),
        ]);
        Self {
            at_most: 3,
            refuse_submit: 0.2,
            refuse_submit_with: refusals.clone(),
            cut_before_accept: 0.1,
            cut_after_accept: 0.15,
            truncate_answers: 0.05,
            slow_ack: 0.1,
            slow_ack_by: Duration::from_secs(1),
            empty_ack: 0.05,
            empty_errors: 0.1,
            fail_results: 0.1,
            fail_with: OneOf(
                [
                    "timeoutProvider",
                    "providerInternalError",
                    "contentPolicyViolation",
                ]
                .map(str::to_owned)
                .into(),
            ),
            one_error_for_all: 0.3,
            result_index: 0.5,
            nsfw: 0.05,
            ..Self::default()
        }
        .with_harsh_callbacks()
        .with_harsh_queries(refusals)
        .with_harsh_downloads()
    }

    fn with_harsh_callbacks(self) -> Self {
        Self {
            lose_callbacks: 0.3,
            delay_callbacks: 0.2,
            double_callbacks: 0.3,
            callback_copies: 3,
            reorder_callbacks: 0.5,
            callback_before_ack: 0.2,
            callback_shapes: mix(&[Shape::A, Shape::B, Shape::C, Shape::D, Shape::E]),
            cumulative_callbacks: 0.1,
            omit_status: 0.3,
            processing_callbacks: 0.2,
            forge_failure: 0.1,
            forge_success: 0.1,
            wrong_token: 0.1,
            ..self
        }
    }

    fn with_harsh_queries(self, refusals: OneOf<Refusal>) -> Self {
        Self {
            refuse_query: 0.2,
            refuse_query_with: refusals,
            cut_query: 0.05,
            nest_errors: 0.5,
            hide_queued: Some(Duration::from_millis(500)),
            omit_link: 0.05,
            running_word: OneOf(["processing", "queued", "pending"].map(str::to_owned).into()),
            ..self
        }
    }

    fn with_harsh_downloads(self) -> Self {
        Self {
            dead_link: 0.1,
            fresh_link: 0.8,
            dead_status: mix(&[Refusal::Status(403), Refusal::Status(404), Refusal::Status(410)]),
            late_file: 0.2,
            refuse_download: 0.1,
            refuse_download_with: mix(&[Refusal::Status(429), Refusal::Status(503), Refusal::Html]),
            cut_downloads: 0.15,
            truncate_downloads: 0.1,
            stall_downloads: 0.05,
            wrong_lengths: 0.1,
            html_downloads: 0.05,
            garbage_downloads: 0.03,
            wrong_range: 0.1,
            no_length: 0.1,
            no_range: 0.2,
            no_etag: 0.2,
            changing_etag: 0.1,
            ..self
        }
    }

    /// Reads a JSON object of switches in camelCase or kebab-case; `"profile"` names the base, else `none`.
    ///
    /// # Errors
    /// A sentence naming the member that is unknown or has no such value.
    pub fn from_json(document: &Value) -> Result<Self, String> {
        let members = document
            .as_object()
            .ok_or("expected an object of fault switches")?;
        let mut faults = match members.get("profile") {
            Some(name) => name.as_str().ok_or("profile: expected a name")?.parse()?,
            None => Self::none(),
        };
        for (name, value) in members.iter().filter(|(name, _)| *name != "profile") {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Null => "off".to_owned(),
                other => other.to_string(),
            };
            faults.set(&kebab_case(name), Some(&text))?;
        }
        Ok(faults)
    }
}

impl FromStr for Faults {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "none" => Ok(Self::none()),
            "mild" => Ok(Self::mild()),
            "harsh" => Ok(Self::harsh()),
            _ => Err(format!(
                "there is no fault profile {name:?}; there are none, mild and harsh"
            )),
        }
    }
}

impl Serialize for Faults {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let members = self
            .values()
            .into_iter()
            .map(|(name, value)| (camel_case(name), value));
        members.collect::<Map<String, Value>>().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Faults {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_json(&Value::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

fn kebab_case(name: &str) -> String {
    let mut kebab = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            kebab.push('-');
        }
        kebab.push(letter.to_ascii_lowercase());
    }
    kebab
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('-');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let (first, rest) = word.split_at(1);
        camel.push_str(&first.to_ascii_uppercase());
        camel.push_str(rest);
    }
    camel
}
