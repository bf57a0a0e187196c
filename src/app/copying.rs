//! Where copies run: on threads of their own that give way to all others. A copy is processor time (hashing, and moving
//! bytes through the kernel), as much as there is; an answer to a callback is a moment of it, at once (F26).

use super::AppError;
use crate::adapters::system::give_way;
use tokio::runtime::{Builder, Handle, Runtime};

/// Ends with the service; what still runs on it then is dropped, as when a lease is lost.
pub struct CopyThreads(Option<Runtime>);

impl CopyThreads {
    /// As many as there are cores.
    ///
    /// # Errors
    /// The host gives no threads.
    pub fn start() -> Result<Self, AppError> {
        let runtime = Builder::new_multi_thread()
            .thread_name("copies")
            .on_thread_start(give_way)
            .enable_all()
            .build()
            .map_err(|e| AppError::failed("no threads to copy on", e))?;
        Ok(Self(Some(runtime)))
    }

    pub fn handle(&self) -> &Handle {
        self.0.as_ref().expect("it is there until it is dropped").handle()
    }
}

impl Drop for CopyThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background(); // nothing may block here: this runs on another runtime
        }
    }
}
