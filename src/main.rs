use std::process::ExitCode;

fn main() -> ExitCode {
    keep_few_heaps();
    // Reads FAILPOINTS; crash tests only.
    #[cfg(feature = "failpoints")]
    let _armed = fail::FailScenario::setup();
    // An error means that a provider is installed already, which is all we want.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    catchment::cli::run(std::env::args_os()).into()
}

/// glibc gives every thread a heap of its own, up to eight a core, and what one has freed no other can use: with many
/// large copies under way over many threads, most of the memory held would be of that kind.
fn keep_few_heaps() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: sets a number in the allocator, before there is a second thread.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}
