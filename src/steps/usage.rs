//! What was spent, from the database: by day, model and label.

use crate::domain::ids::Tenant;
use crate::domain::time::Timestamp;
use crate::ports::records::{LedgerQuery, Records, Sums};
use crate::ports::store::StoreError;
use std::collections::BTreeMap;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// Most days of one answer: each is a read of its own, so that none holds the database for long.
pub const MAX_DAYS: u64 = 400;
/// Most groups of one answer; a label with a value for every task would be a copy of the database.
pub const MAX_GROUPS: usize = 10_000;

#[derive(Clone, Debug)]
pub struct UsageQuery {
    pub tenant: Tenant,
    pub since: Timestamp,
    pub until: Timestamp,
    pub by_day: bool,
    pub by_model: bool,
    pub by_labels: Vec<String>,
}

pub struct Usage {
    pub groups: Vec<(Group, Sums)>,
    pub total: Sums,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// `2026-01-31`, UTC: the day the task was made.
    pub day: Option<String>,
    pub model: Option<String>,
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Beyond [`MAX_GROUPS`].
    #[error("there are too many groups")]
    TooManyGroups,
}

/// The instant's day.
pub fn day(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

pub async fn usage(records: &dyn Records, query: &UsageQuery) -> Result<Usage, UsageError> {
    let mut groups: BTreeMap<Group, Sums> = BTreeMap::new();
    let mut total = Sums::default();
    for (since, until) in days(query.since, query.until) {
        let read = LedgerQuery {
            tenant: query.tenant.clone(),
            since,
            until,
            by_model: query.by_model,
            by_labels: query.by_labels.clone(),
        };
        for row in records.ledger(read).await? {
            total.add(&row.sums);
            let group = Group {
                day: query.by_day.then(|| day(since)),
                model: row.model,
                labels: row.labels,
            };
            groups.entry(group).or_default().add(&row.sums);
        }
        if groups.len() > MAX_GROUPS {
            return Err(UsageError::TooManyGroups);
        }
    }
    Ok(Usage {
        groups: groups
            .into_iter()
            .map(|(group, sums)| (group, rounded(sums)))
            .collect(),
        total: rounded(total),
    })
}

/// To the billionth of a dollar: finer digits are an artefact of adding.
fn rounded(sums: Sums) -> Sums {
    Sums {
        cost: (sums.cost * 1e9).round() / 1e9,
        ..sums
    }
}

/// The span in pieces that end with their day.
fn days(since: Timestamp, until: Timestamp) -> impl Iterator<Item = (Timestamp, Timestamp)> {
    let length = i64::try_from(DAY.as_millis()).unwrap_or(i64::MAX);
    let mut at = since;
    std::iter::from_fn(move || {
        if at >= until {
            return None;
        }
        let next_midnight = (at.as_millis().div_euclid(length) + 1).saturating_mul(length);
        let end = Timestamp::from_millis(next_midnight).min(until);
        let piece = (at, end);
        at = end;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_read_day_by_day() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let pieces: Vec<_> = days(at("2026-01-30T12:00:00Z"), at("2026-02-01T06:00:00Z")).collect();
        assert_eq!(
            pieces,
            [
                (at("2026-01-30T12:00:00Z"), at("2026-01-31T00:00:00Z")),
                (at("2026-01-31T00:00:00Z"), at("2026-02-01T00:00:00Z")),
                (at("2026-02-01T00:00:00Z"), at("2026-02-01T06:00:00Z")),
            ]
        );
        assert_eq!(
            days(at("2026-01-30T00:00:00Z"), at("2026-01-30T00:00:00Z")).count(),
            0
        );
    }
}
