//! `POST /v1/tasks/import`: adopt tasks submitted elsewhere, or before a disk was lost.

mod listing; // a list of tasks, in one of three forms

use crate::domain::identity::Identity;
use crate::domain::ids::TaskId;
use crate::http::aside::Aside;
use crate::http::error::ApiError;
use crate::http::{Api, json};
use crate::steps::import::{Import, Imported, JournalError, JournalPage, import, import_journal};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, web};
use listing::{FromBucket, Listing};
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImportAnswer {
    /// In request order, one for each.
    data: Vec<ImportEntry>,
    /// Adopted by this request.
    imported: u64,
    /// Known before: left as they are.
    known: u64,
    /// Not this tenant's to adopt.
    refused: u64,
    /// From the bucket: tasks of other tenants that were taken up as theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    other_tenants: Option<u64>,
    /// From the bucket: entries that cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<u64>,
    /// From the bucket: go on with this as `cursor`; null at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<Option<String>>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImportEntry {
    #[serde(rename = "taskUUID")]
    #[schema(format = "uuid")]
    task_uuid: String,
    /// Null when refused.
    status: Option<&'static str>,
    origin: Option<&'static str>,
    /// It was known before.
    known: bool,
}

/// Import tasks
///
/// Adopts tasks by their taskUUID: each is asked about at the provider's pace, its model and number of results are
/// learned from the provider where the list does not say them, and every result is archived. Nothing is submitted and
/// nothing is bought. A known task is left as it is, so a list can be sent again.
///
/// Up to 100,000 tasks, all or nothing: one fault, and none is adopted. As
/// - JSON: an array of UUIDs, or of objects with `taskUUID` and, if known, `model`, `numberResults`, `labels`,
///   `keyPrefix`, `outputFormat`; or `{"taskUUIDs": […]}`;
/// - CSV (`text/csv`): a header with `taskUUID` and, if known, the same names (a label is `label.<key>`), other columns
///   are passed over; or one column of UUIDs without a header;
/// - NDJSON (`application/x-ndjson`): a UUID or such an object a line.
///
/// In the line formats a fault's pointer begins with `line <n>`.
///
/// `{"source": "bucket"}` re-learns tasks from the journal in the bucket instead, after a disk was lost: a page of up to
/// `limit` (1 to 1000) entries after `cursor`; go on until `nextCursor` is null. Each task becomes its own tenant's.
#[utoipa::path(
    post, path = "/v1/tasks/import", operation_id = "importTasks", tag = "tasks", security(("apiKey" = [])),
    request_body(content = Object, description = "The list", examples(
        ("uuids" = (summary = "UUIDs", value = json!(["0c0ffee0-0000-4000-8000-000000000001"]))),
        ("objects" = (summary = "With what is known", value = json!([{"taskUUID": "0c0ffee0-0000-4000-8000-000000000001", "labels": {"shot": "7"}}]))),
        ("bucket" = (summary = "From the journal", value = json!({"source": "bucket"}))),
    )),
    responses(
        (status = 202, description = "Stored", body = ImportAnswer, example = json!({
            "data": [{"taskUUID": "0c0ffee0-0000-4000-8000-000000000001", "status": "submitted", "origin": "imported", "known": false}],
            "imported": 1, "known": 0, "refused": 0
        })),
        (status = 400, description = "`malformed_json`, `body_incomplete`"),
        (status = 408, description = "`body_timeout`"),
        (status = 413, description = "`body_too_large`"),
        (status = 415, description = "`unsupported_media_type`"),
        (status = 422, description = "`invalid_import`"),
        (status = 503, description = "`bucket_unavailable`, `overloaded`, `storage_unavailable`", headers(("Retry-After" = u32, description = "Seconds"))),
    ),
)]
pub async fn run(
    req: HttpRequest,
    payload: web::Payload,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let caller = api.caller(&req).await?;
    let kind = kind(&req)?; // before a byte is read
    let bytes = api.client_body(&caller, &req, payload).await?;
    let now = api.clock.now();
    let listing = match kind {
        Kind::Json => {
            let _turn = api.long_list().await;
            listing::json(&json::parse_list(&bytes)?.1, now)?
        }
        Kind::Csv => listing::csv(&bytes, now)?,
        Kind::Ndjson => listing::ndjson(&bytes, now)?,
    };
    let answer = match listing {
        Listing::Tasks(items) => {
            drop(bytes);
            let tenant = &caller.tenant;
            let named = |item: listing::Item| Identity {
                tenant: tenant.clone(),
                created_at: now,
                ..item.identity
            };
            let identities = items.into_iter().map(named).collect();
            let imported = import(&api.import(), identities).await;
            ImportAnswer::of(&imported.map_err(|e| api.store_error(e))?)
        }
        Listing::Bucket(page) => from_bucket(&api, api.aside()?, &caller.tenant, page).await?,
    };
    Ok(HttpResponse::Accepted().json(answer))
}

async fn from_bucket(
    api: &web::Data<Api>,
    aside: &Aside,
    tenant: &crate::domain::ids::Tenant,
    page: FromBucket,
) -> Result<ImportAnswer, ApiError> {
    let (api, tenant, journal) = (api.clone().into_inner(), tenant.clone(), aside.journal.clone());
    let work = async move { import_journal(&api.import(), &*journal, &tenant, page.after, page.limit).await };
    match aside.run(work).await? {
        Ok(page) => Ok(ImportAnswer::of_journal(&page)),
        Err(JournalError::Store(e)) => Err(e.into()),
        Err(JournalError::Bucket(e)) => Err(ApiError::BucketUnavailable {
            code: e.code().to_owned(),
        }),
    }
}

impl Api {
    /// What an import works with.
    pub(in crate::http) fn import(&self) -> Import<'_> {
        Import {
            store: &*self.store,
            records: &*self.records,
            clock: &*self.clock,
            wakeups: &self.wakeups,
            policy: &self.policy,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Json,
    Csv,
    Ndjson,
}

fn kind(req: &HttpRequest) -> Result<Kind, ApiError> {
    match req.content_type().to_ascii_lowercase().as_str() {
        "application/json" => Ok(Kind::Json),
        "text/csv" | "application/csv" => Ok(Kind::Csv),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Kind::Ndjson),
        _ => Err(ApiError::UnsupportedMediaType(
            "Send a list as `application/json`, `text/csv` or `application/x-ndjson`.",
        )),
    }
}

impl ImportAnswer {
    fn of(imported: &[Imported]) -> Self {
        let mut answer = Self::default();
        answer.data.reserve_exact(imported.len());
        for one in imported {
            let entry = ImportEntry::of(one);
            match (one.standing().is_some(), entry.known) {
                (false, _) => answer.refused += 1,
                (true, true) => answer.known += 1,
                (true, false) => answer.imported += 1,
            }
            answer.data.push(entry);
        }
        answer
    }

    fn of_journal(page: &JournalPage) -> Self {
        Self {
            other_tenants: Some(page.others),
            unreadable: Some(page.unreadable),
            next_cursor: Some(page.next.map(|id: TaskId| id.to_string())),
            ..Self::of(&page.own)
        }
    }
}

impl ImportEntry {
    fn of(one: &Imported) -> Self {
        let standing = one.standing();
        Self {
            task_uuid: one.id.to_string(),
            status: standing.map(|(status, _)| status.as_str()),
            origin: standing.map(|(_, origin)| origin.as_str()),
            known: matches!(one.as_what, crate::ports::records::Adopted::Known { .. }),
        }
    }
}
