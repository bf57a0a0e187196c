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
/// large copies under way over many threads, most of the memory held would be of that kind. And it gives the end of a
/// heap back to the kernel as soon as 128 KiB are free there, to be asked for again a moment later: each copy's next
/// read. What is large (a part, a database page cache) still comes from the kernel and goes back at once.
fn keep_few_heaps() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: sets numbers in the allocator, before there is a second thread.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1024 * 1024);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 2 * 1024 * 1024);
    }
}
