//! The cost ledger.

use super::Api;
use super::error::ApiError;
use super::fault::FaultCode;
use super::query::{Query, is_label_key};
use crate::domain::time::Timestamp;
use crate::ports::records::Sums;
use crate::steps::usage::{Group, MAX_DAYS, UsageError, UsageQuery, usage};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use utoipa::ToSchema;

const DAY: Duration = Duration::from_secs(86_400);
/// Without `since`: what a monthly bill is about.
const DEFAULT_DAYS: u32 = 30;
/// Labels grouped by at once.
const MAX_LABELS: usize = 4;

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageAnswer {
    /// One group each, in their order.
    data: Vec<UsageRow>,
    total: SumsView,
    #[schema(value_type = String, format = "date-time")]
    since: Timestamp,
    #[schema(value_type = String, format = "date-time")]
    until: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageRow {
    /// UTC, the day the task was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    day: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// Of the labels asked for, those that the tasks have.
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<BTreeMap<String, String>>,
    #[serde(flatten)]
    sums: SumsView,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SumsView {
    tasks: u64,
    /// Results that the provider made.
    results: u64,
    archived: u64,
    /// Bytes archived.
    bytes: u64,
    /// USD, as far as the provider reported it.
    cost: f64,
    /// Results whose cost it did not report.
    unpriced: u64,
}

impl SumsView {
    pub fn of(sums: &Sums) -> Self {
        Self {
            tasks: sums.tasks,
            results: sums.results,
            archived: sums.archived,
            bytes: sums.bytes,
            cost: sums.cost,
            unpriced: sums.unpriced,
        }
    }
}

/// What was spent
///
/// From the database, by the day the task was made (UTC), its model or its labels: the cost of each result as the
/// provider reported it.
#[utoipa::path(
    get, path = "/v1/usage", operation_id = "showUsage", tag = "usage", security(("apiKey" = [])),
    params(
        ("since" = Option<String>, Query, description = "Tasks made at or after this RFC 3339 instant; 30 days before `until` when absent, at most 400"),
        ("until" = Option<String>, Query, description = "Tasks made before this RFC 3339 instant; now when absent"),
        ("groupBy" = Option<String>, Query, description = "Of `day`, `model`, `label.{key}`, with commas or repeated; `day` when absent", example = "day,label.customer"),
    ),
    responses(
        (status = 200, description = "The groups and their sum", body = UsageAnswer, example = json!({
            "data": [{"day": "2026-01-31", "tasks": 2, "results": 3, "archived": 3, "bytes": 25165824, "cost": 13.05, "unpriced": 0}],
            "total": {"tasks": 2, "results": 3, "archived": 3, "bytes": 25165824, "cost": 13.05, "unpriced": 0},
            "since": "2026-01-02T00:00:00.000Z", "until": "2026-02-01T00:00:00.000Z"
        })),
        (status = 400, description = "`invalid_query`: also when there would be more than 10,000 groups"),
    ),
)]
pub async fn show(req: HttpRequest, api: web::Data<Api>) -> Result<HttpResponse, ApiError> {
    let caller = api.caller(&req).await?;
    let mut query = Query::of(&req);
    let (since, until) = span(&mut query, api.clock.now());
    let by = query.list("groupBy", "day, model, label.<key>", By::parse);
    let labels: Vec<String> = by.iter().filter_map(By::label).collect();
    if labels.len() > MAX_LABELS {
        query.fault("groupBy", FaultCode::TooLong, "names more than 4 labels");
    }
    query.finish()?;
    let wanted = UsageQuery {
        tenant: caller.tenant.clone(),
        since,
        until,
        by_day: by.is_empty() || by.contains(&By::Day),
        by_model: by.contains(&By::Model),
        by_labels: labels,
    };
    let found = usage(&*api.records, &wanted).await.map_err(refused)?;
    let has_labels = !wanted.by_labels.is_empty();
    Ok(HttpResponse::Ok().json(UsageAnswer {
        data: found
            .groups
            .into_iter()
            .map(|(group, sums)| row(group, &sums, has_labels))
            .collect(),
        total: SumsView::of(&found.total),
        since,
        until,
    }))
}

fn row(group: Group, sums: &Sums, has_labels: bool) -> UsageRow {
    UsageRow {
        day: group.day,
        model: group.model,
        labels: has_labels.then_some(group.labels),
        sums: SumsView::of(sums),
    }
}

/// `since` and `until`, with their defaults.
pub(super) fn span(query: &mut Query, now: Timestamp) -> (Timestamp, Timestamp) {
    let until = query.instant("until").unwrap_or(now);
    let since = query
        .instant("since")
        .unwrap_or_else(|| until.minus(DAY * DEFAULT_DAYS));
    let most = DAY * u32::try_from(MAX_DAYS).unwrap_or(u32::MAX);
    if until.since(since) > most {
        query.fault(
            "since",
            FaultCode::OutOfRange,
            "must lie at most 400 days before `until`",
        );
    }
    (since, until)
}

pub(super) fn refused(error: UsageError) -> ApiError {
    match error {
        UsageError::Store(e) => e.into(),
        UsageError::TooManyGroups => {
            let mut faults = super::fault::Faults::default();
            faults.add(
                "?groupBy",
                FaultCode::TooLong,
                "makes more than 10000 groups; group by less, or over fewer days",
            );
            ApiError::InvalidQuery(faults.into_vec())
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum By {
    Day,
    Model,
    Label(String),
}

impl By {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "day" => Some(Self::Day),
            "model" => Some(Self::Model),
            _ => {
                let key = word.strip_prefix("label.").filter(|key| is_label_key(key))?;
                Some(Self::Label(key.to_owned()))
            }
        }
    }

    fn label(&self) -> Option<String> {
        match self {
            Self::Label(key) => Some(key.clone()),
            _ => None,
        }
    }
}
