//! `/v1/assets`: one result as it lies in the bucket, and a way to read it without our credentials.

use super::error::ApiError;
use super::query::Query;
use super::tasks::view::AssetView;
use super::{Api, openapi};
use crate::domain::asset::Asset;
use crate::domain::file::TaskFile;
use crate::domain::ids::{ResultId, TaskId, Tenant};
use crate::ports::links::LinkTo;
use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use utoipa::ToSchema;

/// Long enough to start a download by hand or to seek in a player, short enough that a link which leaks into a history
/// is soon worthless. A new one costs nothing.
const LINK_LIFE: Duration = Duration::from_secs(15 * 60);

/// An asset with what its task says about it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OneAsset {
    #[serde(rename = "taskUUID")]
    #[schema(format = "uuid")]
    task_uuid: String,
    model: String,
    labels: BTreeMap<String, String>,
    /// USD for this result, as reported.
    cost: Option<f64>,
    #[serde(flatten)]
    #[schema(value_type = openapi::Asset)]
    asset: AssetView,
}

/// Show one asset
///
/// What is known of one result: where it lies, its size, digest and container. A `failed` asset has a `key` when its
/// bytes were kept all the same.
#[utoipa::path(
    get, path = "/v1/assets/{taskUUID}/{resultId}", operation_id = "showAsset", tag = "assets",
    security(("apiKey" = [])),
    params(
        ("taskUUID" = String, Path, description = "The task's UUID", format = "uuid"),
        ("resultId" = String, Path, description = "`resultId` of one of the task's assets"),
    ),
    responses(
        (status = 200, description = "The asset", body = OneAsset, example = json!(openapi::example_asset())),
        (status = 404, description = "`not_found`: no such asset, or not this tenant's"),
    ),
)]
pub async fn show(
    req: HttpRequest,
    path: web::Path<(String, String)>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let caller = api.caller(&req).await?;
    Query::of(&req).finish()?;
    let (file, result) = find(&api, &caller.tenant, &path).await?;
    let asset = file.asset(&result).cloned().ok_or(ApiError::NotFound)?;
    Ok(HttpResponse::Ok().json(OneAsset {
        task_uuid: file.task.id.to_string(),
        model: file.task.model,
        labels: file.task.labels,
        cost: asset.cost,
        asset: AssetView::of(asset),
    }))
}

/// Read one asset
///
/// Redirects to a link into the object store that anyone can read for 15 minutes.
#[utoipa::path(
    get, path = "/v1/assets/{taskUUID}/{resultId}/content", operation_id = "readAsset", tag = "assets",
    security(("apiKey" = [])),
    params(
        ("taskUUID" = String, Path, description = "The task's UUID", format = "uuid"),
        ("resultId" = String, Path, description = "`resultId` of one of the task's assets"),
        ("download" = Option<String>, Query, description = "`1`: to be saved as a file rather than shown", example = "1"),
    ),
    responses(
        (status = 302, description = "The link is in `Location`",
            headers(("Location" = String, description = "A presigned link. A secret while it lives"))),
        (status = 400, description = "`invalid_query`"),
        (status = 404, description = "`not_found`: no such asset, or not this tenant's"),
        (status = 409, description = "`asset_not_archived`: there is no object to read"),
        (status = 503, description = "`object_store_unavailable`: there are no credentials to sign a link with",
            headers(("Retry-After" = u32, description = "Seconds"))),
    ),
)]
pub async fn content(
    req: HttpRequest,
    path: web::Path<(String, String)>,
    api: web::Data<Api>,
) -> Result<HttpResponse, ApiError> {
    let caller = api.caller(&req).await?;
    let mut query = Query::of(&req);
    let download = query.parsed("download", "1 or 0", read_switch).unwrap_or(false);
    query.finish()?;
    let (file, result) = find(&api, &caller.tenant, &path).await?;
    let asset = file.asset(&result).ok_or(ApiError::NotFound)?;
    let link = link(&api, asset, download).await?;
    Ok(HttpResponse::Found()
        .insert_header((LOCATION, link))
        .insert_header((CACHE_CONTROL, "no-store"))
        .finish())
}

async fn find(
    api: &Api,
    tenant: &Tenant,
    (task, result): &(String, String),
) -> Result<(TaskFile, ResultId), ApiError> {
    let id = TaskId::parse(task).ok_or(ApiError::NotFound)?;
    let result = ResultId::given(result).ok_or(ApiError::NotFound)?;
    let file = api.store.task(Some(tenant), id).await?;
    Ok((file.ok_or(ApiError::NotFound)?, result))
}

async fn link(api: &Api, asset: &Asset, download: bool) -> Result<String, ApiError> {
    let stored = asset.state.stored().ok_or(ApiError::AssetNotArchived {
        status: asset.state.status().as_str(),
    })?;
    let name = stored.key.0.rsplit('/').next().unwrap_or_default();
    let to = LinkTo {
        bucket: &stored.bucket,
        key: &stored.key.0,
        valid_for: LINK_LIFE,
        save_as: download.then_some(name),
    };
    match api.links.link(to).await {
        Ok(link) => Ok(link.into()),
        Err(e) => {
            tracing::warn!(
                error = &*e as &dyn std::error::Error,
                "no link could be signed: {e}"
            );
            Err(ApiError::ObjectStoreUnavailable)
        }
    }
}

fn read_switch(text: &str) -> Option<bool> {
    match text {
        "1" | "true" | "" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}
