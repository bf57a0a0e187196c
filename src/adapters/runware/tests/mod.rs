mod any_message;
mod archive;
mod client;
mod reports;
mod submissions;

use crate::domain::ids::TaskId;
use crate::domain::report::{Item, Report};
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

/// A report in short: its items, then `?` for doubt.
pub fn told(report: &Report) -> String {
    let item = |item: &Item| match item {
        Item::Running => "running".to_owned(),
        Item::Linkless => "linkless".to_owned(),
        Item::Success(s) => {
            let id = if s.result.as_str() == VIDEO {
                "$video"
            } else {
                s.result.as_str()
            };
            let link = if s.source.0 == LINK { "" } else { " other link" };
            let cost = s.cost.map(|c| format!(" {c}$")).unwrap_or_default();
            let nsfw = s.nsfw.map(|n| format!(" nsfw={n}")).unwrap_or_default();
            format!("success {id}{link}{cost}{nsfw}")
        }
        Item::Failed(f) => {
            let policy = if f.content_policy { " policy" } else { "" };
            format!("failed {}: {}{policy}", f.code, f.message)
        }
    };
    let mut words: Vec<String> = report.items.iter().map(item).collect();
    words.extend(report.doubt.then(|| "?".to_owned()));
    words.join(" | ")
}
