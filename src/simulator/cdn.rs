//! The CDN: real files under `/video/os/<shard>/ws/5/vi/<videoUUID>.<ext>` that die with their links.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix_web::body::{BodySize, BodyStream, BoxBody, MessageBody, SizedStream};
use actix_web::http::header::{
    ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, IF_RANGE, LOCATION, RANGE,
};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::Stream;
use rand::Rng;
use rand::rngs::StdRng;
use uuid::Uuid;

use super::connection;
use super::dice::{draw, hit};
use super::download::{Plan, stream};
use super::faults::Faults;
use super::setting::Refusal;
use super::task::{Outcome, Task, Verdict, bump};
use super::world::World;

/// What goes wrong with one download.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Spoil {
    Refuse(Refusal),
    Redirect,
    Html,
    Garbage,
    WrongRange,
    /// After so many bytes of the answer: the connection breaks, the body ends properly, or it pauses.
    Cut(u64),
    Truncate(u64),
    Stall(u64),
    /// Content-Length differs by so many bytes from the truth.
    Length(i64),
}

impl Spoil {
    /// The switch whose chance it is.
    fn switch(self) -> &'static str {
        match self {
            Self::Refuse(_) => "refuse-download",
            Self::Redirect => "redirect-downloads",
            Self::Html => "html-downloads",
            Self::Garbage => "garbage-downloads",
            Self::WrongRange => "wrong-range",
            Self::Cut(_) => "cut-downloads",
            Self::Truncate(_) => "truncate-downloads",
            Self::Stall(_) => "stall-downloads",
            Self::Length(_) => "wrong-lengths",
        }
    }
}

/// Why there is nothing under a link.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Gone {
    Unfinished,
    Late,
    /// Replaced, or past its life.
    Dead,
}

/// A file that can be had, and the request for it.
struct Visit<'a> {
    request: &'a HttpRequest,
    world: Arc<World>,
    task: Arc<Task>,
    index: usize,
    faults: Faults,
}

pub async fn get(request: HttpRequest, world: Data<World>) -> HttpResponse {
    let world = world.into_inner();
    let Some((task, index)) = named_file(request.path()).and_then(|id| world.result(id)) else {
        return not_found();
    };
    let faults = world.faults_with(&task.overlay);
    let visit = Visit {
        request: &request,
        world,
        task,
        index,
        faults,
    };
    match visit.gone() {
        Some(gone) => visit.turn_away(gone),
        None => visit.answer(),
    }
}

/// The id in the last part of the path.
fn named_file(path: &str) -> Option<Uuid> {
    let (stem, _) = path.rsplit('/').next()?.split_once('.')?;
    stem.parse().ok()
}

fn not_found() -> HttpResponse {
    HttpResponse::NotFound()
        .content_type("text/plain")
        .body("not found")
}

impl Visit<'_> {
    fn outcome(&self) -> &Outcome {
        &self.task.results[self.index]
    }

    /// Why there is nothing under this link, if so.
    fn gone(&self) -> Option<Gone> {
        let (world, faults, outcome) = (&self.world, &self.faults, self.outcome());
        let now = world.clock.now();
        if outcome.verdict != Verdict::Success || !outcome.is_finished(now) {
            return Some(Gone::Unfinished);
        }
        let late = world.dice.hits(faults.late_file, "late-file", outcome.id, 0);
        if late && now < outcome.finish_at + faults.late_file_by.as_millis() as u64 {
            return Some(Gone::Late);
        }
        let link = outcome.link();
        let is_current = self
            .request
            .path()
            .contains(&format!("/{}/", outcome.shard(world, link)));
        let is_alive = is_current && !outcome.is_dead(link, world, &self.task, faults);
        (!is_alive).then_some(Gone::Dead)
    }

    fn turn_away(&self, gone: Gone) -> HttpResponse {
        let (world, faults, outcome) = (&self.world, &self.faults, self.outcome());
        world.count(|stats| stats.downloads_dead += 1);
        world.struck("late-file", gone == Gone::Late);
        if gone != Gone::Dead {
            return connection::refusal(Refusal::Status(404));
        }
        outcome.tried_in_vain();
        world.struck("dead-link", outcome.dies_early(world, faults));
        let mut rng = world.dice.cast("dead-status", outcome.id, 0);
        connection::refusal(draw(&mut rng, &faults.dead_status))
    }

    fn answer(self) -> HttpResponse {
        let size = self.outcome().media.size;
        let Some((start, end)) = self.range(size) else {
            let range = (CONTENT_RANGE, format!("bytes */{size}"));
            return HttpResponse::RangeNotSatisfiable().insert_header(range).finish();
        };
        let is_part = self.is_ranged();
        if self.request.method() == Method::HEAD {
            return self.send(Plan::whole(start, end), is_part, (start, end), Some(end - start));
        }
        let spoil = self.spoil(start, end, is_part);
        if let Some(spoil) = spoil {
            self.world.count(|stats| stats.downloads_spoiled += 1);
            self.world.note(|tally| tally.fault(spoil.switch()));
        }
        match spoil {
            Some(Spoil::Refuse(refusal)) => return connection::refusal(refusal),
            Some(Spoil::Redirect) => return redirect(self.request),
            Some(Spoil::Html) => return html(),
            _ => {}
        }
        self.world.count(|stats| stats.downloads += 1);
        self.note_traits();
        bump(&self.outcome().downloads);
        let mut plan = Plan::whole(start, end);
        plan.rate = self.faults.download_rate.map(|rate| rate.0);
        let mut declared = (!self.has(self.faults.no_length, "no-length")).then_some(end - start);
        match spoil {
            Some(Spoil::Garbage) => plan.is_garbage = true,
            Some(Spoil::Cut(after)) => plan.cut_after(after),
            Some(Spoil::Stall(after)) => plan.stall_after(after, self.faults.stall_for),
            Some(Spoil::Truncate(after)) => {
                plan.stop = plan.stop.min(plan.at.saturating_add(after));
                declared = None;
            }
            Some(Spoil::Length(by)) => declared = Some(plan.misdeclare(by)),
            Some(Spoil::WrongRange) => return self.send_shifted(plan, end, declared),
            _ => {}
        }
        self.send(plan, is_part, (start, end), declared)
    }

    /// A consistent answer to another range than the one asked for.
    fn send_shifted(self, mut plan: Plan, end: u64, declared: Option<u64>) -> HttpResponse {
        let start = if plan.at == 0 { 1.min(end - 1) } else { plan.at / 2 };
        plan.at = start;
        let declared = declared.map(|_| end - start);
        self.send(plan, true, (start, end), declared)
    }

    fn send(self, plan: Plan, is_part: bool, range: (u64, u64), declared: Option<u64>) -> HttpResponse {
        let media = &self.outcome().media;
        let mut answer = HttpResponse::build(if is_part {
            StatusCode::PARTIAL_CONTENT
        } else {
            StatusCode::OK
        });
        answer.insert_header((CONTENT_TYPE, media.clip.content_type));
        if is_part {
            let text = format!("bytes {}-{}/{}", range.0, range.1 - 1, media.size);
            answer.insert_header((CONTENT_RANGE, text));
        }
        if !self.has(self.faults.no_range, "no-range") {
            answer.insert_header((ACCEPT_RANGES, "bytes"));
        }
        if let Some(etag) = self.etag() {
            answer.insert_header((ETAG, etag));
        }
        answer.body(body(stream(self.world, self.task, self.index, plan), declared))
    }

    fn etag(&self) -> Option<String> {
        if self.has(self.faults.no_etag, "no-etag") {
            return None;
        }
        let outcome = self.outcome();
        let changes = self.has(self.faults.changing_etag, "changing-etag");
        let version = if changes {
            outcome.downloads.load(Ordering::Relaxed)
        } else {
            0
        };
        Some(format!("\"{}-{version}\"", outcome.id.simple()))
    }

    fn note_traits(&self) {
        let faults = &self.faults;
        for (switch, chance) in [
            ("no-length", faults.no_length),
            ("no-range", faults.no_range),
            ("no-etag", faults.no_etag),
            ("changing-etag", faults.changing_etag),
        ] {
            self.world.struck(switch, self.has(chance, switch));
        }
    }

    /// A property that a result's file has or lacks for good.
    fn has(&self, chance: f64, what: &str) -> bool {
        self.world.dice.hits(chance, what, self.outcome().id, 0)
    }

    /// Whether a range is asked for, allowed, and still about the same entity.
    fn is_ranged(&self) -> bool {
        let header = |name: HeaderName| self.request.headers().get(name)?.to_str().ok();
        let same_entity = header(IF_RANGE).is_none_or(|validator| self.etag().as_deref() == Some(validator));
        let asked =
            header(RANGE).is_some_and(|range| parsed_range(range, self.outcome().media.size).is_some());
        asked && same_entity && !self.has(self.faults.no_range, "no-range")
    }

    /// First and one past the last byte to send; `None` if the range lies outside the file.
    fn range(&self, size: u64) -> Option<(u64, u64)> {
        if !self.is_ranged() {
            return Some((0, size));
        }
        let range = self.request.headers().get(RANGE)?.to_str().ok()?;
        parsed_range(range, size)?.ok()
    }

    fn spoil(&self, start: u64, end: u64, is_part: bool) -> Option<Spoil> {
        let (faults, length) = (&self.faults, end - start);
        let roll = |rng: &mut StdRng| {
            if hit(rng, faults.refuse_download) {
                return Some(Spoil::Refuse(draw(rng, &faults.refuse_download_with)));
            }
            let is_redirected = self.request.query_string().contains("moved");
            if !is_redirected && hit(rng, faults.redirect_downloads) {
                return Some(Spoil::Redirect);
            }
            whole_spoil(faults, rng, is_part).or_else(|| body_spoil(faults, rng, length))
        };
        self.world
            .strike("download", self.outcome().id, faults.at_most, roll)
    }
}

fn whole_spoil(faults: &Faults, rng: &mut StdRng, is_part: bool) -> Option<Spoil> {
    if hit(rng, faults.html_downloads) {
        return Some(Spoil::Html);
    }
    if hit(rng, faults.garbage_downloads) {
        return Some(Spoil::Garbage);
    }
    (is_part && hit(rng, faults.wrong_range)).then_some(Spoil::WrongRange)
}

fn body_spoil(faults: &Faults, rng: &mut StdRng, length: u64) -> Option<Spoil> {
    let somewhere = |chance: f64, always: Option<u64>, rng: &mut StdRng| {
        let by_chance = hit(rng, chance).then(|| rng.random_range(0..length.max(1)));
        always.or(by_chance)
    };
    if let Some(after) = somewhere(
        faults.cut_downloads,
        faults.cut_download.map(|bytes| bytes.0),
        rng,
    ) {
        return Some(Spoil::Cut(after));
    }
    let always = faults.truncate_download.map(|bytes| bytes.0);
    if let Some(after) = somewhere(faults.truncate_downloads, always, rng) {
        return Some(Spoil::Truncate(after));
    }
    let always = faults.stall_download.map(|bytes| bytes.0);
    if let Some(after) = somewhere(faults.stall_downloads, always, rng) {
        return Some(Spoil::Stall(after));
    }
    let by_chance = hit(rng, faults.wrong_lengths).then(|| match rng.random_bool(0.5) {
        true => rng.random_range(1..=1000),
        false => rng.random_range(-1000..=-1),
    });
    faults.length_off.or(by_chance).map(Spoil::Length)
}

/// `None`: not a single byte range, so it is ignored. `Some(Err)`: a range outside the file.
fn parsed_range(header: &str, size: u64) -> Option<Result<(u64, u64), ()>> {
    let (first, last) = header.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (first, last) {
        ("", suffix) => (size.saturating_sub(suffix.parse().ok()?), size),
        (first, "") => (first.parse().ok()?, size),
        (first, last) => (
            first.parse().ok()?,
            last.parse::<u64>().ok()?.saturating_add(1).min(size),
        ),
    };
    Some(if range.0 < range.1 { Ok(range) } else { Err(()) })
}

fn redirect(request: &HttpRequest) -> HttpResponse {
    HttpResponse::Found()
        .insert_header((LOCATION, format!("{}?moved", request.path())))
        .finish()
}

fn html() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html")
        .body("<html><body><h1>Please wait</h1></body></html>")
}

fn body(stream: impl Stream<Item = io::Result<Bytes>> + 'static, declared: Option<u64>) -> BoxBody {
    match declared {
        Some(size) => BoxBody::new(SizedStream::new(size, Box::pin(stream))),
        None => {
            let body = BodyStream::new(Box::pin(stream));
            debug_assert_eq!(body.size(), BodySize::Stream);
            BoxBody::new(body)
        }
    }
}
