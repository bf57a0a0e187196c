//! A task's own webhook: the `webhookURL` that a client put into the task it submitted. A subscription for that task
//! alone, in the provider's own shape.

use super::delivery::{DeadReason, Endpoint, Format, Secret};
use super::event::{EventData, EventKind, NewEvent};
use super::ids::{EndpointId, EventId, Tenant};
use super::time::Timestamp;
use std::fmt;
use url::Url;

/// Where a client wants to be called about one task. Whoever holds it may hold the client's token, so it never
/// reaches a log or an event.
#[derive(Clone, PartialEq, Eq)]
pub struct TaskWebhook {
    pub url: String,
}

impl fmt::Debug for TaskWebhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskWebhook(<hidden>)")
    }
}

/// What stands for the endpoint of such a delivery, for people.
pub const NAME: &str = "webhookURL";

impl TaskWebhook {
    /// Scheme, host and port: all that is told about it, and what shares a bound on tries at once.
    pub fn origin(&self) -> String {
        Url::parse(&self.url).map_or_else(|_| "null".to_owned(), |url| url.origin().ascii_serialization())
    }

    /// As the transport sees it. There is no secret that both sides know, so nothing is signed: the client's own token
    /// in the URL is what proves a call, as with the provider itself.
    pub fn endpoint(&self, tenant: Tenant, created_at: Timestamp) -> Endpoint {
        let id = EndpointId(NAME.to_owned());
        Endpoint {
            format: Format::Runware,
            ..Endpoint::new(id, tenant, self.url.clone(), Secret(vec![]), created_at)
        }
    }
}

/// `delivery.dead` of a call about this event.
pub fn dead_call(
    id: EventId,
    tenant: Tenant,
    task_uuid: Option<String>,
    about: &EventId,
    reason: DeadReason,
    at: Timestamp,
) -> NewEvent {
    NewEvent {
        id,
        kind: EventKind::DeliveryDead,
        tenant,
        task: None,
        task_sequence: 0,
        at,
        data: EventData {
            task_uuid,
            endpoint: Some(NAME.to_owned()),
            event: Some(about.as_str().to_owned()),
            reason: Some(reason.to_string()),
            ..EventData::default()
        },
    }
}

/// The id of the `delivery.dead` of a call that was not made because the receiver had said that it is gone: it said so
/// about the event `by`, at its try number `attempt`. After a redrive that is another saying, and another death.
pub fn gone_with_id(about: &EventId, by: &EventId, attempt: u32) -> EventId {
    let kind = EventKind::DeliveryDead.as_str();
    EventId::derive(&[kind, NAME, about.as_str(), by.as_str(), &attempt.to_string()])
}

/// Whether an event is told there: the end of each asset; and the end of a task for the results that never became an
/// asset. `assets` is how many the task has.
pub fn is_told(event: &NewEvent, assets: u32) -> bool {
    use EventKind::{TaskFailed, TaskPartial, TaskRejected, TaskTimedOut};
    match event.kind {
        EventKind::AssetArchived | EventKind::AssetExpired | EventKind::AssetFailed => true,
        TaskFailed | TaskPartial | TaskTimedOut | TaskRejected => {
            assets == 0 || event.data.expected.is_some_and(|expected| expected > assets)
        }
        _ => false,
    }
}

/// Whether the provider's own shape has words for events of this kind.
pub const fn has_provider_shape(kind: EventKind) -> bool {
    use EventKind::{TaskFailed, TaskPartial, TaskRejected, TaskTimedOut};
    matches!(
        kind,
        EventKind::AssetArchived
            | EventKind::AssetExpired
            | EventKind::AssetFailed
            | TaskFailed
            | TaskPartial
            | TaskTimedOut
            | TaskRejected
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::EventData;
    use crate::domain::ids::EventId;

    fn event(kind: EventKind, expected: Option<u32>) -> NewEvent {
        NewEvent {
            id: EventId::derive(&["a"]),
            kind,
            tenant: Tenant::default_tenant(),
            task: None,
            task_sequence: 1,
            at: Timestamp::from_millis(0),
            data: EventData {
                expected,
                ..EventData::default()
            },
        }
    }

    #[test]
    fn each_result_is_told_once_and_a_missing_one_with_its_task() {
        use EventKind::*;
        for kind in [AssetArchived, AssetExpired, AssetFailed] {
            assert!(is_told(&event(kind, None), 1), "{kind}");
        }
        for kind in [TaskFailed, TaskTimedOut, TaskRejected, TaskPartial] {
            assert!(is_told(&event(kind, Some(1)), 0), "{kind}: nothing came of it");
            assert!(
                is_told(&event(kind, Some(2)), 1),
                "{kind}: one result failed at the provider"
            );
            assert!(!is_told(&event(kind, Some(1)), 1), "{kind}: its asset was told");
        }
        let others = EventKind::ALL.into_iter().filter(|k| !has_provider_shape(*k));
        for kind in others {
            assert!(!is_told(&event(kind, Some(1)), 0), "{kind}");
        }
    }

    #[test]
    fn its_url_is_told_to_nobody_but_its_origin() {
        let webhook = TaskWebhook {
            url: "https://user:pw@hooks.example:8443/a/b?token=SECRET#x".to_owned(),
        };
        assert_eq!(webhook.origin(), "https://hooks.example:8443");
        assert_eq!(format!("{webhook:?}"), "TaskWebhook(<hidden>)");
    }
}
