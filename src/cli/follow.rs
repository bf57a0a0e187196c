//! Following tasks to their end.

use super::client::{Client, ClientError};
use super::exit::CliError;
use super::output::member;
use super::progress::Progress;
use crate::domain::task::TaskStatus;
use crate::ports::clock::Clock;
use futures_util::future::try_join_all;
use serde_json::Value;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Polls open at once: below what the service grants one key, so that other clients of the key are not shut out.
const MAX_POLLS: usize = 16;

/// How long one poll is held. It returns early only at the task's end, and progress is to be seen before.
const HOLD: Duration = Duration::from_secs(2);

/// The tasks as last seen, in the order asked for.
pub struct Followed {
    pub tasks: Vec<Option<Value>>,
}

impl Followed {
    /// How many satisfy `test`; one never seen is as good as null.
    pub fn count(&self, test: impl Fn(&Value) -> bool) -> usize {
        self.tasks
            .iter()
            .filter(|task| test(task.as_ref().unwrap_or(&Value::Null)))
            .count()
    }
}

/// Polls every task until all have ended or `limit` is over. A service that is away for a while is waited for.
///
/// # Errors
/// An answer that another try would not change, such as a revoked key.
pub async fn follow(
    client: &Client,
    clock: &dyn Clock,
    progress: &Progress,
    ids: &[String],
    limit: Duration,
) -> Result<Followed, CliError> {
    let watch = Watch {
        client,
        clock,
        progress,
        polls: Semaphore::new(MAX_POLLS),
        seen: ids.iter().map(|_| Mutex::new(None)).collect(),
    };
    let each = ids
        .iter()
        .enumerate()
        .map(|(index, id)| watch.until_ended(index, id));
    // Over time is no error here: what was seen so far is the answer.
    if let Ok(ended) = tokio::time::timeout(limit, try_join_all(each)).await {
        ended?;
    }
    let seen = watch.seen.into_iter();
    let tasks = seen.map(|task| task.into_inner().expect("nothing panics while it is held"));
    Ok(Followed {
        tasks: tasks.collect(),
    })
}

struct Watch<'a> {
    client: &'a Client,
    clock: &'a dyn Clock,
    progress: &'a Progress,
    polls: Semaphore,
    seen: Vec<Mutex<Option<Value>>>,
}

impl Watch<'_> {
    async fn until_ended(&self, index: usize, id: &str) -> Result<(), CliError> {
        let mut failures = 0;
        loop {
            match self.poll(id).await {
                Ok(task) => {
                    failures = 0;
                    let ended = is_terminal(&task);
                    self.progress.show(index, &task);
                    *self.seen[index].lock().expect("nothing panics while it is held") = Some(task);
                    if ended {
                        return Ok(());
                    }
                }
                Err(error) if error.is_temporary() => {
                    let pause = pause(failures, error.retry_after());
                    if failures == 0 {
                        self.progress
                            .trouble(&format!("{}; trying on", CliError::from(error).message));
                    }
                    failures += 1;
                    self.clock.sleep(pause).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn poll(&self, id: &str) -> Result<Value, ClientError> {
        let _turn = self.polls.acquire().await.expect("nobody closes it");
        let answer = self.client.get(&["v1", "tasks", id], &[], Some(HOLD)).await?;
        Ok(answer.body)
    }
}

/// The wait before the next try: 1 s, doubling up to 10 s, or as long as the service asks, at most a minute.
pub fn pause(failures: u32, asked: Option<Duration>) -> Duration {
    let own = Duration::from_secs(1 << failures.min(4)).min(Duration::from_secs(10));
    own.max(asked.unwrap_or_default().min(Duration::from_secs(60)))
}

pub fn is_terminal(task: &Value) -> bool {
    TaskStatus::parse(&member(task, "status")).is_some_and(TaskStatus::is_terminal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let seconds = |failures, asked| pause(failures, asked).as_secs();
        let own: Vec<u64> = (0..6).map(|n| seconds(n, None)).collect();
        assert_eq!(own, [1, 2, 4, 8, 10, 10]);
        assert_eq!(seconds(0, Some(Duration::from_secs(20))), 20);
        assert_eq!(seconds(u32::MAX, Some(Duration::MAX)), 60);
    }
}
