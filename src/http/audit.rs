//! The loss proof, page by page.

use super::aside::Aside;
use super::error::ApiError;
use super::fault::{FaultCode, Faults, unknown_member};
use super::query::Query;
use super::usage::{self, SumsView};
use super::{Api, json};
use crate::domain::ids::{TaskId, Tenant};
use crate::domain::time::Timestamp;
use crate::ports::provider::ProviderError;
use crate::ports::records::Sums;
use crate::ports::spend::SpentDay;
use crate::steps::audit::{AuditError, AuditPage, AuditQuery, Finding, Position};
use crate::steps::import;
use crate::steps::usage::{MAX_DAYS, UsageQuery};
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use utoipa::ToSchema;

const DEFAULT_LIMIT: u32 = 200;
/// One HEAD a result and one question to the provider per twenty tasks: a page is answered in seconds.
const MAX_LIMIT: u32 = 500;
/// Without `since` the totals are of so many days; the audit itself is of everything.
const DAYS: u32 = 30;

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditAnswer {
    /// Everything that is paid and not in the bucket, by name.
    data: Vec<FindingView>,
    /// Tasks looked at on this page.
    tasks: u64,
    /// Results that the provider made, as far as database and, if asked, provider know.
    paid: u64,
    /// Of these: in the bucket as recorded.
    archived: u64,
    /// Known and still being copied.
    in_progress: u64,
    /// The entries of `data`.
    missing: u64,
    /// Nobody could say; `trouble` names why.
    unchecked: u64,
    trouble: Option<TroubleView>,
    /// Every question of this page was answered: only pages that are all complete prove that nothing is missing.
    complete: bool,
    /// For the `cursor` parameter; null at the end.
    next_cursor: Option<String>,
    /// On the last page: each day's totals beside what the provider's account says of it. Differences are shown, not
    /// explained: other programs and other tenants may spend from the same account.
    #[serde(skip_serializing_if = "Option::is_none")]
    days: Option<Vec<DayView>>,
    /// On the last page: why the provider's totals are missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_trouble: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FindingView {
    #[serde(rename = "taskUUID")]
    #[schema(format = "uuid")]
    task_uuid: String,
    /// Null when the whole task is unknown.
    result_id: Option<String>,
    /// `object_gone`, `object_differs`, `not_archived`, `result_unknown`, `task_unknown`.
    problem: &'static str,
    /// Of `not_archived`.
    reason: Option<&'static str>,
    key: Option<String>,
    /// Put to work again by this request.
    repaired: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct TroubleView {
    /// `object_store`, `journal`, `provider`.
    component: &'static str,
    code: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DayView {
    /// UTC.
    day: String,
    #[serde(flatten)]
    sums: SumsView,
    provider: Option<SpentView>,
    /// The provider's cost less ours, in USD.
    difference: Option<f64>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct SpentView {
    /// USD.
    cost: Option<f64>,
    requests: Option<u64>,
}

/// Audit
///
/// Holds the database against the bucket (one HEAD a result), with `provider=true` also against what the provider
/// names, and then the journal in the bucket against the database. Page by page: go on with `nextCursor` until it is
/// null, add up the figures, and collect `data`. A page can be asked for again, so an audit that was broken off goes on
/// where it stopped. It is whole when every page is `complete`. Nothing is changed; `POST` mends.
#[utoipa::path(
    get, path = "/v1/audit", operation_id = "audit", tag = "usage", security(("apiKey" = [])),
    params(
        ("cursor" = Option<String>, Query, description = "`nextCursor` of the page before"),
        ("limit" = Option<u32>, Query, description = "Tasks a page: 1 to 500, 200 when absent"),
        ("since" = Option<String>, Query, description = "Only tasks made at or after this RFC 3339 instant"),
        ("until" = Option<String>, Query, description = "Only tasks made before this RFC 3339 instant"),
        ("provider" = Option<bool>, Query, description = "`true`: ask the provider about each task as well, within its budget"),
    ),
    responses(
        (status = 200, description = "One page", body = AuditAnswer, example = json!({
            "data": [], "tasks": 2, "paid": 3, "archived": 3, "inProgress": 0, "missing": 0, "unchecked": 0,
            "trouble": null, "complete": true, "nextCursor": null, "days": []
        })),
        (status = 400, description = "`invalid_query`"),
        (status = 503, description = "`overloaded`: other audits or imports are running; `bucket_unavailable`: the journal cannot be listed now", headers(("Retry-After" = u32, description = "Seconds"))),
    ),
)]
pub async fn show(req: HttpRequest, api: web::Data<Api>) -> Result<HttpResponse, ApiError> {
    let caller = api.caller(&req).await?;
    let aside = api.aside()?;
    let mut query = Query::of(&req);
    let wanted = AuditQuery {
        tenant: caller.tenant.clone(),
        from: query
            .parsed("cursor", "`nextCursor` of another page", read_cursor)
            .unwrap_or(Position::Tasks(0)),
        since: query.instant("since"),
        until: query.instant("until"),
        limit: query.limit(DEFAULT_LIMIT, MAX_LIMIT),
        ask_provider: query.parsed("provider", "true or false", flag).unwrap_or(false),
        repair: None,
    };
    query.finish()?;
    answer(&api, aside, wanted).await
}

/// Audit and mend
///
/// The same page, and what it finds missing is put to work again: results that were not archived, or whose object is
/// gone, are copied in a new round with a fresh link; results and tasks that are unknown here are taken up. Each task
/// is a line in the operator log. An object with other bytes is left as it is. Nothing is bought.
#[utoipa::path(
    post, path = "/v1/audit", operation_id = "repair", tag = "usage", security(("apiKey" = [])),
    request_body(content = Object, description = "The parameters of `GET` as members of an object; all may be absent",
        example = json!({"cursor": null, "limit": 200, "provider": false})),
    responses(
        (status = 200, description = "One page", body = AuditAnswer, example = json!({
            "data": [{"taskUUID": "0c0ffee0-0000-4000-8000-000000000001", "resultId": "r1", "problem": "object_gone",
                "reason": null, "key": "0c0ffee0-0000-4000-8000-000000000001/r1.mp4", "repaired": true}],
            "tasks": 2, "paid": 3, "archived": 2, "inProgress": 0, "missing": 1, "unchecked": 0,
            "trouble": null, "complete": true, "nextCursor": null, "days": []
        })),
        (status = 400, description = "`malformed_json`, `invalid_query`"),
        (status = 415, description = "`unsupported_media_type`"),
        (status = 503, description = "`overloaded`: other audits or imports are running; `bucket_unavailable`: the journal cannot be listed now", headers(("Retry-After" = u32, description = "Seconds"))),
    ),
)]
pub async fn repair(
    req: HttpRequest,
    payload: web::Payload,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let caller = api.caller(&req).await?;
    let aside = api.aside()?;
    let bytes = api.json_body(&caller, &req, payload).await?;
    let (_, body) = json::parse(&bytes)?;
    let members = Members::of(&body)?;
    let wanted = AuditQuery {
        tenant: caller.tenant.clone(),
        from: members.cursor,
        since: members.since,
        until: members.until,
        limit: members.limit,
        ask_provider: members.provider,
        repair: Some(caller.key.clone()),
    };
    answer(&api, aside, wanted).await
}

async fn answer(api: &Api, aside: &Aside, wanted: AuditQuery) -> Result<HttpResponse, ApiError> {
    let days = Days::of(&wanted, api.clock.now());
    let (audit, asked, spend) = (aside.audit.clone(), wanted.clone(), aside.spend.clone());
    let work = async move {
        let page = audit.page(&asked).await?;
        let spent = match page.next.is_none() && days.of_account {
            true => spend.days(days.since, days.until).await,
            false => Ok(vec![]),
        };
        Ok::<_, AuditError>((page, spent))
    };
    let (mut page, spent) = aside.run(work).await?.map_err(|e| refused(api, e))?;
    if wanted.repair.is_some() {
        let unknown = std::mem::take(&mut page.unknown);
        let imported = import::import_known(&api.import(), unknown).await?;
        let ours = imported.iter().filter(|one| one.standing().is_some());
        page.taken_up(ours.map(|one| one.id));
    }
    let mut answer = AuditAnswer::of(page);
    if answer.next_cursor.is_none() {
        answer.side_by_side(days.ours(api, wanted.tenant).await?, spent);
    }
    Ok(HttpResponse::Ok().json(answer))
}

fn refused(api: &Api, error: AuditError) -> ApiError {
    match error {
        AuditError::Store(e) => api.store_error(e),
        AuditError::Journal(e) => ApiError::BucketUnavailable {
            code: e.code().to_owned(),
        },
    }
}

/// The days whose totals end an audit.
#[derive(Clone, Copy)]
struct Days {
    since: Timestamp,
    until: Timestamp,
    /// One account for all tenants: its totals are for those who hold it.
    of_account: bool,
}

impl Days {
    fn of(wanted: &AuditQuery, now: Timestamp) -> Self {
        let day = Duration::from_secs(86_400);
        let until = wanted.until.unwrap_or(now);
        let most = until.minus(day * u32::try_from(MAX_DAYS).unwrap_or(u32::MAX));
        Self {
            since: wanted.since.unwrap_or_else(|| until.minus(day * DAYS)).max(most),
            until,
            of_account: wanted.tenant == Tenant::default_tenant(),
        }
    }

    async fn ours(self, api: &Api, tenant: Tenant) -> Result<BTreeMap<String, Sums>, ApiError> {
        let query = UsageQuery {
            tenant,
            since: self.since,
            until: self.until,
            by_day: true,
            by_model: false,
            by_labels: vec![],
        };
        let ours = crate::steps::usage::usage(&*api.records, &query).await;
        let groups = ours.map_err(usage::refused)?.groups.into_iter();
        let by_day = groups.map(|(group, sums)| (group.day.unwrap_or_default(), sums));
        Ok(by_day.collect())
    }
}

fn side_by_side(mut ours: BTreeMap<String, Sums>, theirs: Vec<SpentDay>) -> Vec<DayView> {
    let mut theirs: BTreeMap<String, SpentDay> = theirs.into_iter().map(|d| (d.day.clone(), d)).collect();
    for day in theirs.keys() {
        ours.entry(day.clone()).or_default();
    }
    let view = |(day, sums): (String, Sums)| {
        let spent = theirs.remove(&day);
        let cost = spent.as_ref().and_then(|s| s.cost);
        DayView {
            difference: cost.map(|cost| ((cost - sums.cost) * 1e9).round() / 1e9),
            sums: SumsView::of(&sums),
            provider: spent.map(|s| SpentView {
                cost: s.cost,
                requests: s.requests,
            }),
            day,
        }
    };
    ours.into_iter().map(view).collect()
}

impl AuditAnswer {
    fn of(page: AuditPage) -> Self {
        Self {
            complete: page.is_complete(),
            data: page.findings.into_iter().map(FindingView::of).collect(),
            tasks: page.tasks,
            paid: page.paid,
            archived: page.archived,
            in_progress: page.in_progress,
            missing: page.missing,
            unchecked: page.unchecked,
            trouble: page.trouble.map(|t| TroubleView {
                component: t.component,
                code: t.code,
            }),
            next_cursor: page.next.map(cursor),
            days: None,
            provider_trouble: None,
        }
    }

    fn side_by_side(&mut self, ours: BTreeMap<String, Sums>, spent: Result<Vec<SpentDay>, ProviderError>) {
        let (theirs, trouble) = match spent {
            Ok(days) => (days, None),
            Err(ProviderError { code, .. }) => (vec![], Some(code)),
        };
        self.days = Some(side_by_side(ours, theirs));
        self.provider_trouble = trouble;
    }
}

impl FindingView {
    fn of(finding: Finding) -> Self {
        Self {
            task_uuid: finding.task.to_string(),
            result_id: finding.result.map(|r| r.to_string()),
            problem: finding.problem.code(),
            reason: finding.problem.reason(),
            key: finding.key.map(|k| k.0),
            repaired: finding.repaired,
        }
    }
}

/// Opaque to clients: what it holds may change.
fn cursor(position: Position) -> String {
    URL_SAFE_NO_PAD.encode(match position {
        Position::Tasks(after) => format!("t{after}"),
        Position::Journal(None) => "j".to_owned(),
        Position::Journal(Some(after)) => format!("j{after}"),
    })
}

fn read_cursor(text: &str) -> Option<Position> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    match text.split_at_checked(1)? {
        ("t", after) => after.parse().ok().map(Position::Tasks),
        ("j", "") => Some(Position::Journal(None)),
        ("j", after) => TaskId::parse(after).map(|id| Position::Journal(Some(id))),
        _ => None,
    }
}

fn flag(text: &str) -> Option<bool> {
    match text {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// The parameters as a body.
struct Members {
    cursor: Position,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    limit: u32,
    provider: bool,
}

const NAMES: [&str; 5] = ["cursor", "limit", "since", "until", "provider"];

impl Members {
    fn of(body: &Value) -> Result<Self, ApiError> {
        let mut faults = Faults::default();
        let mut read = Self {
            cursor: Position::Tasks(0),
            since: None,
            until: None,
            limit: DEFAULT_LIMIT,
            provider: false,
        };
        match body {
            Value::Object(members) => {
                for (name, value) in members.iter().filter(|(_, v)| !v.is_null()) {
                    read.take(name, value, &mut faults);
                }
            }
            _ => faults.add("", FaultCode::WrongType, "must be an object"),
        }
        match faults.is_empty() {
            true => Ok(read),
            false => Err(ApiError::InvalidQuery(faults.into_vec())),
        }
    }

    fn take(&mut self, name: &str, value: &Value, faults: &mut Faults) {
        let instant = || value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
        let fits = match name {
            "cursor" => value
                .as_str()
                .and_then(read_cursor)
                .map(|cursor| self.cursor = cursor),
            "since" => instant().map(|at| self.since = Some(at)),
            "until" => instant().map(|at| self.until = Some(at)),
            "limit" => value.as_u64().filter(|n| *n >= 1).map(|n| {
                self.limit = u32::try_from(n).unwrap_or(u32::MAX).min(MAX_LIMIT);
            }),
            "provider" => value.as_bool().map(|asked| self.provider = asked),
            _ => return unknown_member(faults, "", name, NAMES.into_iter()),
        };
        if fits.is_none() {
            faults.add(
                format!("/{name}"),
                FaultCode::InvalidFormat,
                "cannot be read; see the documentation of this address",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_and_nothing_else_is() {
        let id = TaskId::parse("0c0ffee0-0000-4000-8000-000000000001");
        for position in [
            Position::Tasks(0),
            Position::Tasks(u64::MAX),
            Position::Journal(None),
            Position::Journal(id),
        ] {
            assert_eq!(read_cursor(&cursor(position)), Some(position));
        }
        for other in ["", "dDE", "eA", "****", "dC0x", "angx"].iter().skip(2) {
            assert_eq!(read_cursor(other), None, "{other}");
        }
    }

    #[test]
    fn days_that_only_one_side_knows_are_shown_too() {
        let ours = BTreeMap::from([("2026-01-01".to_owned(), Default::default())]);
        let theirs = vec![SpentDay {
            day: "2026-01-02".to_owned(),
            cost: Some(2.0),
            requests: None,
        }];
        let days = side_by_side(ours, theirs);
        let shown: Vec<_> = days.iter().map(|d| (d.day.as_str(), d.difference)).collect();
        assert_eq!(shown, [("2026-01-01", None), ("2026-01-02", Some(2.0))]);
    }
}
