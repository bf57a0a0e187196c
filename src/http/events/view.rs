//! An event as it is told: the same in the log and in deliveries.

use super::openapi;
use crate::domain::event::{Event, EventData};
use crate::domain::time::Timestamp;
use crate::ports::store::EventPage;
use serde::Serialize;
use utoipa::ToSchema;

/// An event, the same in the log and in deliveries.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Event)]
pub struct EventView {
    /// `webhook-id` of deliveries; the same for ever.
    id: String,
    /// Increases strictly; gaps are possible.
    sequence: u64,
    /// Counts from 1 within the task, without gaps; absent from operator events, which belong to no task.
    #[serde(skip_serializing_if = "Option::is_none")]
    task_sequence: Option<u32>,
    #[serde(rename = "type")]
    kind: &'static str,
    #[schema(value_type = String, format = "date-time")]
    timestamp: Timestamp,
    #[schema(value_type = openapi::EventData)]
    data: EventData,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventList {
    #[schema(value_type = Vec<openapi::Event>)]
    data: Vec<EventView>,
    /// For the `after` parameter: also moves past events that a filter left out.
    next_after: u64,
    /// Nothing further was in the log when it was read.
    done: bool,
}

impl EventView {
    fn of(event: Event) -> Self {
        Self {
            id: event.id.to_string(),
            sequence: event.sequence,
            task_sequence: event.task.map(|_| event.task_sequence),
            kind: event.kind.as_str(),
            timestamp: event.at,
            data: event.data,
        }
    }
}

impl EventList {
    pub fn of(page: EventPage) -> Self {
        Self {
            data: page.events.into_iter().map(EventView::of).collect(),
            next_after: page.next_after,
            done: page.done,
        }
    }
}

/// A line of an export.
pub fn line(event: &Event, to: &mut Vec<u8>) {
    serde_json::to_writer(&mut *to, &event.envelope()).expect("strings and numbers serialize");
    to.push(b'\n');
}

/// A message of a live stream. JSON has no line breaks of its own, so one `data` line holds it.
pub fn message(event: &Event, to: &mut Vec<u8>) {
    let head = format!("id: {}\nevent: {}\ndata: ", event.sequence, event.kind.as_str());
    to.extend_from_slice(head.as_bytes());
    line(event, to);
    to.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::EventKind;
    use crate::domain::ids::{EventId, TaskId, Tenant};
    use serde_json::{Value, json};
    use uuid::Uuid;

    fn event(task: Option<TaskId>) -> Event {
        Event {
            sequence: 17,
            id: EventId::stored("evt_1".into()),
            kind: EventKind::AssetArchived,
            tenant: Tenant("hidden".into()),
            task,
            task_sequence: 4,
            at: Timestamp::from_millis(0),
            data: EventData {
                result_id: Some("r\n\u{2028}".into()),
                ..EventData::default()
            },
        }
    }

    #[test]
    fn an_event_reads_as_documented_and_alike_everywhere() {
        for task in [None, Some(TaskId(Uuid::nil()))] {
            let told = serde_json::to_value(EventView::of(event(task))).unwrap();
            let mut documented = json!({
                "id": "evt_1", "sequence": 17, "type": "asset.archived", "timestamp": "1970-01-01T00:00:00.000Z",
                "data": {"resultId": "r\n\u{2028}", "labels": {}},
            });
            if task.is_some() {
                documented["taskSequence"] = json!(4);
            }
            assert_eq!(told, documented);
            assert_eq!(told, serde_json::to_value(event(task).envelope()).unwrap());
        }
    }

    #[test]
    fn a_message_is_three_lines_and_an_empty_one() {
        let mut bytes = vec![];
        message(&event(None), &mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        let lines: Vec<&str> = text.split('\n').collect();
        assert_eq!(lines.len(), 5, "{text:?}");
        assert_eq!(lines[..2], ["id: 17", "event: asset.archived"]);
        let data: Value = serde_json::from_str(lines[2].strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(data["sequence"], 17);
        assert_eq!(lines[3..], ["", ""]);
    }
}
