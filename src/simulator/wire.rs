//! What goes over the wire, written from Runware's pages and from what its clients report; nobody else's types.

use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// One entry of `errors`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorEntry {
    pub code: String,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_values: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documentation: Option<&'static str>,
    #[serde(rename = "taskUUID", skip_serializing_if = "Option::is_none")]
    pub task_uuid: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_type: Option<String>,
}

impl ErrorEntry {
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            ..Self::default()
        }
    }

    pub fn parameter(mut self, parameter: impl Into<String>, kind: &'static str) -> Self {
        self.parameter = Some(parameter.into());
        self.kind = Some(kind);
        self.documentation = Some("https://runware.ai/docs/platform/errors");
        self
    }

    pub fn about(mut self, task_uuid: Option<Uuid>, task_type: Option<&str>) -> Self {
        self.task_uuid = task_uuid;
        self.task_type = task_type.map(str::to_owned);
        self
    }

    /// Runware's errors page: a missing or wrong key names no task.
    pub fn invalid_key() -> Self {
        Self::new("invalidApiKey", "Invalid API key. Create one and try again.")
            .parameter("apiKey", "string")
            .about(None, Some("authentication"))
    }

    pub fn conflict(task_uuid: Uuid, task_type: &str) -> Self {
        Self::new("conflictTaskUUID", "A task with this taskUUID already exists.")
            .parameter("taskUUID", "string")
            .about(Some(task_uuid), Some(task_type))
    }
}

/// An answer of the API. `errors` is left out when empty: current clients fail on an empty list, too.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    pub data: Vec<Value>,
    pub errors: Vec<ErrorEntry>,
}

impl Answer {
    pub fn refusal(entry: ErrorEntry) -> Self {
        Self {
            data: Vec::new(),
            errors: vec![entry],
        }
    }

    pub fn add(&mut self, other: Answer) {
        self.data.extend(other.data);
        self.errors.extend(other.errors);
    }

    /// `data` unless there are only errors; `errors` if there are any, or an empty list if asked for.
    pub fn body(&self, empty_errors: bool) -> Value {
        let mut body = Map::new();
        if !self.data.is_empty() || self.errors.is_empty() {
            body.insert("data".to_owned(), json!(self.data));
        }
        if !self.errors.is_empty() || empty_errors {
            body.insert("errors".to_owned(), json!(self.errors));
        }
        Value::Object(body)
    }
}

/// The kinds of task that produce files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Video,
    Image,
    Audio,
    /// What edits a medium answers with `mediaUUID` and `mediaURL` (SDK sources).
    Media,
}

impl Kind {
    pub fn of(task_type: &str) -> Option<Self> {
        match task_type {
            "videoInference" => Some(Self::Video),
            "imageInference" => Some(Self::Image),
            "audioInference" => Some(Self::Audio),
            "upscale" => Some(Self::Media),
            _ => None,
        }
    }

    pub fn task_type(self) -> &'static str {
        match self {
            Self::Video => "videoInference",
            Self::Image => "imageInference",
            Self::Audio => "audioInference",
            Self::Media => "upscale",
        }
    }

    /// Prefix of the members `…UUID` and `…URL` of a result.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Image => "image",
            Self::Audio => "audio",
            Self::Media => "media",
        }
    }

    /// The part of the CDN's path before the file: `/video/os/<shard>/ws/5/vi/`.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Video => "vi",
            Self::Image => "ii",
            Self::Audio => "ai",
            Self::Media => "mi",
        }
    }

    /// Extension of the file for a requested `outputFormat`.
    pub fn extension(self, output_format: Option<&str>) -> &'static str {
        match (self, output_format) {
            (Self::Video | Self::Media, Some("WEBM")) => "webm",
            (Self::Video | Self::Media, Some("MOV")) => "mov",
            (Self::Video | Self::Media, _) => "mp4",
            (Self::Image, Some("PNG")) => "png",
            (Self::Image, Some("WEBP")) => "webp",
            (Self::Image, _) => "jpg",
            (Self::Audio, Some("WAV")) => "wav",
            (Self::Audio, _) => "mp3",
        }
    }
}
