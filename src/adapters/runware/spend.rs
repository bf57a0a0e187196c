//! `accountManagement` / `getUsageActivity`: what the account spent a day. Its answer is not documented beyond the name
//! `usage`, so days are looked for wherever they may stand and figures by the names in use elsewhere in the API.

use super::client::RunwareClient;
use crate::domain::ids::TaskId;
use crate::domain::time::Timestamp;
use crate::ports::clock::Rng;
use crate::ports::provider::ProviderError;
use crate::ports::spend::{Spend, SpentDay};
use async_trait::async_trait;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most rows read of one answer: four hundred days in two groups, and room.
const MAX_ROWS: usize = 4_000;
const DATES: [&str; 6] = ["date", "day", "period", "timestamp", "startDate", "time"];
const COSTS: [&str; 7] = ["cost", "credits", "spend", "amount", "totalCost", "usd", "total"];
const REQUESTS: [&str; 4] = ["requests", "count", "requestCount", "tasks"];

/// The provider's book, through the one client and its budget.
pub struct RunwareSpend {
    pub client: Arc<RunwareClient>,
    /// For the question's own UUID.
    pub rng: Arc<dyn Rng>,
}

#[async_trait]
impl Spend for RunwareSpend {
    async fn days(&self, from: Timestamp, to: Timestamp) -> Result<Vec<SpentDay>, ProviderError> {
        let question = TaskId::ordered(to.as_millis(), self.rng.bytes16());
        let request = json!([{
            "taskType": "accountManagement", "taskUUID": question.to_string(),
            "operation": "getUsageActivity", "groupBy": "day", "timezone": "UTC",
            "startDate": day(&from.to_string()), "endDate": day(&to.to_string()),
        }]);
        read(&self.client.ask(request.to_string()).await?)
    }
}

fn read(body: &[u8]) -> Result<Vec<SpentDay>, ProviderError> {
    let error = |code: &str| ProviderError {
        code: code.to_owned(),
        retry_after: None,
        parked: false,
    };
    let answer: Value = serde_json::from_slice(body).map_err(|_| error("unreadable_answer"))?;
    let mut days = BTreeMap::new();
    let usages = usages(&answer);
    if usages.is_empty() {
        return Err(error("no_usage"));
    }
    usages
        .into_iter()
        .for_each(|usage| gather(usage, None, &mut days));
    Ok(days.into_values().collect())
}

/// Every member `usage`, wherever the answer keeps its items.
fn usages(answer: &Value) -> Vec<&Value> {
    match answer {
        Value::Array(items) => items.iter().flat_map(usages).collect(),
        Value::Object(members) => match members.get("usage") {
            Some(usage) => vec![usage],
            None => members.get("data").into_iter().flat_map(usages).collect(),
        },
        _ => vec![],
    }
}

/// Rows with a date, objects whose members are named by dates, and either inside of lists.
fn gather(value: &Value, named: Option<&str>, days: &mut BTreeMap<String, SpentDay>) {
    if days.len() >= MAX_ROWS {
        return;
    }
    match value {
        Value::Array(items) => items.iter().for_each(|item| gather(item, named, days)),
        Value::Object(members) => {
            let date = DATES.iter().find_map(|name| members.get(*name)?.as_str());
            if let Some(date) = date.or(named).filter(|date| is_day(date)) {
                return add(&day(date), members, days);
            }
            for (name, inner) in members {
                gather(inner, Some(name), days);
            }
        }
        _ => {
            if let (Some(date), Some(cost)) = (named.filter(|n| is_day(n)), number(value)) {
                let row = Map::from_iter([("cost".to_owned(), json!(cost))]);
                add(&day(date), &row, days);
            }
        }
    }
}

/// Several rows of one day (one a model, say) are one day.
fn add(date: &str, members: &Map<String, Value>, days: &mut BTreeMap<String, SpentDay>) {
    let figure = |names: &[&str]| names.iter().find_map(|name| number(members.get(*name)?));
    let entry = days.entry(date.to_owned()).or_insert_with(|| SpentDay {
        day: date.to_owned(),
        cost: None,
        requests: None,
    });
    if let Some(cost) = figure(&COSTS) {
        entry.cost = Some(entry.cost.unwrap_or(0.0) + cost);
    }
    if let Some(requests) = figure(&REQUESTS).filter(|n| *n >= 0.0) {
        entry.requests = Some(entry.requests.unwrap_or(0) + requests as u64);
    }
}

fn number(value: &Value) -> Option<f64> {
    let number = value.as_f64().or_else(|| value.as_str()?.parse().ok());
    number.filter(|n| n.is_finite())
}

fn is_day(text: &str) -> bool {
    let form = b"0000-00-00";
    let bytes = text.as_bytes();
    bytes.len() >= 10
        && bytes.iter().zip(form).all(|(b, f)| match f {
            b'0' => b.is_ascii_digit(),
            dash => b == dash,
        })
}

fn day(text: &str) -> String {
    text.chars().take(10).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(usage: Value) -> Vec<SpentDay> {
        let answer = json!({"data": [{"taskType": "accountManagement", "usage": usage}]});
        read(answer.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn days_are_read_in_whatever_form_they_come() {
        let day = |cost, requests| SpentDay {
            day: "2026-01-31".to_owned(),
            cost,
            requests,
        };
        let full = vec![day(Some(4.5), Some(2))];
        let forms = [
            json!([{"date": "2026-01-31", "credits": 4.5, "requests": 2}]),
            json!({"data": [{"day": "2026-01-31T00:00:00Z", "cost": "4.5", "count": 2}]}),
            json!({"2026-01-31": {"totalCost": 4.5, "requestCount": 2}}),
            json!([{"date": "2026-01-31", "model": "a", "cost": 4.0, "requests": 1},
                   {"date": "2026-01-31", "model": "b", "cost": 0.5, "requests": 1}]),
        ];
        for form in forms {
            assert_eq!(of(form.clone()), full, "{form}");
        }
        assert_eq!(of(json!({"2026-01-31": 4.5})), [day(Some(4.5), None)]);
        assert_eq!(of(json!([{"date": "2026-01-31"}])), [day(None, None)]);
    }

    #[test]
    fn an_answer_without_usage_is_none() {
        assert_eq!(of(json!({"total": {"credits": 5}})), []);
        for body in ["{}", "[]", "no", r#"{"data":[{"balance":1}]}"#] {
            assert!(read(body.as_bytes()).is_err(), "{body}");
        }
    }
}
