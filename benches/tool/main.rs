//! The parts of `make bench` that must be fast or must be ours: servers, a load generator, a database of any size.
//! `benches/bench.py` starts them; each prints one line of JSON. See `benches/README.md`.
#![expect(clippy::disallowed_methods, reason = "measures real time on a real machine")]

mod forgetful; // the service, but callbacks are not stored
mod latencies; // percentiles
mod load; // callbacks, as many as go or at a fixed rate
mod post_loop; // the client of deliveries, alone
mod s3; // the embedded object store as a process
mod seed; // a database with as many tasks as wanted
mod sink; // a consumer that takes every delivery

use clap::{Parser, Subcommand};
use std::process::ExitCode;

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Forgetful,
    Load(load::Args),
    PostLoop(post_loop::Args),
    S3(s3::Args),
    Seed(seed::Args),
    Sink(sink::Args),
}

fn main() -> ExitCode {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let done = match Args::parse().command {
        Command::Forgetful => forgetful::run(),
        Command::Load(args) => load::run(args),
        Command::PostLoop(args) => post_loop::run(args),
        Command::S3(args) => s3::run(args),
        Command::Seed(args) => seed::run(args),
        Command::Sink(args) => sink::run(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

/// As the service's own: one thread a core.
fn block_on(work: impl Future<Output = Outcome>) -> Outcome {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

/// SIGTERM or SIGINT.
async fn told_to_stop() -> Outcome {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
