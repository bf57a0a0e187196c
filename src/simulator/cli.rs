//! `catchment simulate`: the provider alone, for trying out one's own integration.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, ValueParser};
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use serde_json::json;

use super::directive::Overlay;
use super::faults::{Faults, Switch};
use super::server::{Options, Simulator};
use super::setting::{Bytes, Setting, Span};

/// Pretend to be the provider: its API and CDN over HTTP, with faults on demand
#[derive(Debug, Clone, Args)]
pub struct SimulateArgs {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8090")]
    pub listen: SocketAddr,

    /// Host, host:port or base URL to put into links instead of the listening address
    #[arg(long, value_name = "HOST")]
    pub public_host: Option<String>,

    /// The only valid API key; without it any key will do
    #[arg(long, value_name = "KEY")]
    pub api_key: Option<String>,

    /// Where chance starts: the same seed and taskUUIDs meet the same faults
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,

    /// How long `getResponse` knows a task after its last result
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = <Duration as Setting>::read)]
    pub retention: Duration,

    /// The fault profile that the switches below change
    #[arg(long, value_name = "PROFILE", default_value = "none", value_parser = PossibleValuesParser::new(["none", "mild", "harsh"]))]
    pub faults: String,

    #[command(flatten)]
    pub switches: FaultFlags,
}

/// How long a render takes when no flag, header or prompt says so.
const DEFAULT_RENDER_MS: std::ops::RangeInclusive<u64> = 1_000..=3_000;

impl SimulateArgs {
    pub fn options(&self) -> Options {
        let profile: Faults = self
            .faults
            .parse()
            .expect("the command line takes profile names only");
        let mut faults = self.switches.0.over(&profile);
        // These two are properties of the provider; a flag sets the default that headers and prompts may override.
        let render_ms = faults
            .render
            .take()
            .map_or(DEFAULT_RENDER_MS, |Span(range)| range);
        let video_size = faults.video_size.take().map_or(0, |Bytes(size)| size);
        Options {
            listen: self.listen,
            public_host: self.public_host.clone(),
            api_key: self.api_key.clone(),
            seed: self.seed,
            render_ms,
            faults,
            retention: self.retention,
            video_size,
        }
    }
}

/// One flag for each fault switch, named and read as in headers, prompts and JSON.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FaultFlags(pub Overlay);

impl Args for FaultFlags {
    fn augment_args(command: Command) -> Command {
        Faults::SWITCHES
            .iter()
            .fold(command, |command, switch| command.arg(flag(switch)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn flag(switch: &'static Switch) -> Arg {
    let name = switch.name;
    let checked = move |text: &str| Faults::none().set(name, Some(text)).map(|()| text.to_owned());
    Arg::new(name)
        .long(name)
        .help(switch.help)
        .help_heading("Faults")
        .value_name(switch.hint)
        .num_args(0..=1)
        .require_equals(switch.name != "render" && switch.name != "video-size")
        .default_missing_value(switch.bare)
        .allow_negative_numbers(true)
        .value_parser(ValueParser::new(checked))
}

impl FromArgMatches for FaultFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for switch in Faults::SWITCHES {
            if let Some(text) = matches.get_one::<String>(switch.name) {
                let set = self.0.push(switch.name, Some(text));
                set.map_err(|fault| clap::Error::raw(clap::error::ErrorKind::ValueValidation, fault))?;
            }
        }
        Ok(())
    }
}

/// Serves until SIGINT or SIGTERM, after one line of JSON on stdout that says where. Blocks; may be called inside a
/// runtime.
///
/// # Errors
/// The address is taken, stdout is closed, or signals cannot be waited for.
pub fn run(args: &SimulateArgs) -> io::Result<()> {
    let simulator = Simulator::start(args.options())?;
    let addresses = json!({ "api": simulator.api_url(), "cdn": simulator.cdn_url() });
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{addresses}")?;
    stdout.flush()?;
    drop(stdout);
    let waiter = std::thread::spawn(wait_for_signal);
    waiter
        .join()
        .map_err(|_| io::Error::other("waiting for a signal failed"))??;
    simulator.stop();
    Ok(())
}

fn wait_for_signal() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}
