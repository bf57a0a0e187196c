//! The runtime of a command, and Ctrl-C.

use super::exit::{CliError, Exit};

/// Runs a command that stops itself in order when it is told to.
pub fn to_its_end<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|fault| CliError::new(Exit::Failure, format!("no threads to run on: {fault}")))?;
    let outcome = runtime.block_on(work);
    // A lookup or a read that still blocks a thread must not hold the process back.
    runtime.shutdown_background();
    outcome
}

/// Runs a client command; Ctrl-C drops it where it stands. What was submitted goes on in the service.
pub fn until_interrupted<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    to_its_end(async {
        tokio::select! {
            outcome = work => outcome,
            Ok(()) = tokio::signal::ctrl_c() => Err(CliError::new(Exit::Interrupted, "interrupted")),
        }
    })
}
