//! What a submission came to, and whether a query was answered. The one rule behind the table: `NotAccepted`,
//! `Parked` and `Refused` only where the provider cannot have taken the task; every remaining doubt is `Unclear`,
//! and is asked about before anything is sent again.

use super::codes::Family;
use super::map::MAX_ROWS;
use super::wire::{Message, Owner, Row, RowError};
use super::wording;
use crate::domain::ids::TaskId;
use crate::ports::provider::{ProviderError, SubmitOutcome};
use std::time::Duration;

/// An HTTP answer, read as far as it came.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<Duration>,
    pub body: Result<Vec<u8>, Broken>,
}

/// Why there is no answer, or only the head of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// No connection was made: nothing can have been sent.
    Unreachable,
    Timeout,
    /// The connection ended with the answer unfinished.
    Lost,
    TooLarge,
}

impl Broken {
    /// Stable.
    pub fn code(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Lost => "connection_lost",
            Self::TooLarge => "answer_too_large",
        }
    }
}

/// Whether the account, not the task, is the trouble. A 403 that only speaks of a right may be about one model.
pub fn parks(status: u16, family: Family) -> bool {
    match family {
        Family::Account | Family::Quota => true,
        Family::Permission => status != 403,
        _ => matches!(status, 401 | 402),
    }
}

/// A document that is no JSON object: nothing was sent, and sending it later would not help.
pub fn unsendable() -> SubmitOutcome {
    SubmitOutcome::Refused {
        code: "unreadable_document".to_owned(),
        message: "the stored task is not a JSON object".to_owned(),
        content_policy: false,
    }
}

/// The provider asked everybody to wait, and so much is left of it: nothing was sent.
pub fn not_sent(left: Duration) -> SubmitOutcome {
    SubmitOutcome::NotAccepted {
        code: HELD_BACK.to_owned(),
        retry_after: Some(left),
    }
}

/// The same of a query.
pub fn held_back(left: Duration) -> ProviderError {
    ProviderError {
        code: HELD_BACK.to_owned(),
        retry_after: Some(left),
        parked: false,
    }
}

const HELD_BACK: &str = "asked_to_wait";

/// A submission without an answer.
pub fn unanswered(broken: Broken) -> SubmitOutcome {
    let code = broken.code().to_owned();
    match broken {
        Broken::Unreachable => SubmitOutcome::NotAccepted {
            code,
            retry_after: None,
        },
        _ => SubmitOutcome::Unclear { code },
    }
}

/// A submission that was answered.
pub fn submitted(id: TaskId, answer: &Answer) -> SubmitOutcome {
    let message = match &answer.body {
        Ok(body) => Message::parse(body, MAX_ROWS),
        Err(broken) => return by_status_alone(answer, *broken),
    };
    // One task per request: an error that names no task is this one's.
    let message = message.unwrap_or_else(unreadable);
    let is_own = |row: &&Row| matches!(row.owner(), Owner::Unnamed) || row.owner() == Owner::Task(id);
    let errors: Vec<RowError> = message
        .rows
        .iter()
        .filter(is_own)
        .filter_map(Row::error)
        .collect();
    let acknowledged = message
        .rows
        .iter()
        .filter(is_own)
        .any(|row| row.error().is_none());
    let empty_ack = message.has_data && message.rows.is_empty() && !message.odd;

    let errors = Errors(errors);
    let ok = (200..300).contains(&answer.status);
    if errors.of(Family::Conflict).is_some() {
        SubmitOutcome::Conflict
    } else if ok && (acknowledged || empty_ack) {
        SubmitOutcome::Accepted
    } else if let Some(parked) = errors.find(|family| parks(answer.status, family)) {
        SubmitOutcome::Parked {
            code: code_of(Some(parked), answer.status),
        }
    } else if ok {
        errors.judged_by_code(answer)
    } else {
        errors.judged_by_status(answer)
    }
}

fn unreadable() -> Message {
    Message {
        odd: true,
        ..Message::default()
    }
}

/// The head came whole, the body did not: what it might have said of an earlier acceptance is lost with it.
fn by_status_alone(answer: &Answer, broken: Broken) -> SubmitOutcome {
    match answer.status {
        401 | 402 | 429 | 503 => Errors(vec![]).judged_by_status(answer),
        _ => SubmitOutcome::Unclear {
            code: broken.code().to_owned(),
        },
    }
}

/// The errors an answer holds for the task that was sent.
struct Errors(Vec<RowError>);

impl Errors {
    fn find(&self, wanted: impl Fn(Family) -> bool) -> Option<&RowError> {
        self.0.iter().find(|e| wanted(Family::of(&e.code)))
    }

    fn of(&self, family: Family) -> Option<&RowError> {
        self.find(|f| f == family)
    }

    /// Errors under a 2xx. Families that speak of work under way, and codes nobody knows, leave it unclear.
    fn judged_by_code(&self, answer: &Answer) -> SubmitOutcome {
        let unclear = |family| {
            !matches!(
                family,
                Family::Rate | Family::Safety | Family::Validation | Family::NotFound
            )
        };
        if self.0.is_empty() {
            SubmitOutcome::Unclear {
                code: "unreadable_answer".to_owned(),
            }
        } else if let Some(error) = self.find(unclear) {
            SubmitOutcome::Unclear {
                code: code_of(Some(error), answer.status),
            }
        } else {
            self.not_accepted(answer)
        }
    }

    fn judged_by_status(&self, answer: &Answer) -> SubmitOutcome {
        let code = code_of(self.0.first(), answer.status);
        match answer.status {
            401 | 402 => SubmitOutcome::Parked { code },
            // 301, 307 and 308 ask for the same request elsewhere: the operator's base URL is out of date. 302 and
            // 303 may follow work done.
            429 | 503 | 301 | 307 | 308 => SubmitOutcome::NotAccepted {
                code,
                retry_after: answer.retry_after,
            },
            408 => SubmitOutcome::Unclear { code },
            400..=499 => self.not_accepted(answer),
            _ => SubmitOutcome::Unclear { code },
        }
    }

    /// Certainly not: for now, when it was too much at once; else for ever.
    fn not_accepted(&self, answer: &Answer) -> SubmitOutcome {
        if let Some(error) = self.of(Family::Rate) {
            return SubmitOutcome::NotAccepted {
                code: code_of(Some(error), answer.status),
                retry_after: answer.retry_after,
            };
        }
        let safety = self.of(Family::Safety);
        let told = safety.or(self.0.first());
        SubmitOutcome::Refused {
            code: code_of(told, answer.status),
            message: told.map_or_else(String::new, |e| wording::message(&e.message)),
            content_policy: safety.is_some(),
        }
    }
}

/// The body of a query that was answered. A 404 whose errors all say that there is no such task is an answer too.
///
/// # Errors
/// A refused or broken query says nothing about any task.
pub fn queried(answer: Answer) -> Result<Vec<u8>, ProviderError> {
    let Answer {
        status,
        retry_after,
        body,
    } = answer;
    let fault = |code: String, parked| ProviderError {
        code,
        retry_after,
        parked,
    };
    let body = match body {
        Ok(body) => body,
        Err(broken) if (200..300).contains(&status) => return Err(fault(broken.code().to_owned(), false)),
        Err(_) => return Err(fault(code_of(None, status), parks(status, Family::Unknown))),
    };
    if (200..300).contains(&status) {
        return Ok(body);
    }
    let message = Message::parse(&body, MAX_ROWS).unwrap_or_default();
    let errors = Errors(message.rows.iter().filter_map(Row::error).collect());
    let no_such_task = |family| matches!(family, Family::NoTask | Family::NotFound);
    if status == 404 && !errors.0.is_empty() && errors.find(|f| !no_such_task(f)).is_none() {
        return Ok(body);
    }
    let parked = errors.find(|family| parks(status, family));
    let code = code_of(parked.or(errors.0.first()), status);
    Err(fault(code, parked.is_some() || parks(status, Family::Unknown)))
}

/// A query without an answer.
pub fn unasked(broken: Broken) -> ProviderError {
    ProviderError {
        code: broken.code().to_owned(),
        retry_after: None,
        parked: false,
    }
}

/// The provider's own word, else the status.
fn code_of(error: Option<&RowError>, status: u16) -> String {
    let named = error.and_then(|e| wording::code(&e.code));
    named.unwrap_or_else(|| format!("http_{status}"))
}
