//! Chapter three and a half: the provider is asked, because a callback said so or because a task has been silent.
//! The answer, and the callbacks it settles, go to `ingest`.

use crate::domain::file::{Asked, Claim, Policy};
use crate::domain::report::Report;
use crate::domain::task::{Origin, Outcome};
use crate::domain::time::Timestamp;
use crate::ports::clock::Clock;
use crate::ports::provider::{Provider, ProviderError};
use crate::ports::store::Inquiry;
use std::time::Duration;

#[cfg(test)]
mod tests;

pub struct Poll<'a> {
    pub provider: &'a dyn Provider,
    pub clock: &'a dyn Clock,
    pub policy: &'a Policy,
    /// Whether a link lies on an allowed host (`archive.allowed_hosts`).
    pub host_allowed: &'a (dyn Fn(&str) -> bool + Send + Sync),
}

/// `getResponse` forgets: from this age on an empty answer is looked up in the provider's archive.
const ARCHIVE_AGE: Duration = Duration::from_secs(3600);

/// Asks about up to `MAX_QUERY` tasks in one request; answers one `Asked` per inquiry, in order, and the error if
/// the request brought no answer.
pub async fn poll(ctx: &Poll<'_>, inquiries: &[Inquiry]) -> (Vec<Asked>, Option<ProviderError>) {
    let ids: Vec<_> = inquiries.iter().map(|i| i.file.task.id).collect();
    let (reports, mut error) = match ctx.provider.query(&ids).await {
        Ok(reports) => (reports.into_iter().map(Some).collect(), None),
        Err(e) => (vec![None; ids.len()], Some(e)),
    };
    let mut asked = Vec::with_capacity(inquiries.len());
    for (inquiry, report) in inquiries.iter().zip(reports) {
        let answer = match report {
            Some(report) if wants_archive(inquiry, &report, ctx.clock.now()) => {
                // A provider that is away for one question is not asked the next one at once.
                let looked = match error.as_ref().is_some_and(is_away) {
                    true => Err(()),
                    false => in_archive(ctx, inquiry, report)
                        .await
                        .map_err(|e| error = Some(e)),
                };
                looked.ok()
            }
            other => other,
        };
        let at_least = error
            .as_ref()
            .filter(|_| answer.is_none())
            .and_then(|e| e.retry_after);
        asked.push(Asked {
            answer,
            claims: claims(ctx, inquiry),
            at_least,
        });
    }
    (asked, error)
}

/// An empty answer proves little, and a full one to an adopted task not how many results there are to be: without
/// that, one finished result of several would pass for all of them.
fn wants_archive(inquiry: &Inquiry, report: &Report, now: Timestamp) -> bool {
    match report.is_empty() {
        true => needs_archive(inquiry, now),
        false => inquiry.file.task.number_results == 0,
    }
}

/// The answer with what the archive adds: the last response where there was none, and what was asked for.
async fn in_archive(ctx: &Poll<'_>, inquiry: &Inquiry, report: Report) -> Result<Report, ProviderError> {
    let details = match ctx.provider.details(inquiry.file.task.id).await {
        Ok(details) => details.unwrap_or_default(),
        // An archive that refuses to be asked must not keep back what the query said.
        Err(e) if !report.is_empty() && !is_away(&e) => return Ok(report),
        Err(e) => return Err(e),
    };
    Ok(match report.is_empty() {
        true => details,
        false => Report {
            request: details.request,
            ..report
        },
    })
}

/// Whether the error is about the provider rather than about the one task that was asked for.
fn is_away(error: &ProviderError) -> bool {
    error.retry_after.is_some() || error.parked || matches!(error.code.as_str(), "unreachable" | "timeout")
}

/// Old, adopted, or about to be closed.
fn needs_archive(inquiry: &Inquiry, now: Timestamp) -> bool {
    let task = &inquiry.file.task;
    let old = now.since(task.submitted_at.unwrap_or(task.created_at)) >= ARCHIVE_AGE;
    let closing = task.deadline.is_some_and(|d| now >= d);
    task.origin != Origin::Submitted || old || closing || task.outcome != Outcome::Open
}

fn claims(ctx: &Poll<'_>, inquiry: &Inquiry) -> Vec<Claim> {
    let read = |r: &crate::ports::store::Receipt| {
        let report = ctx.provider.read_callback(inquiry.file.task.id, &r.body);
        let hosts_allowed = report.successes().all(|s| (ctx.host_allowed)(&s.source.0));
        Claim {
            receipt: r.id,
            at: r.at,
            report,
            hosts_allowed,
        }
    };
    inquiry.receipts.iter().map(read).collect()
}
