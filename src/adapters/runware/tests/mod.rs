mod client;
mod reports;
mod submissions;

use crate::domain::ids::TaskId;
use uuid::Uuid;

/// The task every literal body here speaks of.
pub const OURS: &str = "11111111-2222-4333-8444-555555555555";
pub const OTHER: &str = "99999999-2222-4333-8444-555555555555";

pub fn ours() -> TaskId {
    TaskId(Uuid::parse_str(OURS).unwrap())
}

pub fn other() -> TaskId {
    TaskId(Uuid::parse_str(OTHER).unwrap())
}

/// `$ours`, `$other`, `$video` and `$link` spelt out.
pub fn body(template: &str) -> String {
    template
        .replace("$ours", OURS)
        .replace("$other", OTHER)
        .replace("$video", VIDEO)
        .replace("$link", LINK)
}

pub const VIDEO: &str = "aaaaaaaa-2222-4333-8444-555555555555";
pub const LINK: &str =
    "https://vm.runware.ai/video/os/a01d21/ws/5/vi/aaaaaaaa-2222-4333-8444-555555555555.mp4";
