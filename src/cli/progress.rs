//! Progress of followed tasks, on stderr: a bar for each on a terminal, a line for each change elsewhere.

use super::output::{member, note, plain};
use crate::domain::task::TaskStatus;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;
use std::io::{self, IsTerminal as _};
use std::sync::Mutex;
use std::time::Duration;

pub enum Progress {
    Off,
    /// What was said last about each task.
    Lines(Vec<(String, Mutex<String>)>),
    Bars {
        screen: MultiProgress,
        bars: Vec<ProgressBar>,
    },
}

impl Progress {
    pub fn on_stderr(ids: &[String], quiet: bool) -> Self {
        if quiet {
            Self::Off
        } else if io::stderr().is_terminal() {
            Self::bars(ids)
        } else {
            Self::Lines(ids.iter().map(|id| (id.clone(), Mutex::default())).collect())
        }
    }

    fn bars(ids: &[String]) -> Self {
        let screen = MultiProgress::new();
        let style = ProgressStyle::with_template("{spinner} {prefix} [{bar:16}] {elapsed:>4} {msg}")
            .expect("a constant that a test draws")
            .progress_chars("=> ");
        let bars = ids.iter().map(|id| {
            let bar = screen.add(ProgressBar::new(MADE + 1).with_style(style.clone()));
            bar.set_prefix(plain(id));
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        let bars = bars.collect();
        Self::Bars { screen, bars }
    }

    pub fn show(&self, index: usize, task: &Value) {
        match self {
            Self::Off => {}
            Self::Lines(lines) => {
                let (id, last) = &lines[index];
                let text = describe(task);
                let mut last = last.lock().expect("nothing panics while it is held");
                if *last != text {
                    note(&format!("{id}  {text}"));
                    *last = text;
                }
            }
            Self::Bars { bars, .. } => {
                let (done, all) = steps(task);
                let bar = &bars[index];
                bar.set_length(all);
                bar.set_position(done);
                bar.set_message(plain(&describe(task)));
                if done == all {
                    bar.finish();
                }
            }
        }
    }

    /// Something that is not about one task.
    pub fn trouble(&self, text: &str) {
        match self {
            Self::Off => {}
            Self::Lines(_) => note(text),
            Self::Bars { screen, .. } => {
                // A screen that cannot be drawn on is no reason to stop.
                let _ = screen.println(plain(text));
            }
        }
    }

    /// Leaves the bars as they are.
    pub fn finish(&self) {
        if let Self::Bars { bars, .. } = self {
            bars.iter().for_each(ProgressBar::abandon);
        }
    }
}

/// Steps before the first result can be archived: submitting, submitted, made.
const MADE: u64 = 3;

/// How far a task is, and the whole way: each result is a step.
fn steps(task: &Value) -> (u64, u64) {
    let (archived, expected) = archived_of(task);
    let all = MADE + expected.max(1);
    let done = match TaskStatus::parse(&member(task, "status")) {
        None | Some(TaskStatus::Accepted) => 0,
        Some(TaskStatus::Submitting) => 1,
        Some(TaskStatus::Submitted) => 2,
        Some(TaskStatus::Archiving) => (MADE + archived).min(all - 1),
        Some(_) => all,
    };
    (done, all)
}

fn describe(task: &Value) -> String {
    let status = member(task, "status");
    let (archived, expected) = archived_of(task);
    let reason = member(task, "reason");
    match (status.as_str(), reason.as_str()) {
        ("archiving" | "completed" | "partial", _) => format!("{status}, {archived} of {expected} archived"),
        (_, "") => status,
        _ => format!("{status}: {reason}"),
    }
}

/// Results archived, and expected: what was asked for, or more if more came.
pub fn archived_of(task: &Value) -> (u64, u64) {
    let assets = task
        .get("assets")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let archived = assets
        .iter()
        .filter(|asset| member(asset, "status") == "archived")
        .count() as u64;
    let asked_for = task.get("numberResults").and_then(Value::as_u64).unwrap_or(0);
    (archived, asked_for.max(assets.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn task(status: &str, assets: &[&str]) -> Value {
        let assets: Vec<Value> = assets.iter().map(|status| json!({"status": status})).collect();
        json!({"status": status, "numberResults": 2, "assets": assets})
    }

    #[test]
    fn a_task_only_moves_forward_and_is_full_at_its_end() {
        let way = [
            task("accepted", &[]),
            task("submitting", &[]),
            task("submitted", &[]),
            task("archiving", &["pending"]),
            task("archiving", &["archived", "pending"]),
            task("completed", &["archived", "archived"]),
        ];
        let done: Vec<u64> = way.iter().map(|task| steps(task).0).collect();
        assert_eq!(done, [0, 1, 2, 3, 4, 5]);
        assert!(way.iter().all(|task| steps(task).1 == 5));
        assert_eq!(steps(&task("failed", &[])), (5, 5));
        // Archived, but not told to be complete yet.
        assert_eq!(steps(&task("archiving", &["archived", "archived"])), (4, 5));
    }

    #[test]
    fn what_is_said_counts_results_and_gives_the_reason() {
        assert_eq!(
            describe(&task("archiving", &["archived", "pending"])),
            "archiving, 1 of 2 archived"
        );
        let failed = json!({"status": "failed", "reason": "provider_error"});
        assert_eq!(describe(&failed), "failed: provider_error");
        assert_eq!(archived_of(&task("completed", &["archived"; 3])), (3, 3));
    }

    #[test]
    fn bars_can_be_drawn() {
        let progress = Progress::bars(&["a".to_owned()]);
        progress.show(0, &task("archiving", &["archived"]));
        progress.trouble("the service is away");
        let Progress::Bars { bars, .. } = &progress else {
            panic!("no bars")
        };
        assert_eq!((bars[0].position(), bars[0].length()), (4, Some(5)));
        progress.finish();
        assert!(bars[0].is_finished());
    }
}
