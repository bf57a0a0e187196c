//! Settings in the words of the parts they are for.

use super::AppError;
use crate::adapters::s3::{Access, Checksum, CreateOnly, S3Options};
use crate::config::{self, Settings};
use crate::domain::file::Policy;
use crate::http::{self, ApiSettings, KeyLimits, Rate};
use crate::steps::retain::Keep;
use std::num::NonZeroU32;
use url::Url;

pub(super) fn api_settings(settings: &Settings) -> ApiSettings {
    ApiSettings {
        max_body: usize::try_from(settings.server.max_body.0).unwrap_or(usize::MAX),
        default_ttl: settings.runware.default_ttl,
        min_ttl: settings.runware.min_ttl,
        default_prompt: settings
            .runware
            .default_prompt
            .as_ref()
            .map(|p| p.as_str().to_owned()),
        key_limits: KeyLimits {
            concurrent_requests: settings.limits.concurrent_requests,
            event_streams: settings.limits.event_streams,
            rate: rate(settings),
        },
    }
}

fn rate(settings: &Settings) -> Rate {
    let at_least_one = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
    Rate {
        per_second: at_least_one(settings.limits.requests_per_second),
        burst: at_least_one(settings.limits.burst),
    }
}

pub(super) fn policy(settings: &Settings) -> Policy {
    Policy {
        poll_first_after: settings.poll.first_after,
        poll_max_interval: settings.poll.max_interval,
        poll_deadline: settings.poll.deadline,
        trust_after: settings.callback.trust_after,
        retry_max_interval: settings.retry.max_interval,
        resend_window: settings.runware.resend_window,
        max_hold: settings.runware.max_hold,
        at_risk_after: settings.archive.at_risk_after,
        default_ttl: settings.runware.default_ttl,
    }
}

pub(super) fn keep(settings: &Settings) -> Keep {
    Keep {
        documents: settings.tasks.keep_request,
        events: settings.events.retention,
        tasks: settings.tasks.retention,
    }
}

/// `server.public_url` with port 0 means: as bound (`dev`, tests).
pub(super) fn callback_base(settings: &Settings, http: &http::server::Running) -> String {
    let base = settings
        .server
        .public_url
        .as_ref()
        .map_or("", |u| u.as_str())
        .trim_end_matches('/');
    match base.strip_suffix(":0") {
        Some(host) => format!("{host}:{}/cb/v1/", http.callback.port()),
        None => format!("{base}/cb/v1/"),
    }
}

pub(super) fn s3_options(settings: &Settings, credentials: Access) -> S3Options {
    let s3 = &settings.s3;
    S3Options {
        bucket: s3.bucket.clone().unwrap_or_default(),
        region: s3.region.clone(),
        endpoint: s3.endpoint.as_ref().and_then(|u| Url::parse(u.as_str()).ok()),
        force_path_style: s3.force_path_style,
        credentials,
        checksum: match s3.checksum {
            config::Checksum::Sha256 => Checksum::Sha256,
            config::Checksum::Crc64Nvme => Checksum::Crc64Nvme,
            config::Checksum::None => Checksum::None,
        },
        create_only: match s3.create_only {
            config::CreateOnly::Native => CreateOnly::Native,
            config::CreateOnly::Head => CreateOnly::Head,
        },
        kms_key: s3.kms_key.clone(),
        storage_class: s3.storage_class.clone(),
        tags: s3.tags.clone(),
        part_size: usize::try_from(settings.archive.part_size.0).unwrap_or(usize::MAX),
        unsized_concurrency: settings.archive.unsized_concurrency as usize,
    }
}

pub(super) fn url_of(base: &config::BaseUrl) -> Result<Url, AppError> {
    Url::parse(base.as_str()).map_err(|e| AppError::failed(format!("{} is no URL", base.as_str()), e))
}
