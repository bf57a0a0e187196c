//! `uploadEndpoint`: the raw bytes of a finished result, PUT once. A failure changes nothing else.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use rand::Rng;
use reqwest::Body;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};

use super::dice::hit;
use super::faults::Faults;
use super::media::Media;
use super::task::{Outcome, Task, Verdict};
use super::world::World;

const CHUNK_BYTES: usize = 64 * 1024;

/// Puts the file to the task's `uploadEndpoint`, if it has one. All results of a task go to the same URL.
pub async fn put(world: &World, task: &Arc<Task>, outcome: &Outcome, faults: &Faults) {
    let Some(url) = &task.upload else { return };
    let mut rng = world.dice.cast("upload", outcome.id, 0);
    if outcome.verdict != Verdict::Success || hit(&mut rng, faults.skip_upload) {
        return;
    }
    let size = if hit(&mut rng, faults.empty_upload) {
        0
    } else {
        outcome.media.size
    };
    let stop = if hit(&mut rng, faults.cut_upload) {
        rng.random_range(0..=size / 2)
    } else {
        size
    };
    let mut request = world.http.put(url).header(CONTENT_LENGTH, size);
    if !hit(&mut rng, faults.untyped_upload) {
        request = request.header(CONTENT_TYPE, outcome.media.clip.content_type);
    }
    let answer = request
        .body(file(task.clone(), outcome.index, size, stop))
        .send()
        .await;
    match answer {
        Ok(answer) if answer.status().is_success() => world.count(|stats| stats.uploads += 1),
        _ => world.count(|stats| stats.uploads_failed += 1),
    }
}

/// The file up to `stop`; where that is not its size, the body breaks there.
fn file(task: Arc<Task>, index: usize, size: u64, stop: u64) -> Body {
    if size == 0 {
        return Body::from(Bytes::new());
    }
    Body::wrap_stream(stream::unfold((task, 0), move |(task, at)| async move {
        let media: &Media = &task.results[index].media;
        if at >= stop {
            let broken = std::io::Error::other("the simulated upload breaks here");
            return (stop < size && at == stop).then_some((Err(broken), (task, u64::MAX)));
        }
        let chunk = media.read(at, CHUNK_BYTES.min((stop - at) as usize));
        let next = at + chunk.len() as u64;
        Some((Ok::<Bytes, std::io::Error>(chunk), (task, next)))
    }))
}
