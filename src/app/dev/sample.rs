//! The tasks that `dev` submits: ordinary ones, some with several results, in each format.

use crate::domain::delivery::Secret;
use crate::domain::event::EventKind;
use crate::domain::ids::Digest;
use serde_json::{Value, json};

/// The `n`th task of a run, always the same.
pub fn task(run: &str, n: u32) -> Value {
    let format = ["MP4", "MP4", "MP4", "MOV", "WEBM"][n as usize % 5];
    let results = if n % 4 == 3 { 1 + n / 4 % 4 } else { 1 };
    json!({
        "taskType": "videoInference",
        "taskUUID": uuid(run, n),
        "model": if n.is_multiple_of(3) { "klingai:avatar@2.0-standard" } else { "klingai:avatar@2.0-pro" },
        "inputs": { "image": "https://cdn.example.com/face.png", "audio": "https://cdn.example.com/voice.mp3" },
        "positivePrompt": format!("A calm presenter, take {n}"),
        "outputFormat": format,
        "numberResults": results,
        "catchment": { "labels": { "sample": n.to_string() } }
    })
}

fn uuid(run: &str, n: u32) -> uuid::Uuid {
    let Digest(bytes) = Digest::of(format!("{run} {n}").as_bytes());
    let (half, _) = bytes.split_first_chunk().expect("32 bytes hold 16");
    uuid::Builder::from_random_bytes(*half).into_uuid()
}

/// New for each run.
pub fn endpoint_secret() -> Secret {
    let rng = crate::app::rng();
    let mut bytes = [0; 32];
    rng.fill(&mut bytes);
    Secret(bytes.to_vec())
}

/// Everything about tasks and assets.
pub fn event_types() -> Vec<&'static str> {
    EventKind::ALL
        .iter()
        .filter(|k| !k.is_operator())
        .map(|k| k.as_str())
        .collect()
}
