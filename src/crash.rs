//! Named crash points, so that tests can kill the process between any two durable steps (F1). Compiled to nothing
//! without the feature `failpoints`, which no released binary has.

/// With the feature on and the point configured (`FAILPOINTS="name=return"`), the process ends here as by SIGKILL:
/// no destructor runs, nothing is flushed.
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        {
            (|| {
                fail::fail_point!($name, |_| $crate::crash::kill(concat!("crash point ", $name)));
            })();
        }
    };
}

/// Ends the process by SIGKILL to itself.
#[cfg(feature = "failpoints")]
pub fn kill(why: &str) {
    eprintln!("{why}");
    let pid = std::process::id().to_string();
    let _ = std::process::Command::new("kill").args(["-9", &pid]).status();
    std::process::abort(); // not reached where `kill` exists
}
