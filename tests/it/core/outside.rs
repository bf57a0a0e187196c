//! Provider, links and bucket in memory. Each does what it is told and remembers what it was asked.

use async_trait::async_trait;
use bytes::Bytes;
use catchment::adapters::manual_clock::ManualClock;
use catchment::domain::asset::{ObjectKey, SourceUrl};
use catchment::domain::ids::{Digest, ResultId, TaskId};
use catchment::domain::report::{Item, Report, Success};
use catchment::domain::time::Timestamp;
use catchment::ports::blobs::{BlobBody, BlobError, Blobs, Compared, Put};
use catchment::ports::clock::Clock as _;
use catchment::ports::holdings::{Found, Holdings};
use catchment::ports::provider::{Provider, ProviderError, SubmitOutcome};
use catchment::ports::source::{Opened, Resume, SourceBody, SourceError, Sources};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How the provider takes a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mood {
    Fine,
    /// Nobody listens.
    Away,
    /// 429 with `Retry-After`.
    Busy(Duration),
    /// The account is refused.
    NoCredit,
    /// Takes it, and the answer is lost.
    Mute,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Submit,
    Query,
    Details,
}

pub struct Runware {
    clock: Arc<ManualClock>,
    state: Mutex<State>,
}

struct State {
    to_submissions: Mood,
    to_queries: Mood,
    shown: BTreeMap<TaskId, Vec<Item>>,
    /// What only `getTaskDetails` still knows.
    archive: BTreeMap<TaskId, Vec<Item>>,
    bought: BTreeMap<TaskId, u32>,
    calls: Vec<(Timestamp, Call)>,
}

impl Runware {
    pub fn new(clock: Arc<ManualClock>) -> Self {
        let state = State {
            to_submissions: Mood::Fine,
            to_queries: Mood::Fine,
            shown: BTreeMap::new(),
            archive: BTreeMap::new(),
            bought: BTreeMap::new(),
            calls: vec![],
        };
        Self {
            clock,
            state: Mutex::new(state),
        }
    }

    pub fn is(&self, mood: Mood) {
        self.takes_submissions(mood);
        self.takes_queries(mood);
    }

    pub fn takes_submissions(&self, mood: Mood) {
        lock(&self.state).to_submissions = mood;
    }

    pub fn takes_queries(&self, mood: Mood) {
        lock(&self.state).to_queries = mood;
    }

    /// From now on `getResponse` names these items.
    pub fn shows(&self, id: TaskId, items: Vec<Item>) {
        lock(&self.state).shown.insert(id, items);
    }

    pub fn forgets(&self, id: TaskId) {
        lock(&self.state).shown.remove(&id);
    }

    pub fn keeps_in_archive(&self, id: TaskId, items: Vec<Item>) {
        lock(&self.state).archive.insert(id, items);
    }

    pub fn calls(&self) -> Vec<(Timestamp, Call)> {
        lock(&self.state).calls.clone()
    }

    pub fn calls_of(&self, call: Call) -> usize {
        lock(&self.state).calls.iter().filter(|(_, c)| *c == call).count()
    }

    /// How many generations each task was accepted for.
    pub fn bought(&self) -> BTreeMap<TaskId, u32> {
        lock(&self.state).bought.clone()
    }

    fn asked(&self, call: Call) -> Result<MutexGuard<'_, State>, ProviderError> {
        let mut state = lock(&self.state);
        state.calls.push((self.clock.now(), call));
        let refuse = |code: &str, retry_after, parked| ProviderError {
            code: code.to_owned(),
            retry_after,
            parked,
        };
        match state.to_queries {
            Mood::Fine => Ok(state),
            Mood::Away | Mood::Mute => Err(refuse("unreachable", None, false)),
            Mood::Busy(wait) => Err(refuse("http_429", Some(wait), false)),
            Mood::NoCredit => Err(refuse("invalidApiKey", None, true)),
        }
    }
}

#[async_trait]
impl Provider for Runware {
    async fn submit(&self, id: TaskId, _: &str, _: &str) -> SubmitOutcome {
        let mut state = lock(&self.state);
        state.calls.push((self.clock.now(), Call::Submit));
        match state.to_submissions {
            Mood::Fine => {
                *state.bought.entry(id).or_default() += 1;
                SubmitOutcome::Accepted
            }
            Mood::Mute => SubmitOutcome::Unclear {
                code: "timeout".to_owned(),
            },
            Mood::Away => SubmitOutcome::NotAccepted {
                code: "unreachable".to_owned(),
                retry_after: None,
            },
            Mood::Busy(wait) => SubmitOutcome::NotAccepted {
                code: "http_429".to_owned(),
                retry_after: Some(wait),
            },
            Mood::NoCredit => SubmitOutcome::Parked {
                code: "insufficientCredits".to_owned(),
            },
        }
    }

    async fn query(&self, ids: &[TaskId]) -> Result<Vec<Report>, ProviderError> {
        let state = self.asked(Call::Query)?;
        Ok(ids.iter().map(|id| report(state.shown.get(id))).collect())
    }

    async fn details(&self, id: TaskId) -> Result<Option<Report>, ProviderError> {
        let state = self.asked(Call::Details)?;
        let found = state.archive.get(&id).or_else(|| state.shown.get(&id));
        Ok(found.map(|items| report(Some(items))))
    }

    /// Bodies of callbacks are names of results here.
    fn read_callback(&self, _: TaskId, body: &[u8]) -> Report {
        let name = String::from_utf8_lossy(body).into_owned();
        report(Some(&vec![video(&name, &name)]))
    }
}

fn report(items: Option<&Vec<Item>>) -> Report {
    Report {
        items: items.cloned().unwrap_or_default(),
        ..Report::default()
    }
}

/// A finished result under a link.
pub fn video(result: &str, link: &str) -> Item {
    Item::Success(Success {
        result: ResultId::given(result).unwrap(),
        source: SourceUrl(format!("https://vm.runware.ai/{link}.mp4")),
        cost: Some(1.5),
        nsfw: None,
    })
}

/// Every link leads to the same small movie, but the dead ones.
#[derive(Default)]
pub struct Cdn {
    dead: Mutex<BTreeSet<String>>,
    opened: Mutex<Vec<String>>,
}

impl Cdn {
    pub fn dies(&self, link: &str) {
        lock(&self.dead).insert(link.to_owned());
    }

    /// The links that were opened, in order.
    pub fn opened(&self) -> Vec<String> {
        lock(&self.opened).clone()
    }
}

#[async_trait]
impl Sources for Cdn {
    async fn open(&self, url: &SourceUrl, _: Option<&Resume>) -> Result<Opened, SourceError> {
        let link = url
            .0
            .rsplit('/')
            .next()
            .unwrap()
            .trim_end_matches(".mp4")
            .to_owned();
        lock(&self.opened).push(link.clone());
        if lock(&self.dead).contains(&link) {
            return Err(SourceError::Dead { status: 404 });
        }
        let movie = movie();
        Ok(Opened {
            start: 0,
            total: Some(movie.len() as u64),
            etag: None,
            content_type: Some("video/mp4".to_owned()),
            body: Box::new(Movie(Some(Bytes::from(movie)))),
        })
    }
}

struct Movie(Option<Bytes>);

#[async_trait]
impl SourceBody for Movie {
    async fn chunk(&mut self) -> Result<Option<Bytes>, SourceError> {
        Ok(self.0.take())
    }
}

/// The smallest movie that is whole: a header, one track, its samples.
fn movie() -> Vec<u8> {
    let boxed = |kind: &[u8; 4], body: &[u8]| -> Vec<u8> {
        [&(8 + body.len() as u32).to_be_bytes(), &kind[..], body].concat()
    };
    let mvhd = [
        &[1, 0, 0, 0],
        &[0; 16][..],
        &600u32.to_be_bytes(),
        &9000u64.to_be_bytes(),
        &[0; 80],
    ]
    .concat();
    let unit = [1u32 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30]
        .map(u32::to_be_bytes)
        .concat();
    let size = [1080u32 << 16, 1920 << 16].map(u32::to_be_bytes).concat();
    let tkhd = [&[1, 0, 0, 0], &[0; 48][..], &unit, &size].concat();
    let hdlr = [&[0; 8][..], b"vide", &[0; 13]].concat();
    let trak = [boxed(b"tkhd", &tkhd), boxed(b"mdia", &boxed(b"hdlr", &hdlr))].concat();
    let moov = [boxed(b"mvhd", &mvhd), boxed(b"trak", &trak)].concat();
    [
        boxed(b"ftyp", b"isom\0\0\x02\0isom"),
        boxed(b"moov", &moov),
        boxed(b"mdat", &[7; 16]),
    ]
    .concat()
}

/// Create-only, with the digests of what it holds.
#[derive(Default)]
pub struct Bucket {
    down: AtomicBool,
    refused: AtomicU32,
    /// A key with this in it is never taken.
    poison: Mutex<Option<String>>,
    objects: Mutex<BTreeMap<String, (u64, Digest)>>,
    order: Mutex<Vec<String>>,
}

impl Bucket {
    pub fn down(&self) {
        self.down.store(true, Ordering::Relaxed);
    }

    pub fn up(&self) {
        self.down.store(false, Ordering::Relaxed);
    }

    pub fn refuses(&self, part_of_key: &str) {
        *lock(&self.poison) = Some(part_of_key.to_owned());
    }

    /// Requests it did not answer well.
    pub fn refused(&self) -> u32 {
        self.refused.load(Ordering::Relaxed)
    }

    /// The keys in the order in which they were created.
    pub fn order(&self) -> Vec<String> {
        lock(&self.order).clone()
    }

    fn away(&self) -> Result<(), BlobError> {
        match self.down.load(Ordering::Relaxed) {
            false => Ok(()),
            true => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                Err(unavailable())
            }
        }
    }
}

fn unavailable() -> BlobError {
    BlobError::Unavailable {
        code: "http_503".to_owned(),
        source: None,
    }
}

#[async_trait]
impl Holdings for Bucket {
    async fn find(&self, _: &ObjectKey) -> Result<Option<Found>, BlobError> {
        Ok(None)
    }

    async fn digest(&self, _: &ObjectKey) -> Result<Option<Digest>, BlobError> {
        Ok(None)
    }
}

#[async_trait]
impl Blobs for Bucket {
    fn bucket(&self) -> &str {
        "videos"
    }

    async fn put_stream(&self, put: Put, mut body: BlobBody) -> Result<(), BlobError> {
        let poisoned = lock(&self.poison)
            .as_ref()
            .is_some_and(|part| put.key.0.contains(part));
        self.away()?;
        if poisoned {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(unavailable());
        }
        if lock(&self.objects).contains_key(&put.key.0) {
            return Err(BlobError::Exists);
        }
        let mut whole = vec![];
        while let Some(chunk) = body.recv().await {
            whole.extend_from_slice(&chunk.map_err(|_| BlobError::Abandoned)?);
        }
        if Some(whole.len() as u64) != put.size_bytes {
            return Err(BlobError::Abandoned);
        }
        lock(&self.objects).insert(put.key.0.clone(), (whole.len() as u64, Digest::of(&whole)));
        lock(&self.order).push(put.key.0);
        Ok(())
    }

    async fn compare(
        &self,
        key: &ObjectKey,
        size_bytes: u64,
        sha256: &Digest,
    ) -> Result<Compared, BlobError> {
        self.away()?;
        Ok(match lock(&self.objects).get(&key.0) {
            None => Compared::Absent,
            Some(found) if *found == (size_bytes, *sha256) => Compared::Same,
            Some(_) => Compared::Other,
        })
    }

    async fn probe(&self) -> Result<(), BlobError> {
        self.away()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
