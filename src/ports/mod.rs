//! The traits the steps need; their doc comments are the contract.

pub mod blobs; // Blobs: put_stream, verify
pub mod clock; // Clock, Rng
pub mod endpoints; // Endpoints: change, rotate, deliveries, redrive
pub mod event_log; // EventLog: append events to a log outside
pub mod health; // Health: what is degraded, whether we can store
pub mod holdings; // Holdings: what lies in the bucket
pub mod journal; // Journal: identities of tasks, in the bucket
pub mod links; // Links: to archived objects
pub mod operator; // OperatorLog: done by hand, with the line that says so
pub mod overdue; // Overdue: due by the clock alone
pub mod promises; // Promises: does the store do what the settings count on?
pub mod provider; // Provider: submit, query, read a callback body
pub mod records; // Records: journal, import, audit and ledger in the database
pub mod retention; // Retention: what is removed when its time is over
pub mod sink; // Sink: deliver, ping
pub mod sinks; // Sinks: how far logs outside have got
pub mod source; // Sources: open a link
pub mod spend; // Spend: what the provider says was spent
pub mod store; // TaskStore, Inbox, Leases, Outbox, Accounts; `Store` is the sum of all
pub mod task_webhooks; // TaskWebhooks: deliveries of single tasks
pub mod wake; // Wakeups: a hint that a queue has work

/// Where an error came from, kept for the log.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
