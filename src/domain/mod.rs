//! Decisions only: no async, no IO, no clock, no SQL, no wire formats. Same input, same answer.

pub mod address; // which addresses a stranger's URL may lead to
pub mod asset; // Asset, AssetState, ObjectKey
pub mod backoff; // delay(attempt, jitter)
pub mod container; // is this stream a whole media file
pub mod delivery; // Delivery, Attempt: retry or dead letter
pub mod endpoint; // Endpoint: filters, secrets, the breaker
pub mod event; // Event, EventKind, EventData
pub mod fair_share; // who may call next
pub mod file; // TaskFile: a task with its assets, and every decision about them
pub mod identity; // Identity: what a task is, for the journal and for adoptions
pub mod ids; // TaskId, ResultId, AssetId, EventId, EndpointId
pub mod lease; // Lease<T>, Fence
pub mod places; // how tries at once are shared
pub mod redact; // a stranger's text without secrets
pub mod report; // Report: one meaning for callback and poll answer
pub mod signature; // Standard Webhooks: sign and verify bytes
pub mod task; // Task, TaskState
pub mod task_webhook; // a task's own webhook: what it is told
pub mod time; // Timestamp
pub mod token; // the secret in a callback URL
pub mod transition; // what a decision asks to be written
