//! An accepted task: what becomes of each of its results is decided at once, and the clock reveals it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use rand::Rng;
use rand::seq::SliceRandom;
use serde_json::{Map, Value};
use tokio::sync::Notify;
use uuid::Uuid;

use super::clock::Millis;
use super::dice::{Dice, draw, hit};
use super::directive::Overlay;
use super::faults::Faults;
use super::media::{Clip, Media};
use super::setting::Span;
use super::validate::AVATARS;
use super::wire::Kind;
use super::world::{World, held};

/// Without a `ttl`, links live so long (the default is not documented; a week is what one client relies on).
const DEFAULT_TTL_SECONDS: u64 = 7 * 24 * 3600;

#[derive(Debug)]
pub struct Task {
    pub uuid: Uuid,
    pub kind: Kind,
    pub model: String,
    /// As it was sent, secrets in its URLs included: `getTaskDetails` shows it.
    pub request: Map<String, Value>,
    pub accepted_at: Millis,
    pub overlay: Overlay,
    pub webhook: Option<String>,
    pub upload: Option<String>,
    pub include_cost: bool,
    pub ttl_ms: u64,
    pub results: Vec<Outcome>,
    /// All results fail and only the first one's failure is ever told.
    pub one_error: bool,
    /// The first result finishes before the submission is answered.
    pub before_ack: bool,
    /// Each acceptance is a render that is paid for.
    pub accepted: AtomicU32,
    /// Submissions refused because the UUID was known.
    pub conflicts: AtomicU32,
    pub queries: AtomicU32,
}

#[derive(Debug)]
pub struct Outcome {
    pub index: usize,
    pub id: Uuid,
    pub finish_at: Millis,
    pub verdict: Verdict,
    pub media: Media,
    pub seed: u64,
    pub cost: f64,
    pub nsfw: bool,
    pub shows_index: bool,
    pub hides_id: bool,
    link: Mutex<Link>,
    /// Told when the result's callback has had its first try, or was lost. One waits: the submission's answer for
    /// the first result, or the callback of the result before this one.
    pub called_back: Notify,
    pub callbacks_sent: AtomicU32,
    pub callbacks_answered: AtomicU32,
    pub downloads: AtomicU32,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    Success,
    Failure { code: String },
    Stuck,
}

/// Where a result's file is at the moment; a fresh link is the next generation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    pub generation: u32,
    pub born: Millis,
    /// Somebody tried it in vain.
    pub found_dead: bool,
}

impl Task {
    /// Decides the whole future of a valid task.
    pub fn plan(
        world: &World,
        kind: Kind,
        uuid: Uuid,
        request: Map<String, Value>,
        overlay: Overlay,
    ) -> Task {
        let faults = world.faults_with(&overlay);
        let text = |name: &str| request.get(name).and_then(Value::as_str).map(str::to_owned);
        let number = |name: &str| request.get(name).and_then(Value::as_u64);
        let webhook = text("webhookURL");
        let accepted_at = world.clock.now();
        let before_ack =
            webhook.is_some() && world.dice.hits(faults.callback_before_ack, "before-ack", uuid, 0);
        let brief = Brief {
            world,
            faults: &faults,
            task: uuid,
            model: &text("model").unwrap_or_default(),
            extension: kind.extension(text("outputFormat").as_deref()),
            accepted_at,
            before_ack,
        };
        let results = brief.outcomes(number("numberResults").unwrap_or(1) as usize);
        let all_failed = results
            .iter()
            .all(|result| matches!(result.verdict, Verdict::Failure { .. }));
        Task {
            uuid,
            kind,
            model: brief.model.to_owned(),
            accepted_at,
            overlay,
            webhook,
            upload: text("uploadEndpoint"),
            include_cost: request
                .get("includeCost")
                .and_then(Value::as_bool)
                .unwrap_or(false),
            ttl_ms: number("ttl").unwrap_or(DEFAULT_TTL_SECONDS).saturating_mul(1000),
            one_error: all_failed && world.dice.hits(faults.one_error_for_all, "one-error", uuid, 0),
            results,
            before_ack,
            accepted: AtomicU32::new(0),
            conflicts: AtomicU32::new(0),
            queries: AtomicU32::new(0),
            request,
        }
    }

    /// When the last result that ends at all has ended.
    pub fn finished_at(&self) -> Millis {
        let ending = self
            .results
            .iter()
            .filter(|result| result.verdict != Verdict::Stuck);
        ending
            .map(|result| result.finish_at)
            .max()
            .unwrap_or(self.accepted_at)
    }

    /// The next result after this one that calls back at all.
    pub fn caller_after(&self, index: usize) -> Option<&Outcome> {
        let calls = |outcome: &&Outcome| outcome.verdict != Verdict::Stuck && !self.is_silent(outcome.index);
        self.results.iter().skip(index + 1).find(calls)
    }

    /// Whether this result's failure is told as part of the first one's.
    pub fn is_silent(&self, index: usize) -> bool {
        self.one_error && index > 0
    }
}

/// What is known of a task when its results are planned.
struct Brief<'a> {
    world: &'a World,
    faults: &'a Faults,
    task: Uuid,
    model: &'a str,
    extension: &'static str,
    accepted_at: Millis,
    before_ack: bool,
}

impl Brief<'_> {
    fn outcomes(&self, number: usize) -> Vec<Outcome> {
        let verdicts = self.verdicts(number);
        verdicts
            .into_iter()
            .enumerate()
            .map(|(index, verdict)| self.outcome(index, verdict))
            .collect()
    }

    fn verdicts(&self, number: usize) -> Vec<Verdict> {
        let mut rng = self.dice().cast("verdict", self.task, 0);
        let mut verdicts = vec![Verdict::Success; number];
        let mut order: Vec<usize> = (0..number).collect();
        order.shuffle(&mut rng);
        let (failing, sticking) = (self.faults.fail as usize, self.faults.stick as usize);
        for (place, index) in order.iter().enumerate() {
            let by_chance = place >= failing && hit(&mut rng, self.faults.fail_results);
            if place < failing || self.world.struck("fail-results", by_chance) {
                verdicts[*index] = Verdict::Failure {
                    code: draw(&mut rng, &self.faults.fail_with),
                };
            } else if place < failing + sticking || hit(&mut rng, self.faults.stick_results) {
                verdicts[*index] = Verdict::Stuck;
            }
        }
        let unharmed = verdicts.iter().all(|verdict| *verdict == Verdict::Success);
        let one_fails = number > 1 && unharmed && hit(&mut rng, self.faults.fail_one_of_several);
        if self.world.struck("fail-one-of-several", one_fails) {
            verdicts[order[0]] = Verdict::Failure {
                code: draw(&mut rng, &self.faults.fail_with),
            };
        }
        verdicts
    }

    fn outcome(&self, index: usize, verdict: Verdict) -> Outcome {
        let mut rng = self.dice().cast("outcome", self.task, index as u64);
        let default_span = Span(self.world.options.render_ms.clone());
        let span = self.faults.render.as_ref().unwrap_or(&default_span);
        let render_ms = rng.random_range(span.0.clone());
        let at_once = self.before_ack && index == 0;
        let finish_at = self.accepted_at + if at_once { 0 } else { render_ms };
        let id = self.dice().uuid("result-id", self.task, index as u64);
        let clip = self.clip(&mut rng);
        let wanted = self
            .faults
            .video_size
            .map_or(self.world.options.video_size, |size| size.0);
        let price = if hit(&mut rng, self.faults.zero_cost) {
            0.0
        } else {
            price_per_second(self.model)
        };
        Outcome {
            index,
            id,
            finish_at,
            verdict,
            media: Media::new(clip, id, wanted),
            seed: rng.random_range(1..=u64::from(u32::MAX)),
            cost: (clip.seconds.max(1.0) * price * 10_000.0).round() / 10_000.0,
            nsfw: hit(&mut rng, self.faults.nsfw),
            shows_index: hit(&mut rng, self.faults.result_index),
            hides_id: hit(&mut rng, self.faults.omit_result_id),
            link: Mutex::new(Link {
                generation: 0,
                born: finish_at,
                found_dead: false,
            }),
            called_back: Notify::new(),
            callbacks_sent: AtomicU32::new(0),
            callbacks_answered: AtomicU32::new(0),
            downloads: AtomicU32::new(0),
        }
    }

    fn clip(&self, rng: &mut rand::rngs::StdRng) -> &'static Clip {
        let candidates = Clip::by_extension(self.extension);
        let drawn = candidates[rng.random_range(0..candidates.len())];
        let asked = self.faults.clip.as_deref().and_then(Clip::by_name);
        asked.unwrap_or(drawn)
    }

    fn dice(&self) -> Dice {
        self.world.dice
    }
}

/// USD per second of output: the avatar models' list prices, and a round figure for models we do not know.
pub fn price_per_second(model: &str) -> f64 {
    match AVATARS.iter().position(|avatar| *avatar == model) {
        Some(0) => 0.087,
        Some(_) => 0.044,
        None => 0.01,
    }
}

impl Outcome {
    pub fn is_finished(&self, now: Millis) -> bool {
        self.verdict != Verdict::Stuck && now >= self.finish_at
    }

    pub fn link(&self) -> Link {
        *held(&self.link)
    }

    /// The link a query shows: a fresh one where the old one is dead and the provider is in the mood for it. That a link
    /// died early comes out when somebody tries it, or no client would ever meet a dead one.
    pub fn link_for_query(&self, world: &World, task: &Task, faults: &Faults) -> Link {
        let now = world.clock.now();
        let mut link = held(&self.link);
        let fresh = || {
            world.dice.hits(
                faults.fresh_link,
                "fresh-link",
                self.id,
                u64::from(link.generation),
            )
        };
        let is_known = link.found_dead || now.saturating_sub(link.born) >= task.ttl_ms;
        let is_replaced = is_known && self.is_dead(*link, world, task, faults) && fresh();
        if world.struck("fresh-link", is_replaced) {
            *link = Link {
                generation: link.generation + 1,
                born: now,
                found_dead: false,
            };
        }
        *link
    }

    /// Past its `ttl`, counted from completion, or one of the links that die early.
    pub fn is_dead(&self, link: Link, world: &World, task: &Task, faults: &Faults) -> bool {
        let age = world.clock.now().saturating_sub(link.born);
        let dies_early = link.generation == 0 && self.dies_early(world, faults);
        age >= task.ttl_ms || dies_early && age >= faults.dead_link_after.as_millis() as u64
    }

    pub fn tried_in_vain(&self) {
        held(&self.link).found_dead = true;
    }

    /// Whether this result's first link does not live for its `ttl`.
    pub fn dies_early(&self, world: &World, faults: &Faults) -> bool {
        world.dice.hits(faults.dead_link, "dead-link", self.id, 0)
    }

    pub fn url(&self, world: &World, kind: Kind, link: Link) -> String {
        let (noun, folder) = (kind.noun(), kind.folder());
        let shard = self.shard(world, link);
        let extension = self.media.clip.extension;
        format!(
            "{}/{noun}/os/{shard}/ws/5/{folder}/{}.{extension}",
            world.origin, self.id
        )
    }

    /// The part of the path that changes when a link is made anew.
    pub fn shard(&self, world: &World, link: Link) -> String {
        let random = world.dice.uuid("shard", self.id, u64::from(link.generation));
        random.simple().to_string()[..6].to_owned()
    }
}

pub fn bump(counter: &AtomicU32) {
    counter.fetch_add(1, Ordering::Relaxed);
}
