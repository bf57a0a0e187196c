//! The bytes on their way: one chunk is always held back, so that the upload can be completed or abandoned with all
//! of it known.

use super::ending::{self, Follows};
use super::lending::Lending;
use super::{Archive, Hold, Job};
use crate::crash_point;
use crate::domain::asset::{Asset, Intent, ObjectKey, SourceUrl};
use crate::domain::container::{self, ContainerCheck, Expected, Finding, Media, NotMedia};
use crate::domain::file::NotStored;
use crate::domain::ids::Digest;
use crate::domain::task::Task;
use crate::ports::blobs::{BlobBody, BlobError, BodyAbandoned, DigestToCome, Put};
use crate::ports::source::{Opened, Resume, SourceBody, SourceError};
use crate::ports::store::StoreError;
use bytes::{Bytes, BytesMut};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

/// Chunks between source and bucket; what a copy holds in all is bounded by what is lent.
const CHUNKS_IN_FLIGHT: usize = 1;

/// Breaks of one source bridged in one try; after that the try ends and back-off takes over.
const MAX_BRIDGES: u32 = 5;

/// Object metadata is sent in headers: what they cannot carry as it is, and the escape itself.
const META: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'"').add(b'\\');

pub(super) struct Flow {
    url: SourceUrl,
    body: Box<dyn SourceBody>,
    total: Option<u64>,
    etag: Option<String>,
    /// What the first bytes suggest.
    kind: Option<&'static str>,
    bridges: u32,
    hash: Sha256,
    check: ContainerCheck,
    read: u64,
    max: u64,
    /// Keep the bytes even if nobody understands the container, or says where they end.
    unverified: bool,
    /// By the length that was declared, or what the source said when it was asked for more.
    end_is_known: bool,
}

/// How the upload ended.
pub(super) enum Streamed {
    /// Every byte was sent and the store agreed; still to be verified.
    Sent(Intent),
    /// The source or its content ended it: no object came of it.
    Abandoned(NotStored),
    /// The store ended it, before (`None`) or after all was known of the bytes.
    Interrupted {
        intent: Option<Intent>,
        error: BlobError,
    },
}

enum Pumped {
    Released(Intent),
    Abandoned(NotStored),
    /// The upload took no more: it has ended, and its own answer says why.
    UploadClosed,
}

impl Flow {
    pub(super) async fn open(
        ctx: &Archive<'_>,
        task: &Task,
        asset: &Asset,
        unverified: bool,
    ) -> Result<Self, NotStored> {
        let opened = ctx
            .sources
            .open(&asset.source, None)
            .await
            .map_err(source_trouble)?;
        let Opened {
            total, etag, body, ..
        } = opened;
        match total {
            Some(0) => return Err(NotStored::NotAFile { what: "empty" }),
            Some(size_bytes) if size_bytes > ctx.max_object_bytes => {
                return Err(NotStored::TooLarge { size_bytes });
            }
            _ => {}
        }
        Ok(Self {
            check: ContainerCheck::new(expected(task, &asset.source)),
            url: asset.source.clone(),
            body,
            total,
            etag,
            kind: None,
            bridges: 0,
            hash: Sha256::new(),
            read: 0,
            max: ctx.max_object_bytes,
            unverified,
            end_is_known: true,
        })
    }

    pub(super) fn read_bytes(&self) -> u64 {
        self.read
    }

    /// Source and upload side by side.
    pub(super) async fn stream(
        &mut self,
        ctx: &Archive<'_>,
        job: &Job,
        task: &Task,
        key: &ObjectKey,
    ) -> Result<Streamed, StoreError> {
        let first = match self.first_chunk(ctx).await {
            Ok(first) => first,
            Err(why) => return Ok(Streamed::Abandoned(why)),
        };
        let told = DigestToCome::default();
        let put = Put {
            key: key.clone(),
            size_bytes: self.total,
            content_type: self.content_type(key).to_owned(),
            metadata: metadata(task, job),
            sha256: Some(told.clone()),
        };
        let (sender, receiver): (_, BlobBody) = mpsc::channel(CHUNKS_IN_FLIGHT);
        let described = Described {
            key: key.clone(),
            content_type: put.content_type.clone(),
            told,
        };
        let upload = ctx.blobs.put_stream(put, receiver);
        let (uploaded, pumped) = tokio::join!(upload, self.pump(ctx, job, &described, first, sender));
        Ok(match (uploaded, pumped?) {
            (_, Pumped::Abandoned(why)) => Streamed::Abandoned(why),
            (Ok(()), Pumped::Released(intent)) => Streamed::Sent(intent),
            (Err(error), Pumped::Released(intent)) => Streamed::Interrupted {
                intent: Some(intent),
                error,
            },
            (Err(error), Pumped::UploadClosed) => Streamed::Interrupted { intent: None, error },
            // A store that says yes to half a body: believe only the look that follows at the next try.
            (Ok(()), Pumped::UploadClosed) => {
                let code = "early_answer".to_owned();
                Streamed::Interrupted {
                    intent: None,
                    error: BlobError::Unavailable { code, source: None },
                }
            }
        })
    }

    /// Read before the upload starts, so that a page of HTML never opens one and the content type is known.
    async fn first_chunk(&mut self, ctx: &Archive<'_>) -> Result<Bytes, NotStored> {
        let Some(first) = self.next(ctx).await? else {
            return Err(NotStored::NotAFile { what: "empty" });
        };
        let first = self.at_least_a_head(ctx, first).await?;
        self.kind = container::likely_type(&first);
        match self.hopeless() {
            Some(why) => Err(why),
            None => Ok(first),
        }
    }

    /// A network read may hold a few bytes only: too few to tell a type by.
    async fn at_least_a_head(&mut self, ctx: &Archive<'_>, first: Bytes) -> Result<Bytes, NotStored> {
        if first.len() >= container::HEAD_BYTES {
            return Ok(first);
        }
        let mut head = BytesMut::from(first);
        while head.len() < container::HEAD_BYTES {
            match self.next(ctx).await? {
                Some(more) => head.extend_from_slice(&more),
                None => break,
            }
        }
        Ok(head.freeze())
    }

    /// By the first bytes, else by the key's extension.
    fn content_type(&self, key: &ObjectKey) -> &'static str {
        self.kind.unwrap_or_else(|| type_of_extension(key))
    }

    async fn pump(
        &mut self,
        ctx: &Archive<'_>,
        job: &Job,
        described: &Described,
        first: Bytes,
        upload: mpsc::Sender<Result<Bytes, BodyAbandoned>>,
    ) -> Result<Pumped, StoreError> {
        let (mut withheld, lending) = (first, Lending::new());
        loop {
            let place = tokio::select! {
                biased;
                place = lending.place() => place,
                // An HTTP client may keep what it was given for as long as its peer is stuck.
                () = upload.closed() => return Ok(Pumped::UploadClosed),
            };
            let next = match self.next(ctx).await {
                Ok(next) => next,
                Err(why) => return Ok(abandon(&upload, why).await),
            };
            let Some(chunk) = next else { break };
            if let Some(why) = self.hopeless() {
                return Ok(abandon(&upload, why).await);
            }
            if upload
                .send(Ok(std::mem::replace(&mut withheld, place.lend(chunk))))
                .await
                .is_err()
            {
                return Ok(Pumped::UploadClosed);
            }
        }
        let intent = match self.intent(described) {
            Ok(intent) => intent,
            Err(why) => return Ok(abandon(&upload, why).await),
        };
        crash_point!("archive.before_intent");
        let now = ctx.clock.now();
        let noted = job
            .write(ctx, Hold::Keep, |file| {
                file.intends(&job.asset.result, intent.clone(), now)
            })
            .await;
        if let Err(lost) = noted {
            let _ = upload.send(Err(BodyAbandoned)).await; // closed is as good
            return Err(lost);
        }
        crash_point!("archive.before_release");
        let _ = described.told.set(intent.sha256); // a copy tells it once
        let _ = upload.send(Ok(withheld)).await; // an upload that has ended already says why itself
        Ok(Pumped::Released(intent))
    }

    /// The rest of the bytes, for their digest alone.
    pub(super) async fn drain(&mut self, ctx: &Archive<'_>, key: &ObjectKey) -> Result<Intent, NotStored> {
        while self.next(ctx).await?.is_some() {}
        let content_type = self.content_type(key).to_owned();
        self.intent(&Described {
            key: key.clone(),
            content_type,
            told: DigestToCome::default(),
        })
    }

    /// The next bytes, counted, hashed and judged; a break is bridged where the source can prove nothing changed.
    async fn next(&mut self, ctx: &Archive<'_>) -> Result<Option<Bytes>, NotStored> {
        loop {
            match self.body.chunk().await {
                Ok(Some(chunk)) => return self.take(chunk).map(Some),
                Ok(None) if self.total == Some(self.read) || self.read == 0 => return Ok(None),
                Ok(None) if self.total.is_none() => self.find_end(ctx).await?,
                Ok(None) | Err(SourceError::Broken(_)) => self.bridge(ctx).await?,
                Err(other) => return Err(source_trouble(other)),
            }
        }
    }

    /// A body of no declared length also ends where its sender died, and no container tells for certain: the source is
    /// asked what follows. The length is known afterwards.
    async fn find_end(&mut self, ctx: &Archive<'_>) -> Result<(), NotStored> {
        match ending::what_follows(ctx, &self.url, self.read, self.etag.clone()).await {
            Follows::Rest(rest) => {
                self.total = rest.total;
                self.body = rest.body;
                return Ok(());
            }
            Follows::More => return Err(broken()),
            Follows::Nothing => {}
            Follows::Unsaid if self.unverified => self.end_is_known = false,
            Follows::Unsaid => return Err(NotStored::NotUnderstood { what: "end_unknown" }),
        }
        self.total = Some(self.read);
        Ok(())
    }

    fn take(&mut self, chunk: Bytes) -> Result<Bytes, NotStored> {
        self.read += chunk.len() as u64;
        if self.read > self.max {
            return Err(NotStored::TooLarge {
                size_bytes: self.read,
            });
        }
        if self.total.is_some_and(|total| self.read > total) {
            return Err(NotStored::NotAFile { what: "too_long" });
        }
        self.hash.update(&chunk);
        self.check.push(&chunk);
        Ok(chunk)
    }

    /// Goes on where the source broke, if it names a length and a strong tag and grants the rest of the same entity.
    /// Otherwise the try ends: the upload holds bytes that cannot be taken back.
    async fn bridge(&mut self, ctx: &Archive<'_>) -> Result<(), NotStored> {
        self.bridges += 1;
        if self.total.is_none() || self.etag.is_none() || self.bridges > MAX_BRIDGES {
            return Err(broken());
        }
        let resume = Resume {
            from: self.read,
            total: self.total,
            etag: self.etag.clone(),
        };
        let opened = ctx
            .sources
            .open(&self.url, Some(&resume))
            .await
            .map_err(source_trouble)?;
        if opened.start != self.read {
            return Err(broken());
        }
        self.body = opened.body;
        Ok(())
    }

    /// What the first bytes already rule out.
    fn hopeless(&self) -> Option<NotStored> {
        match self.check.early()? {
            Finding::NotMedia(what) => Some(not_a_file(what)),
            Finding::Unknown if !self.unverified => Some(NotStored::NotUnderstood {
                what: "unknown_container",
            }),
            _ => None,
        }
    }

    /// The whole is known: what it is, or why it is not to be stored.
    fn intent(&self, described: &Described) -> Result<Intent, NotStored> {
        let media = match self.check.clone().finish() {
            Finding::Complete(_) if self.unverified && self.end_is_known => {
                return Err(NotStored::UnderstoodAfterAll);
            }
            Finding::Complete(media) => Some(media),
            Finding::NotMedia(what) => return Err(not_a_file(what)),
            Finding::Incomplete(_) | Finding::Unknown if self.unverified => None,
            Finding::Incomplete(_) => return Err(NotStored::NotUnderstood { what: "incomplete" }),
            Finding::Unknown => {
                return Err(NotStored::NotUnderstood {
                    what: "unknown_container",
                });
            }
        };
        let of_media = |f: fn(&Media) -> Option<u32>| media.as_ref().and_then(f);
        Ok(Intent {
            key: described.key.clone(),
            size_bytes: self.read,
            sha256: Digest(self.hash.clone().finalize().into()),
            content_type: described.content_type.clone(),
            duration_ms: media.as_ref().and_then(|m| m.duration_ms),
            width: of_media(|m| m.width),
            height: of_media(|m| m.height),
            unverified: self.unverified,
        })
    }
}

/// What the object is called and declared to be, fixed when its upload starts.
struct Described {
    key: ObjectKey,
    content_type: String,
    /// Where the upload looks for the digest.
    told: DigestToCome,
}

async fn abandon(upload: &mpsc::Sender<Result<Bytes, BodyAbandoned>>, why: NotStored) -> Pumped {
    let _ = upload.send(Err(BodyAbandoned)).await; // an upload that has ended already is as good
    Pumped::Abandoned(why)
}

/// By the format that was asked for, or that the link names: only a task that is plainly not a video may bring
/// sounds and images.
fn expected(task: &Task, source: &SourceUrl) -> Expected {
    let path = source.0.split(['?', '#']).next().unwrap_or("");
    let named = path
        .rsplit('/')
        .next()
        .and_then(|name| name.rsplit_once('.'))
        .map(|(_, ext)| ext);
    let ext = task
        .ext
        .as_ref()
        .map(|e| e.as_str())
        .or(named)
        .unwrap_or("bin")
        .to_ascii_lowercase();
    match ext.as_str() {
        "mp4" | "webm" | "mov" | "m4v" | "mkv" => Expected::Video,
        _ => Expected::Any,
    }
}

fn type_of_extension(key: &ObjectKey) -> &'static str {
    match key.0.rsplit_once('.').map_or("", |(_, ext)| ext) {
        "mp4" | "m4v" => "video/mp4",
        "mov" => "video/quicktime",
        "webm" => "video/webm",
        _ => "application/octet-stream",
    }
}

pub(super) fn encoded(value: &str) -> String {
    utf8_percent_encode(value, META).to_string()
}

/// `task-uuid`, `result-id`, `model`, `label-<name>`; S3 allows 2 KiB, and labels are at most 1 KiB.
fn metadata(task: &Task, job: &Job) -> Vec<(String, String)> {
    let mut all = vec![
        ("task-uuid".to_owned(), task.id.to_string()),
        ("result-id".to_owned(), encoded(job.asset.result.as_str())),
        ("model".to_owned(), encoded(&task.model)),
    ];
    all.extend(
        task.labels
            .iter()
            .map(|(name, value)| (format!("label-{name}"), encoded(value))),
    );
    all
}

fn not_a_file(what: NotMedia) -> NotStored {
    NotStored::NotAFile {
        what: match what {
            NotMedia::Empty => "empty",
            NotMedia::Markup => "markup",
            NotMedia::Json => "json",
        },
    }
}

fn broken() -> NotStored {
    NotStored::SourceUnavailable {
        code: "broken_off".to_owned(),
        retry_after: None,
    }
}

fn source_trouble(error: SourceError) -> NotStored {
    match error {
        SourceError::Dead { status } => NotStored::SourceDead { status },
        SourceError::Unavailable { code, retry_after } => NotStored::SourceUnavailable { code, retry_after },
        SourceError::Broken(_) => broken(),
        SourceError::Forbidden { code } => NotStored::SourceForbidden { code },
        SourceError::Odd { status } => NotStored::SourceUnavailable {
            code: format!("http_{status}"),
            retry_after: None,
        },
    }
}
