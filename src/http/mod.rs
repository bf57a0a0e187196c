//! The HTTP surface: parses at the edge, calls one step, answers. With the simulator the only code that names the
//! web framework.

pub mod aside; // questions to the bucket and the provider, on the service's own runtime
mod assets; // one result, and a link to it
mod audit; // the loss proof
mod auth; // Caller: who asks, and for which tenant
mod body; // reading a body: type, size, one deadline
mod callback; // the provider's completion callback
mod edge; // around every request: id, panics, headers, the log line
mod endpoints; // webhook subscribers
mod error; // ApiError → problem+json
mod events; // the event log
mod fault; // what is wrong with a request, and where
mod health; // livez, readyz, version, metrics
mod json; // strict JSON, canonical JSON
mod limits; // what one key may have in work
mod openapi; // the document, generated from the handlers
mod query; // query parameters, durations, long polls
mod rates; // how fast one key may ask
mod room; // memory for bodies in hand
mod routes; // every route once
pub mod sample_endpoint; // a consumer, for `dev` and the tests
pub mod server; // listeners, limits of connections, orderly stop
mod tasks; // submit, list, show
#[cfg(test)]
mod testing; // what the tests share
mod unread; // bodies that nobody reads
mod usage; // the cost ledger

pub use aside::Aside;
pub use endpoints::EndpointCheck;
pub use limits::KeyLimits;
pub use openapi::document;
pub use rates::Rate;
pub use routes::{Part, app, routes};

use crate::domain::file::Policy;
use crate::domain::token::CallbackKeys;
use crate::ports::clock::{Clock, Rng};
use crate::ports::health::Health;
use crate::ports::links::Links;
use crate::ports::records::Records;
use crate::ports::sink::Sink;
use crate::ports::store::{EventPage, EventQuery, Inbox, Store, StoreError};
use crate::ports::wake::Wakeups;
use crate::telemetry::Metrics;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// What the handlers need. One for the whole process, shared by every listener.
pub struct Api {
    ports: Ports,
    settings: ApiSettings,
    state: State,
}

/// What an [`Api`] is made of.
pub struct Ports {
    pub store: Arc<dyn Store>,
    /// Where callbacks go: the store's own inbox, but for a measurement of what storing them costs.
    pub inbox: Arc<dyn Inbox>,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
    pub wakeups: Wakeups,
    pub health: Health,
    /// Verify the tokens of callbacks.
    pub keys: CallbackKeys,
    /// For tasks adopted by a callback.
    pub policy: Policy,
    pub metrics: Metrics,
    pub endpoint_check: Arc<dyn EndpointCheck>,
    /// Sends the test of an endpoint.
    pub sink: Arc<dyn Sink>,
    pub links: Arc<dyn Links>,
    pub records: Arc<dyn Records>,
    /// `None`: neither bucket nor provider can be asked (tests of the surface alone).
    pub aside: Option<Aside>,
}

impl Api {
    pub fn new(ports: Ports, settings: ApiSettings) -> Self {
        let state = State {
            draining: CancellationToken::new(),
            in_work: limits::InWork::default(),
            rooms: room::Rooms::new(settings.max_body),
            rates: rates::KeyRates::new(settings.key_limits.rate, ports.clock.clone()),
            writable: health::Writable::default(),
            stream_reads: Semaphore::new(1),
        };
        Self {
            ports,
            settings,
            state,
        }
    }
}

impl Deref for Api {
    type Target = Ports;

    fn deref(&self) -> &Ports {
        &self.ports
    }
}

impl Api {
    /// A read for an answer that lasts.
    async fn stream_read(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        let _turn = self.state.stream_reads.acquire().await.expect("nobody closes it");
        self.store.events(query).await
    }
}

/// The settings the handlers read, by their names in the settings table.
#[derive(Clone, Debug)]
pub struct ApiSettings {
    /// `server.max_body`, in bytes.
    pub max_body: usize,
    /// `runware.default_ttl`.
    pub default_ttl: Duration,
    /// `runware.min_ttl`.
    pub min_ttl: Duration,
    /// `runware.default_prompt`.
    pub default_prompt: Option<String>,
    /// `limits.*`, as far as they are about one API key.
    pub key_limits: KeyLimits,
}

/// What the surface itself keeps between requests; nothing that must survive.
struct State {
    /// Ends long polls early, so that a stop need not wait for them.
    draining: CancellationToken,
    in_work: limits::InWork,
    rooms: room::Rooms,
    rates: rates::KeyRates,
    writable: health::Writable,
    /// One read at a time for all streams together: however many there are, the other readers of the store go on.
    stream_reads: Semaphore,
}
