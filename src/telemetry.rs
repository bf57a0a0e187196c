//! What the service says about itself: the log on stderr, and the metrics.

pub mod metrics;

use std::io::{IsTerminal as _, stderr};

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    filter::filter_fn,
    fmt::{self, MakeWriter},
    layer::{Layer as _, SubscriberExt as _},
    registry::Registry,
    util::SubscriberInitExt as _,
};

use crate::config::{Log, LogFormat};

pub use metrics::Metrics;

/// What is known about stderr; decides the default format and whether text is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    pub is_terminal: bool,
    /// The variable `NO_COLOR` is set and not empty (no-color.org).
    pub no_color: bool,
}

impl Terminal {
    /// `no_color`: the variable's value, if it is set.
    pub fn of_stderr(no_color: Option<&str>) -> Self {
        Self {
            is_terminal: stderr().is_terminal(),
            no_color: no_color.is_some_and(|value| !value.is_empty()),
        }
    }
}

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("log.level: {0}")]
    Level(#[from] tracing_subscriber::filter::ParseError),
    #[error("this process already writes a log")]
    Started(#[from] tracing_subscriber::util::TryInitError),
}

/// Starts the log of the process, on stderr. `RUST_LOG` is part of `log.level`: the settings read it.
///
/// # Errors
/// `Level` for directives that settings would have refused; `Started` on a second call.
pub fn init_logs(log: &Log, terminal: Terminal) -> Result<(), LogError> {
    Ok(tracing::Dispatch::new(subscriber(log, terminal, stderr)?).try_init()?)
}

fn subscriber<W>(log: &Log, terminal: Terminal, writer: W) -> Result<impl Subscriber + Send + Sync, LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let by_place = if terminal.is_terminal {
        LogFormat::Text
    } else {
        LogFormat::Json
    };
    let lines = match log.format.unwrap_or(by_place) {
        LogFormat::Text => {
            let coloured = terminal.is_terminal && !terminal.no_color;
            fmt::layer().with_writer(writer).with_ansi(coloured).boxed()
        }
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(writer)
            .boxed(),
    };
    let level = EnvFilter::builder().parse(&log.level)?;
    Ok(Registry::default()
        .with(lines)
        .with(level)
        .with(filter_fn(may_be_logged)))
}

/// Libraries stay at `warn` whatever the level: at `info` they tell of their own workings only, and below it HTTP
/// clients and the S3 SDK quote headers and signed links, which must never reach a log.
fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with(env!("CARGO_CRATE_NAME")) || *metadata.level() <= Level::WARN
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Collects what is written.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn written(format: Option<LogFormat>, level: &str, terminal: Terminal, act: fn()) -> String {
        let lines = Lines::default();
        let sink = lines.clone();
        let log = Log {
            format,
            level: level.to_owned(),
        };
        let subscriber = subscriber(&log, terminal, move || sink.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, act);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn attempt() {
        tracing::warn!(attempt.number = 3, "attempt {} failed", 3);
        tracing::debug!("a detail");
    }

    const FILE: Terminal = Terminal {
        is_terminal: false,
        no_color: false,
    };
    const SCREEN: Terminal = Terminal {
        is_terminal: true,
        no_color: false,
    };

    #[test]
    fn json_is_one_object_a_line_with_the_fields_on_top() {
        let text = written(Some(LogFormat::Json), "info", FILE, attempt);
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["attempt.number"], 3);
        assert_eq!(line["message"], "attempt 3 failed");
        assert_eq!(line["level"], "WARN");
    }

    #[test]
    fn the_format_follows_the_place_unless_it_is_chosen() {
        let is_json = |format, terminal| written(format, "info", terminal, attempt).starts_with('{');
        assert!(is_json(None, FILE));
        assert!(!is_json(None, SCREEN));
        assert!(is_json(Some(LogFormat::Json), SCREEN));
        assert!(!is_json(Some(LogFormat::Text), FILE));
    }

    #[test]
    fn only_a_terminal_without_no_color_gets_colours() {
        let coloured =
            |terminal| written(Some(LogFormat::Text), "info", terminal, attempt).contains('\u{1b}');
        assert!(coloured(SCREEN));
        assert!(!coloured(FILE));
        assert!(!coloured(Terminal {
            no_color: true,
            ..SCREEN
        }));
    }

    #[test]
    fn the_level_filters() {
        let details = |level| written(None, level, FILE, attempt).matches("a detail").count();
        assert_eq!(
            (details("info"), details("debug"), details("info,catchment=debug")),
            (0, 1, 1)
        );
        assert_eq!(written(None, "error", FILE, attempt), "");
    }

    #[test]
    fn libraries_never_speak_below_warn() {
        let text = written(None, "trace", FILE, || {
            tracing::trace!("ours");
            tracing::warn!(target: "hyper::client", "harmless");
            tracing::info!(target: "actix_server", "canary");
            tracing::debug!(target: "aws_sigv4", "X-Amz-Signature=canary");
            tracing::trace!(target: "h2", "authorization: canary");
        });
        assert!(text.contains("ours") && text.contains("harmless"), "{text}");
        assert!(!text.contains("canary"), "{text}");
    }

    #[test]
    fn wrong_directives_are_an_error() {
        let log = Log {
            level: "catchment=loud".to_owned(),
            ..Log::default()
        };
        assert!(matches!(
            subscriber(&log, FILE, std::io::sink),
            Err(LogError::Level(_))
        ));
    }
}
