//! Stories told over real sockets, against the real store.

mod core;
mod deadlines;
mod harness;
mod http_assets;
mod http_callback;
mod http_endpoints;
mod http_events;
mod http_faults;
mod http_limits;
mod http_retry;
mod http_server;
mod http_streams;
mod http_submit;
mod http_tenants;
mod imports;
mod late_truth;
mod links;
mod pace;
mod restored;
