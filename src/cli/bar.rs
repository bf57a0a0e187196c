//! One bar for long work, on stderr: a bar on a terminal, a line for each step elsewhere, nothing when quiet.

use super::output::{note, plain};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal as _};
use std::time::Duration;

pub enum Bar {
    Off,
    Lines,
    Drawn(ProgressBar),
}

impl Bar {
    /// `all`: how much there is; `None` while nobody knows.
    pub fn on_stderr(all: Option<u64>, quiet: bool) -> Self {
        match (quiet, io::stderr().is_terminal()) {
            (true, _) => Self::Off,
            (false, false) => Self::Lines,
            (false, true) => Self::drawn(all),
        }
    }

    fn drawn(all: Option<u64>) -> Self {
        let template = match all {
            Some(_) => "{spinner} [{bar:24}] {pos}/{len} {elapsed:>4} {msg}",
            None => "{spinner} {pos} {elapsed:>4} {msg}",
        };
        let style = ProgressStyle::with_template(template)
            .expect("a constant that a test draws")
            .progress_chars("=> ");
        let bar = match all {
            Some(all) => ProgressBar::new(all),
            None => ProgressBar::no_length(),
        };
        let bar = bar.with_style(style);
        bar.enable_steady_tick(Duration::from_millis(250));
        Self::Drawn(bar)
    }

    pub fn show(&self, done: u64, text: &str) {
        match self {
            Self::Off => {}
            Self::Lines => note(text),
            Self::Drawn(bar) => {
                bar.set_position(done);
                bar.set_message(plain(text));
            }
        }
    }

    /// Leaves it as it is.
    pub fn finish(&self) {
        if let Self::Drawn(bar) = self {
            bar.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_can_be_drawn() {
        for all in [Some(10), None] {
            let bar = Bar::drawn(all);
            bar.show(3, "3 done");
            let Bar::Drawn(drawn) = &bar else { panic!("no bar") };
            assert_eq!((drawn.position(), drawn.length()), (3, all));
            bar.finish();
            assert!(drawn.is_finished());
        }
    }
}
