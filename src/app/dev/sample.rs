//! The tasks that `dev` submits: ordinary ones, some with several results, in each format.

use crate::domain::delivery::Secret;
use crate::domain::event::EventKind;
use serde_json::{Value, json};

pub fn task(n: u32) -> Value {
    let format = ["MP4", "MP4", "MP4", "MOV", "WEBM"][n as usize % 5];
    let results = if n % 4 == 3 { 1 + n / 4 % 4 } else { 1 };
    json!({
        "taskType": "videoInference",
        "model": if n.is_multiple_of(3) { "klingai:avatar@2.0-standard" } else { "klingai:avatar@2.0-pro" },
        "inputs": { "image": "https://cdn.example.com/face.png", "audio": "https://cdn.example.com/voice.mp3" },
        "positivePrompt": format!("A calm presenter, take {n}"),
        "outputFormat": format,
        "numberResults": results,
        "catchment": { "labels": { "sample": n.to_string() } }
    })
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
