//! The one list of settings: key and field, for reading, checking and showing alike.

use super::{Settings, setting::Setting};

/// Visits every setting exactly once.
pub(super) trait Visitor {
    fn setting<T: Setting>(&mut self, key: &'static str, value: &mut T);
}

impl Settings {
    /// Every key and its field, in the order in which they are documented and shown.
    pub(super) fn visit(&mut self, v: &mut impl Visitor) {
        v.setting("server.listen", &mut self.server.listen);
        v.setting("server.callback_listen", &mut self.server.callback_listen);
        v.setting("server.admin_listen", &mut self.server.admin_listen);
        v.setting("server.public_url", &mut self.server.public_url);
        v.setting("server.max_body", &mut self.server.max_body);
        v.setting("data.dir", &mut self.data.dir);
        v.setting("store.url", &mut self.store.url);
        v.setting("runware.base_url", &mut self.runware.base_url);
        v.setting("runware.api_key", &mut self.runware.api_key);
        v.setting("runware.default_ttl", &mut self.runware.default_ttl);
        v.setting("runware.min_ttl", &mut self.runware.min_ttl);
        v.setting("runware.default_prompt", &mut self.runware.default_prompt);
        v.setting("runware.max_in_flight", &mut self.runware.max_in_flight);
        v.setting("runware.max_per_second", &mut self.runware.max_per_second);
        v.setting("runware.resend_window", &mut self.runware.resend_window);
        v.setting("runware.max_hold", &mut self.runware.max_hold);
        v.setting("s3.bucket", &mut self.s3.bucket);
        v.setting("s3.region", &mut self.s3.region);
        v.setting("s3.endpoint", &mut self.s3.endpoint);
        v.setting("s3.prefix", &mut self.s3.prefix);
        v.setting("s3.force_path_style", &mut self.s3.force_path_style);
        v.setting("s3.checksum", &mut self.s3.checksum);
        v.setting("s3.create_only", &mut self.s3.create_only);
        v.setting("s3.kms_key", &mut self.s3.kms_key);
        v.setting("s3.storage_class", &mut self.s3.storage_class);
        v.setting("s3.tags", &mut self.s3.tags);
        v.setting("s3.journal", &mut self.s3.journal);
        v.setting("archive.mode", &mut self.archive.mode);
        v.setting("archive.key_template", &mut self.archive.key_template);
        v.setting("archive.concurrency", &mut self.archive.concurrency);
        v.setting(
            "archive.unsized_concurrency",
            &mut self.archive.unsized_concurrency,
        );
        v.setting("archive.part_size", &mut self.archive.part_size);
        v.setting("archive.max_object_size", &mut self.archive.max_object_size);
        v.setting("archive.allowed_hosts", &mut self.archive.allowed_hosts);
        v.setting("archive.at_risk_after", &mut self.archive.at_risk_after);
        v.setting("retry.max_interval", &mut self.retry.max_interval);
        v.setting("callback.keys", &mut self.callback.keys);
        v.setting("callback.trust_after", &mut self.callback.trust_after);
        v.setting("poll.first_after", &mut self.poll.first_after);
        v.setting("poll.max_interval", &mut self.poll.max_interval);
        v.setting("poll.deadline", &mut self.poll.deadline);
        v.setting("events.schedule", &mut self.events.schedule);
        v.setting("events.timeout", &mut self.events.timeout);
        v.setting("events.retention", &mut self.events.retention);
        v.setting("tasks.keep_request", &mut self.tasks.keep_request);
        v.setting("tasks.retention", &mut self.tasks.retention);
        v.setting("limits.max_connections", &mut self.limits.max_connections);
        v.setting("limits.requests_per_second", &mut self.limits.requests_per_second);
        v.setting("limits.burst", &mut self.limits.burst);
        v.setting("limits.concurrent_requests", &mut self.limits.concurrent_requests);
        v.setting("limits.event_streams", &mut self.limits.event_streams);
        v.setting("nats.url", &mut self.nats.url);
        v.setting("nats.stream", &mut self.nats.stream);
        v.setting("net.allow_private", &mut self.net.allow_private);
        v.setting("log.format", &mut self.log.format);
        v.setting("log.level", &mut self.log.level);
    }
}
