//! `POST /v1`: one URL, arrays of task objects in, one answer out, faults in between.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::AUTHORIZATION;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use rand::rngs::StdRng;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::connection;
use super::dice::{draw, hit};
use super::directive::Overlay;
use super::faults::Faults;
use super::generate::{self, Submission};
use super::query;
use super::setting::Refusal;
use super::utility;
use super::validate;
use super::wire::{Answer, ErrorEntry};
use super::world::World;

type Item = Map<String, Value>;

/// What one task object came to. The status counts only when the whole request has nothing for `data`.
pub struct Part {
    pub answer: Answer,
    pub status: u16,
}

impl Part {
    pub fn fine(item: Value) -> Self {
        Self {
            answer: Answer {
                data: vec![item],
                errors: Vec::new(),
            },
            status: 200,
        }
    }

    pub fn refused(status: u16, errors: Vec<ErrorEntry>) -> Self {
        Self {
            answer: Answer {
                data: Vec::new(),
                errors,
            },
            status,
        }
    }
}

/// A fault of the provider that befalls a whole request.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mishap {
    Cut,
    Refuse(Refusal),
}

/// A request that is well-formed and from someone with a key.
struct Call {
    items: Vec<Item>,
    /// Answer with an authentication item first: the key came in the body.
    greets: bool,
    dry_run: bool,
    /// The switches of the request's own header.
    header: Overlay,
    /// Those, and all that the tasks in it bring along: for what befalls the request as a whole.
    overlay: Overlay,
    /// The task that chance is rolled for.
    subject: Uuid,
    is_submission: bool,
}

pub async fn post(request: HttpRequest, body: Bytes, world: Data<World>) -> HttpResponse {
    let world = world.into_inner();
    let call = match read(&world, &request, &body) {
        Ok(call) => call,
        Err(part) => return written(&part.answer, part.status, false),
    };
    let faults = world.faults_with(&call.overlay);
    match mishap(&world, &call, &faults) {
        Some(Mishap::Cut) => return connection::cut(&request),
        Some(Mishap::Refuse(refusal)) => return connection::refusal(refusal),
        None => {}
    }
    let mut answer = Answer::default();
    let mut status = 200;
    let mut submissions = Vec::new();
    for item in &call.items {
        let part = handle(&world, &call, item, &mut submissions);
        status = status.max(part.status);
        answer.add(part.answer);
    }
    for submission in &submissions {
        answer.add(generate::acknowledged(&world, submission).await);
    }
    if call.greets {
        let session = world.dice.uuid("session", call.subject, 0);
        answer.data.insert(
            0,
            json!({"taskType": "authentication", "connectionSessionUUID": session}),
        );
    }
    let nothing_fine = answer.data.len() == usize::from(call.greets) && !answer.errors.is_empty();
    if nothing_fine && call.greets {
        answer.data.clear();
    }
    leave(
        &world,
        &request,
        &call,
        &faults,
        answer,
        if nothing_fine { status } else { 200 },
        &submissions,
    )
    .await
}

fn read(world: &World, request: &HttpRequest, body: &[u8]) -> Result<Call, Part> {
    let refused = |code: &str, message: String| Part::refused(400, vec![ErrorEntry::new(code, message)]);
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let own = Overlay::read(header("x-simulate").unwrap_or_default())
        .map_err(|fault| refused("invalidSimulateHeader", fault))?;
    let document: Value = serde_json::from_slice(body)
        .map_err(|fault| refused("invalidJson", format!("The body is not JSON: {fault}")))?;
    let Value::Array(elements) = document else {
        return Err(refused(
            "invalidRequestFormat",
            "The body must be an array of task objects.".to_owned(),
        ));
    };
    let mut items = Vec::with_capacity(elements.len());
    for element in elements {
        let Value::Object(item) = element else {
            return Err(refused(
                "invalidRequestFormat",
                "Each task must be an object.".to_owned(),
            ));
        };
        items.push(item);
    }
    let greets = authenticate(world, header(AUTHORIZATION.as_str()), &mut items)?;
    if items.is_empty() && !greets {
        return Err(refused(
            "invalidRequestFormat",
            "The array holds no task.".to_owned(),
        ));
    }
    let overlay = with_overlays_of(world, &items, own.clone())?;
    Ok(Call {
        greets,
        dry_run: header("x-runware-dry-run") == Some("1") || request.query_string().contains("dryRun=1"),
        header: own,
        overlay,
        subject: items.first().and_then(validate::uuid_of).unwrap_or_default(),
        is_submission: items.iter().any(|item| validate::kind_of(item).is_some()),
        items,
    })
}

/// Checks the key in the header or in an authentication element, which is taken out; says whether there was one.
fn authenticate(world: &World, header: Option<&str>, items: &mut Vec<Item>) -> Result<bool, Part> {
    let is_authentication = |item: &Item| item.get("taskType") == Some(&json!("authentication"));
    let element = items.first().filter(|item| is_authentication(item)).cloned();
    let bearer = header
        .and_then(|header| header.strip_prefix("Bearer "))
        .map(str::to_owned);
    let in_body = element
        .as_ref()
        .and_then(|item| item.get("apiKey")?.as_str().map(str::to_owned));
    let key = bearer.or(in_body).unwrap_or_default();
    let is_valid = match &world.options.api_key {
        Some(expected) => *expected == key,
        None => !key.trim().is_empty(),
    };
    if !is_valid {
        world.count(|stats| stats.rejected += items.len() as u64);
        return Err(Part::refused(401, vec![ErrorEntry::invalid_key()]));
    }
    items.retain(|item| !is_authentication(item));
    Ok(element.is_some())
}

/// The header's switches, with those of the prompts and of the tasks that are asked about.
fn with_overlays_of(world: &World, items: &[Item], header: Overlay) -> Result<Overlay, Part> {
    let mut overlay = header;
    for item in items {
        if let Some(prompt) = item.get("positivePrompt").and_then(Value::as_str) {
            let directive = Overlay::in_prompt(prompt).map_err(|fault| {
                let entry = ErrorEntry::new("invalidSimulateDirective", fault)
                    .parameter("positivePrompt", "string")
                    .about(
                        validate::uuid_of(item),
                        item.get("taskType").and_then(Value::as_str),
                    );
                Part::refused(400, vec![entry])
            })?;
            overlay = overlay.and(&directive);
        } else if validate::kind_of(item).is_none()
            && let Some(task) = validate::uuid_of(item).and_then(|uuid| world.task(uuid))
        {
            overlay = overlay.and(&task.overlay);
        }
    }
    Ok(overlay)
}

/// What befalls the request before anything is looked at.
fn mishap(world: &World, call: &Call, faults: &Faults) -> Option<Mishap> {
    let (occasion, cut, refuse, with) = if call.is_submission {
        (
            "submit",
            faults.cut_before_accept,
            faults.refuse_submit,
            &faults.refuse_submit_with,
        )
    } else {
        (
            "query",
            faults.cut_query,
            faults.refuse_query,
            &faults.refuse_query_with,
        )
    };
    let roll = |rng: &mut StdRng| {
        if hit(rng, cut) {
            return Some(Mishap::Cut);
        }
        hit(rng, refuse).then(|| Mishap::Refuse(draw(rng, with)))
    };
    let mishap = world.strike(occasion, call.subject, faults.at_most, roll)?;
    let switch = match (mishap, call.is_submission) {
        (Mishap::Cut, true) => "cut-before-accept",
        (Mishap::Cut, false) => "cut-query",
        (Mishap::Refuse(_), true) => "refuse-submit",
        (Mishap::Refuse(_), false) => "refuse-query",
    };
    world.note(|tally| tally.fault(switch));
    world.count(|stats| match (mishap, call.is_submission) {
        (Mishap::Cut, true) => stats.submissions_cut += 1,
        (Mishap::Cut, false) => stats.queries_cut += 1,
        (Mishap::Refuse(_), true) => stats.submissions_refused += 1,
        (Mishap::Refuse(_), false) => stats.queries_refused += 1,
    });
    Some(mishap)
}

fn handle(world: &Arc<World>, call: &Call, item: &Item, submissions: &mut Vec<Submission>) -> Part {
    let Some(task_type) = item.get("taskType").and_then(Value::as_str) else {
        world.count(|stats| stats.rejected += 1);
        let entry = ErrorEntry::new("missingTaskType", "Required parameter 'taskType' is missing.")
            .parameter("taskType", "string")
            .about(validate::uuid_of(item), None);
        return Part::refused(400, vec![entry]);
    };
    if let Some(kind) = validate::kind_of(item) {
        return match generate::submit(world, kind, item, call.dry_run, &call.header) {
            Ok(submission) => {
                submissions.push(submission);
                Part {
                    answer: Answer::default(),
                    status: 200,
                }
            }
            Err(part) => part,
        };
    }
    match task_type {
        "getResponse" => query::response(world, item, &call.header),
        "getTaskDetails" => query::details(world, item, &call.header),
        _ => utility::handle(world, task_type, item),
    }
}

/// Sends the answer, or loses it on the way.
async fn leave(
    world: &World,
    request: &HttpRequest,
    call: &Call,
    faults: &Faults,
    answer: Answer,
    status: u16,
    submissions: &[Submission],
) -> HttpResponse {
    let at_most = faults.at_most;
    let accepted = submissions.iter().any(Submission::is_new);
    let is_slow = accepted && world.dice.hits(faults.slow_ack, "slow-ack", call.subject, 0);
    if world.struck("slow-ack", is_slow) {
        world.clock.sleep(faults.slow_ack_by).await;
    }
    let cuts = |rng: &mut StdRng| hit(rng, faults.cut_after_accept).then_some(());
    let is_cut = accepted
        && world
            .strike("cut-after-accept", call.subject, at_most, cuts)
            .is_some();
    if world.struck("cut-after-accept", is_cut) {
        world.count(|stats| stats.submissions_cut += 1);
        return connection::cut(request);
    }
    let empty_errors = world
        .dice
        .hits(faults.empty_errors, "empty-errors", call.subject, 0);
    let truncates = |rng: &mut StdRng| hit(rng, faults.truncate_answers).then_some(());
    let is_truncated = world
        .strike("truncate-answer", call.subject, at_most, truncates)
        .is_some();
    if world.struck("truncate-answers", is_truncated) {
        world.count(|stats| match call.is_submission {
            true => stats.submissions_cut += 1,
            false => stats.queries_cut += 1,
        });
        return connection::half(status, &answer.body(empty_errors).to_string());
    }
    // Beside true errors the list is not empty.
    world.struck("empty-errors", empty_errors && answer.errors.is_empty());
    written(&answer, status, empty_errors)
}

fn written(answer: &Answer, status: u16, empty_errors: bool) -> HttpResponse {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    HttpResponse::build(status).json(answer.body(empty_errors))
}

/// How long an answer waits at most for the callback that is to come before it.
pub const BEFORE_ACK_WAIT: Duration = Duration::from_secs(1);
