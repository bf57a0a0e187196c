//! Events into NATS JetStream: one stream, one subject for each tenant and type, each message under its event's id.
//!
//! Publishes of one call are under way together. Each names the stream sequence it must follow, so that none is stored
//! after one that got lost: the order in the stream is the order of the log, whatever fails. The server's window of
//! message ids keeps a repeat from being stored twice.

use crate::domain::event::Event;
use crate::domain::ids::EventId;
use crate::ports::event_log::{Appended, EventLog, Trouble};
use async_nats::connection::State;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::context::{
    CreateStreamErrorKind, GetStreamErrorKind, PublishAckFuture, PublishErrorKind,
};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, LastRawMessageErrorKind, StorageType, Stream};
use async_nats::jetstream::{self, Context, ErrorCode};
use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, ServerAddr};
use async_trait::async_trait;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use std::time::Duration;
use tokio::sync::Mutex;
use url::Url;

/// For connecting, and for each question to the server. Below the drain of an orderly stop.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the server remembers message ids. Our position lags behind the acknowledgements by one commit, so that any
/// restart within it repeats nothing; beyond it the stream's end is looked at before anything is appended.
const REMEMBERED: Duration = Duration::from_secs(3600);

pub struct NatsOptions {
    /// Without user and password.
    pub servers: Vec<Url>,
    pub login: Option<Login>,
    /// Also the first word of every subject.
    pub stream: String,
    /// How long a stream that we make keeps its messages: as long as the log itself.
    pub keep: Duration,
}

pub enum Login {
    User { name: String, password: SecretString },
    Token(SecretString),
}

pub struct NatsLog {
    options: NatsOptions,
    link: Mutex<Option<Link>>,
}

/// A connection, and the stream at its other end.
struct Link {
    client: Client,
    jetstream: Context,
    stream: Stream<()>,
    /// The stream's last sequence, as far as we know.
    end: Option<u64>,
}

impl NatsLog {
    /// Sends nothing: the service starts with the server down.
    pub fn new(options: NatsOptions) -> Self {
        Self {
            options,
            link: Mutex::new(None),
        }
    }

    async fn connect(&self) -> Result<Link, Trouble> {
        let options = ConnectOptions::new()
            .name("catchment")
            .connection_timeout(PATIENCE)
            .request_timeout(Some(PATIENCE));
        let options = match &self.options.login {
            None => options,
            Some(Login::Token(token)) => options.token(token.expose_secret().to_owned()),
            Some(Login::User { name, password }) => {
                options.user_and_password(name.clone(), password.expose_secret().to_owned())
            }
        };
        let servers = self.options.servers.iter().cloned().map(ServerAddr::from_url);
        let servers: Vec<ServerAddr> = servers
            .collect::<Result<_, _>>()
            .map_err(|_| trouble("invalid_url"))?;
        let connecting = tokio::time::timeout(2 * PATIENCE, options.connect(servers)).await;
        let client = connecting
            .map_err(|_| trouble("timeout"))?
            .map_err(|e| trouble(refusal(&e)))?;
        let jetstream = jetstream::context::ContextBuilder::new()
            .timeout(PATIENCE)
            .ack_timeout(PATIENCE)
            .build(client.clone());
        let stream = self.stream(&jetstream).await?;
        Ok(Link {
            client,
            jetstream,
            stream,
            end: None,
        })
    }

    /// The stream, made if it is not there. One that is there is the operator's: it is taken as it is if it keeps all
    /// of our subjects and acknowledges.
    async fn stream(&self, jetstream: &Context) -> Result<Stream<()>, Trouble> {
        let found = match jetstream.get_stream(&self.options.stream).await {
            Ok(found) => found,
            Err(e) => match e.kind() {
                GetStreamErrorKind::JetStream(e) if e.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                    let made = jetstream.create_stream(self.config()).await;
                    made.map_err(|e| trouble(not_made(&e.kind())))?
                }
                GetStreamErrorKind::JetStream(e) => return Err(trouble(jetstream_code(&e))),
                _ => return Err(trouble("no_jetstream")),
            },
        };
        let config = &found.cached_info().config;
        let wanted = self.subjects();
        if config.no_ack {
            return Err(trouble("stream_without_acks"));
        }
        if !config
            .subjects
            .iter()
            .any(|s| *s == wanted || s == ">" || *s == format!("{}.>", self.options.stream))
        {
            return Err(trouble("stream_of_other_subjects"));
        }
        let stream = jetstream.get_stream_no_info(&self.options.stream).await;
        stream.map_err(|_| trouble("timeout"))
    }

    fn config(&self) -> Config {
        Config {
            name: self.options.stream.clone(),
            subjects: vec![self.subjects()],
            description: Some("Events of Catchment".to_owned()),
            storage: StorageType::File,
            max_age: self.options.keep,
            duplicate_window: REMEMBERED.min(self.options.keep),
            ..Config::default()
        }
    }

    fn subjects(&self) -> String {
        format!("{}.events.>", self.options.stream)
    }

    fn subject(&self, event: &Event) -> String {
        let tenant = utf8_percent_encode(&event.tenant.0, NOT_IN_A_TOKEN);
        format!("{}.events.{tenant}.{}", self.options.stream, event.kind)
    }

    fn message(event: &Event, after: u64) -> Result<PublishMessage, Trouble> {
        let payload = serde_json::to_vec(&event.envelope()).map_err(|_| trouble("unsendable_event"))?;
        Ok(PublishMessage::build()
            .payload(payload.into())
            .message_id(event.id.as_str())
            .expected_last_sequence(after))
    }

    /// Sends all, then waits for the acknowledgements in order; stops at the first that does not come.
    async fn publish(&self, link: &mut Link, events: &[Event]) -> (usize, Option<Trouble>) {
        let end = match link.end {
            Some(end) => end,
            None => match link.stream.get_info().await {
                Ok(info) => info.state.last_sequence,
                Err(_) => return (0, Some(trouble("timeout"))),
            },
        };
        link.end = None; // until all of it is known
        let (sent, mut failed) = self.send(link, events, end).await;
        let (mut acknowledged, mut last) = (0, end);
        for ack in sent {
            match ack.await {
                Ok(ack) => {
                    acknowledged += 1;
                    last = last.max(ack.sequence);
                }
                Err(e) => {
                    failed = Some(unpublished(e.kind()));
                    break;
                }
            }
        }
        if failed.is_none() {
            link.end = Some(last);
        }
        (acknowledged, failed)
    }

    async fn send(
        &self,
        link: &Link,
        events: &[Event],
        end: u64,
    ) -> (Vec<PublishAckFuture>, Option<Trouble>) {
        let mut sent = vec![];
        for (after, event) in (end..).zip(events) {
            let message = match Self::message(event, after) {
                Ok(message) => message,
                Err(trouble) => return (sent, Some(trouble)),
            };
            match link.jetstream.send_publish(self.subject(event), message).await {
                Ok(ack) => sent.push(ack),
                Err(e) => return (sent, Some(unpublished(e.kind()))),
            }
        }
        (sent, None)
    }
}

/// What may stand in one word of a subject as it is.
const NOT_IN_A_TOKEN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

#[async_trait]
impl EventLog for NatsLog {
    async fn last(&self) -> Result<Option<Appended>, Trouble> {
        let mut link = self.link.lock().await;
        if link
            .as_ref()
            .is_none_or(|l| l.client.connection_state() != State::Connected)
        {
            *link = None; // dropped, its own tries to reconnect end
            *link = Some(self.connect().await?);
        }
        let Some(link) = link.as_mut() else {
            return Err(trouble("unreachable"));
        };
        let info = link.stream.get_info().await.map_err(|_| trouble("timeout"))?;
        link.end = Some(info.state.last_sequence);
        if info.state.messages == 0 {
            return Ok(None);
        }
        match link
            .stream
            .get_last_raw_message_by_subject(&self.subjects())
            .await
        {
            Ok(message) => Ok(appended(&message.headers, &message.payload)),
            Err(e) if e.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(_) => Err(trouble("timeout")),
        }
    }

    async fn append(&self, events: &[Event]) -> (usize, Option<Trouble>) {
        let mut link = self.link.lock().await;
        match link.as_mut() {
            Some(link) if link.client.connection_state() == State::Connected => {
                self.publish(link, events).await
            }
            // What is sent without a connection would be kept by the client, and go out whenever it likes.
            _ => (0, Some(trouble("unreachable"))),
        }
    }

    async fn close(&self) {
        if let Some(link) = self.link.lock().await.take() {
            let _ = link.client.flush().await; // every acknowledgement that counts was waited for
        }
    }
}

/// A message that another wrote has neither.
fn appended(headers: &async_nats::HeaderMap, payload: &[u8]) -> Option<Appended> {
    #[derive(Deserialize)]
    struct Numbered {
        sequence: u64,
    }
    let id = headers.get(NATS_MESSAGE_ID)?.as_str().to_owned();
    let Numbered { sequence } = serde_json::from_slice(payload).ok()?;
    Some(Appended {
        id: EventId::stored(id),
        sequence,
    })
}

fn trouble(code: &'static str) -> Trouble {
    Trouble { code, stale: false }
}

fn refusal(error: &ConnectError) -> &'static str {
    match error.kind() {
        ConnectErrorKind::Dns => "dns",
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => "unauthorized",
        ConnectErrorKind::TimedOut => "timeout",
        ConnectErrorKind::Tls => "tls",
        ConnectErrorKind::ServerParse => "invalid_url",
        ConnectErrorKind::Io | ConnectErrorKind::MaxReconnects => "unreachable",
    }
}

fn not_made(kind: &CreateStreamErrorKind) -> &'static str {
    match kind {
        CreateStreamErrorKind::JetStream(e) => jetstream_code(e),
        CreateStreamErrorKind::JetStreamUnavailable => "no_jetstream",
        CreateStreamErrorKind::TimedOut => "timeout",
        _ => "stream_not_made",
    }
}

fn jetstream_code(error: &jetstream::Error) -> &'static str {
    match error.error_code() {
        ErrorCode::STREAM_SUBJECT_OVERLAP => "subjects_taken",
        ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => "no_jetstream",
        _ => "stream_not_made",
    }
}

fn unpublished(kind: PublishErrorKind) -> Trouble {
    match kind {
        PublishErrorKind::WrongLastSequence | PublishErrorKind::WrongLastMessageId => Trouble {
            code: "stream_written_by_others",
            stale: true,
        },
        PublishErrorKind::StreamNotFound => trouble("stream_gone"),
        PublishErrorKind::TimedOut => trouble("timeout"),
        PublishErrorKind::MaxPayloadExceeded => trouble("event_too_large"),
        PublishErrorKind::BrokenPipe | PublishErrorKind::MaxAckPending | PublishErrorKind::Other => {
            trouble("unreachable")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{EventData, EventKind};
    use crate::domain::ids::Tenant;
    use crate::domain::time::Timestamp;

    #[test]
    fn t14_a_tenants_name_is_one_word_of_the_subject_whatever_it_is() {
        let log = NatsLog::new(NatsOptions {
            servers: vec![],
            login: None,
            stream: "films".to_owned(),
            keep: Duration::ZERO,
        });
        let subject = |tenant: &str| {
            log.subject(&Event {
                sequence: 1,
                id: EventId::derive(&["a"]),
                kind: EventKind::AssetArchived,
                tenant: Tenant(tenant.to_owned()),
                task: None,
                task_sequence: 0,
                at: Timestamp::from_millis(0),
                data: EventData::default(),
            })
        };
        assert_eq!(subject("a-b_1"), "films.events.a-b_1.asset.archived");
        assert_eq!(
            subject("a.b *>\u{e9}"),
            "films.events.a%2Eb%20%2A%3E%C3%A9.asset.archived"
        );
    }
}
