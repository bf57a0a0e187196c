use std::process::ExitCode;

fn main() -> ExitCode {
    // Reads FAILPOINTS; crash tests only.
    #[cfg(feature = "failpoints")]
    let _armed = fail::FailScenario::setup();
    // An error means that a provider is installed already, which is all we want.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    catchment::cli::run(std::env::args_os()).into()
}
