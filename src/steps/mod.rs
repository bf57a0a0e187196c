//! The story, one chapter a file, each a function over ports. No step calls another: they meet in the store.

pub mod append; // events → a log outside, in order
pub mod archive; // a known result → its bytes, verified, in the bucket
pub mod audit; // database × bucket × provider
pub mod call_task; // an event → the webhook that its task brought with it
pub mod dispatch; // a stored task → the provider, at most once accepted
pub mod import; // tasks submitted elsewhere, or before a disk was lost → adopted
pub mod ingest; // what the provider said → results, events, verdict, in one commit
pub mod journal; // a task's identity → the bucket, before the provider is paid
pub mod overdue; // time that ran out → told or settled, whatever is down
pub mod poll; // a wake-up, or silence → the provider is asked
pub mod publish; // an event → deliveries → signed tries
pub mod receive; // a callback's body → a stored receipt
pub mod retain; // what is too old → removed, in small steps
pub mod retry; // an operator's wish → a new round
pub mod submit; // a client's tasks → stored, answered
pub mod usage; // what was spent, by day, model and label
