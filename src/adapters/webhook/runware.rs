//! The provider's own shape, as its callbacks have it (Runware webhooks page): a finished result under `data` with a
//! link to the archived file, a lost one under `errors`. For clients that read such callbacks already.
//!
//! The link is a presigned one into the object store, made anew for each try. It needs no API key, which a receiver of
//! the provider's callbacks does not have; and it lives a day, so that a receiver which queues its work over a night
//! still reads the file, while a call that leaks into a log is soon worth nothing. The file itself stays, and
//! `GET /v1/assets/{taskUUID}/{resultId}/content` gives another link at any time.

use super::bodies::{Body, json};
use crate::domain::delivery::{NO_CREDENTIALS, STORAGE_UNAVAILABLE, UNSENDABLE};
use crate::domain::event::{Event, EventData, EventKind};
use crate::domain::task_webhook::has_provider_shape;
use crate::ports::links::{LinkTo, Links};
use crate::ports::task_webhooks::{TaskBrief, TaskWebhooks};
use serde_json::{Map, Value, json as object};
use std::sync::Arc;
use std::time::Duration;

/// How long the link in a call can be read.
const LINK_LIFE: Duration = Duration::from_secs(24 * 3600);

/// What the shape needs beside the event.
pub struct ProviderShape {
    pub tasks: Arc<dyn TaskWebhooks>,
    pub links: Arc<dyn Links>,
}

impl ProviderShape {
    pub async fn body(&self, event: &Event) -> Result<Body, &'static str> {
        if !has_provider_shape(event.kind) {
            return Err("unsupported_format"); // such events become no deliveries in this format
        }
        let task = event.task.ok_or(UNSENDABLE)?;
        let brief = self.tasks.brief(task).await.map_err(|_| STORAGE_UNAVAILABLE)?;
        let brief = brief.unwrap_or_default();
        let body = match event.kind {
            EventKind::AssetArchived => {
                let link = self.link(&event.data).await?;
                object!({ "data": [success(&event.data, &brief, &link)] })
            }
            EventKind::AssetExpired | EventKind::AssetFailed => {
                object!({ "errors": [lost(&event.data, &brief)] })
            }
            _ => object!({ "errors": failed(&event.data, &brief) }),
        };
        json("application/json", &body)
    }

    async fn link(&self, data: &EventData) -> Result<String, &'static str> {
        let (Some(bucket), Some(key)) = (&data.bucket, &data.key) else {
            return Err(UNSENDABLE);
        };
        let to = LinkTo {
            bucket,
            key,
            valid_for: LINK_LIFE,
            save_as: None,
        };
        let link = self.links.link(to).await.map_err(|_| NO_CREDENTIALS)?;
        Ok(link.into())
    }
}

fn success(data: &EventData, brief: &TaskBrief, link: &str) -> Map<String, Value> {
    let noun = noun(data, brief);
    let mut item = identity(data, brief);
    item.insert("status".to_owned(), object!("success"));
    item.insert(format!("{noun}URL"), object!(link));
    if let Some(cost) = data.cost {
        item.insert("cost".to_owned(), object!(cost));
    }
    if data.nsfw == Some(true) {
        item.insert("NSFWContent".to_owned(), object!(true));
    }
    item
}

/// A result that was made and could not be archived: our own reason is the code.
fn lost(data: &EventData, brief: &TaskBrief) -> Map<String, Value> {
    let code = data.reason.clone().unwrap_or_else(|| "failed".to_owned());
    error(data, brief, &code, "The result could not be archived.")
}

/// A task with results that never came: what the provider said of each, or our own reason when it said nothing.
fn failed(data: &EventData, brief: &TaskBrief) -> Vec<Map<String, Value>> {
    if !brief.failures.is_empty() {
        let told = brief.failures.iter();
        return told.map(|f| error(data, brief, &f.code, &f.message)).collect();
    }
    let code = data.provider_code.as_ref().or(data.reason.as_ref());
    let code = code.cloned().unwrap_or_else(|| "failed".to_owned());
    vec![error(data, brief, &code, "The task ended without this result.")]
}

fn error(data: &EventData, brief: &TaskBrief, code: &str, message: &str) -> Map<String, Value> {
    let mut item = identity(data, brief);
    item.insert("status".to_owned(), object!("error"));
    item.insert("code".to_owned(), object!(code));
    item.insert("message".to_owned(), object!(message));
    item
}

/// Which task, and which of its results, by the name its kind of media has. What we made up ourselves for a result
/// without an id stays ours.
fn identity(data: &EventData, brief: &TaskBrief) -> Map<String, Value> {
    let mut item = Map::new();
    item.insert("taskType".to_owned(), object!(task_type(data, brief)));
    item.insert("taskUUID".to_owned(), object!(data.task_uuid));
    let result = data.result_id.as_deref().unwrap_or_default();
    let index = result.strip_prefix('i').and_then(|n| n.parse::<u64>().ok());
    if let Some(index) = index {
        item.insert("resultIndex".to_owned(), object!(index));
    } else if !result.is_empty() && !result.starts_with("u-") {
        item.insert(format!("{}UUID", noun(data, brief)), object!(result));
    }
    item
}

const MEDIA: [&str; 3] = ["video", "image", "audio"];

/// What the provider calls the medium: by what the file is, else by the task's type.
fn noun(data: &EventData, brief: &TaskBrief) -> &'static str {
    let content_type = data.content_type.as_deref().unwrap_or_default();
    let task_type = brief.task_type.as_deref().unwrap_or_default();
    let by = |text: &str| MEDIA.into_iter().find(|noun| text.starts_with(noun));
    by(content_type).or_else(|| by(task_type)).unwrap_or("media")
}

/// Of an adopted task nobody told us; the medium then names the ordinary one.
fn task_type(data: &EventData, brief: &TaskBrief) -> String {
    let told = brief.task_type.clone();
    told.unwrap_or_else(|| format!("{}Inference", noun(data, brief).replace("media", "video")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::task::Failure;

    fn data(result: &str, content_type: Option<&str>) -> EventData {
        EventData {
            task_uuid: Some("t".to_owned()),
            result_id: Some(result.to_owned()),
            content_type: content_type.map(str::to_owned),
            cost: Some(1.5),
            ..EventData::default()
        }
    }

    fn brief(task_type: Option<&str>) -> TaskBrief {
        TaskBrief {
            task_type: task_type.map(str::to_owned),
            failures: vec![],
        }
    }

    #[test]
    fn each_medium_is_named_as_the_provider_names_it() {
        let told = |result, content_type, task_type| {
            let item = success(&data(result, content_type), &brief(task_type), "L");
            Value::Object(item)
        };
        assert_eq!(
            told("r", Some("video/mp4"), Some("videoInference")),
            object!({"taskType": "videoInference", "taskUUID": "t", "status": "success", "videoUUID": "r",
                "videoURL": "L", "cost": 1.5})
        );
        assert_eq!(
            told("r", Some("image/png"), Some("imageInference"))["imageURL"],
            "L"
        );
        assert_eq!(told("r", Some("audio/mpeg"), None)["taskType"], "audioInference");
        let unknown = told("i2", Some("application/octet-stream"), Some("3dInference"));
        assert_eq!(
            (&unknown["resultIndex"], &unknown["mediaURL"]),
            (&object!(2), &object!("L"))
        );
        assert!(unknown.get("mediaUUID").is_none());
        assert!(told("u-00", Some("video/mp4"), None).get("videoUUID").is_none());
    }

    #[test]
    fn what_failed_is_told_in_the_providers_words_or_else_in_ours() {
        let mut about = EventData {
            reason: Some("no_outcome".to_owned()),
            ..data("", None)
        };
        about.result_id = None;
        let ours = failed(&about, &brief(Some("videoInference")));
        assert_eq!((ours.len(), &ours[0]["code"]), (1, &object!("no_outcome")));
        let told = TaskBrief {
            failures: vec![Failure {
                code: "timeoutProvider".to_owned(),
                message: "Too slow.".to_owned(),
                content_policy: false,
            }],
            ..brief(Some("videoInference"))
        };
        let theirs = Value::Object(failed(&about, &told).remove(0));
        assert_eq!(
            theirs,
            object!({"taskType": "videoInference", "taskUUID": "t", "status": "error", "code": "timeoutProvider",
                "message": "Too slow."})
        );
        about.result_id = Some("r".to_owned());
        about.reason = Some("source_gone".to_owned());
        let lost = lost(&about, &brief(Some("videoInference")));
        assert_eq!(
            (&lost["code"], &lost["videoUUID"]),
            (&object!("source_gone"), &object!("r"))
        );
    }
}
