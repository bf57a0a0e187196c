//! Settings as an operator writes them, and what is answered.

mod faults;
mod sample;
mod show;
mod units;

use std::path::Path;

use super::*;

/// The sources of one start: a settings file, variables, flags, and a directory for secret files.
struct Start {
    dir: tempfile::TempDir,
    env: Vec<(String, String)>,
    flags: Vec<(String, String)>,
}

impl Start {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            env: Vec::new(),
            flags: Vec::new(),
        }
    }

    fn file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.dir.path().join(name), text).unwrap();
        self
    }

    fn toml(self, text: &str) -> Self {
        self.file(DEFAULT_FILE, text)
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    fn flag(mut self, key: &str, value: &str) -> Self {
        self.flags.push((key.into(), value.into()));
        self
    }

    fn load_from(&self, config_file: Option<&Path>) -> Result<Settings, ConfigErrors> {
        Settings::load(Sources {
            config_file: config_file.map(Path::to_owned),
            env: self.env.clone(),
            flags: self.flags.clone(),
            cwd: self.dir.path().to_owned(),
        })
    }

    fn load(&self) -> Settings {
        self.load_from(None).unwrap_or_else(|faults| panic!("{faults}"))
    }

    /// The faults as text, with the directory's random name removed.
    fn faults(&self) -> String {
        let faults = self.load_from(None).expect_err("these sources should not load");
        faults
            .to_string()
            .replace(&format!("{}/", self.dir.path().display()), "")
    }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn without_any_source_the_documented_defaults_are_in_force() {
    let settings = Start::new().load();
    assert_eq!(settings.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.server.max_body, ByteSize(16 * 1024 * 1024));
    assert_eq!(settings.database_path(), Path::new("data/catchment.db"));
    assert_eq!(settings.runware.base_url.as_str(), "https://api.runware.ai/v1");
    assert_eq!(settings.runware.default_ttl, seconds(7 * 86_400));
    assert_eq!(
        settings.archive.key_template.as_str(),
        "{prefix}{taskUUID}/{resultId}.{ext}"
    );
    assert!(settings.archive.allowed_hosts[0].matches("im.runware.ai"));
    let hours: f64 = settings.events.schedule.iter().sum::<Duration>().as_secs_f64() / 3_600.0;
    assert!(
        (hours - 77.6).abs() < 0.05,
        "deliveries are tried for 77.6 h, not {hours}"
    );
    assert_eq!(settings.events.schedule.len(), 12);
    assert!(settings.callback.keys.is_empty());
    assert_eq!(settings.tasks.retention, None);
}

#[test]
fn flags_stand_over_the_environment_over_the_file_over_defaults() {
    let file = Start::new().toml("[poll]\nfirst_after = '1m'\nmax_interval = '2m'\ndeadline = '3h'");
    assert_eq!(file.load().poll.first_after, seconds(60));
    let env = file
        .env("CATCHMENT_POLL__MAX_INTERVAL", "90s")
        .env("CATCHMENT_POLL__DEADLINE", "2h");
    assert_eq!(env.load().poll.max_interval, seconds(90));
    let flag = env.flag("poll.deadline", "1h");
    let poll = flag.load().poll;
    assert_eq!(
        (poll.first_after, poll.max_interval, poll.deadline),
        (seconds(60), seconds(90), seconds(3_600))
    );
}

#[test]
fn a_value_that_is_overridden_need_not_be_right() {
    let start = Start::new()
        .toml("[poll]\ndeadline = 'soon'")
        .env("CATCHMENT_POLL__DEADLINE", "2h");
    assert_eq!(start.load().poll.deadline, seconds(7_200));
}

#[test]
fn every_form_of_a_value_is_read() {
    let start = Start::new()
        .toml(
            "[poll]\nfirst_after = 45\n[events]\nschedule = ['0s', 5, '5m']\n[s3]\ntags = { team = 'video' }",
        )
        .env("CATCHMENT_NET__ALLOW_PRIVATE", r#"["10.0.0.0/8", "::1/128"]"#)
        .env(
            "CATCHMENT_ARCHIVE__ALLOWED_HOSTS",
            "im.runware.ai, *.Example.com,[::1]",
        )
        .env("CATCHMENT_S3__FORCE_PATH_STYLE", "true")
        .env(
            "CATCHMENT_SERVER__PUBLIC_URL",
            "http://catchment.example.com/base//",
        )
        .env("CATCHMENT_SERVER__MAX_BODY", "1048576")
        .env("CATCHMENT_LOG__FORMAT", "json");
    let settings = start.load();
    assert_eq!(settings.poll.first_after, seconds(45));
    assert_eq!(
        settings.events.schedule,
        [Duration::ZERO, seconds(5), seconds(300)]
    );
    assert_eq!(settings.s3.tags["team"], "video");
    assert_eq!(settings.net.allow_private.len(), 2);
    let hosts: Vec<String> = settings
        .archive
        .allowed_hosts
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(hosts, ["im.runware.ai", "*.example.com", "[::1]"]);
    assert!(settings.s3.force_path_style);
    assert_eq!(
        settings.server.public_url.unwrap().as_str(),
        "http://catchment.example.com/base"
    );
    assert_eq!(settings.server.max_body, ByteSize::mib(1));
    assert_eq!(settings.log.format, Some(LogFormat::Json));
}

#[test]
fn an_empty_variable_switches_an_optional_setting_off() {
    let start =
        Start::new().toml("[s3]\nregion = 'eu-west-1'\nprefix = 'a/'\n[server]\nadmin_listen = '[::1]:9'");
    assert_eq!(start.load().s3.region.as_deref(), Some("eu-west-1"));
    let off = start
        .env("CATCHMENT_S3__REGION", "")
        .env("CATCHMENT_S3__PREFIX", "");
    let off = off.env("CATCHMENT_SERVER__ADMIN_LISTEN", "").load();
    assert_eq!(
        (off.s3.region, off.s3.prefix.as_str(), off.server.admin_listen),
        (None, "", None)
    );
}

#[test]
fn variables_that_are_not_settings_are_ignored() {
    let foreign = [
        "CATCHMENT_URL",
        "CATCHMENT_KEY",
        "CATCHMENT_PORT",
        "CATCHMENT_SERVICE_HOST",
        "CATCHMENT_SERVICE_PORT",
    ];
    let kubernetes = [
        "CATCHMENT_PORT_8080_TCP",
        "CATCHMENT_PORT_8080_TCP_ADDR",
        "PATH",
        "X_CATCHMENT_A__B",
    ];
    let start = foreign
        .iter()
        .chain(&kubernetes)
        .fold(Start::new(), |start, name| start.env(name, "tcp://10.0.0.1:8080"));
    assert_eq!(start.load().show(), Settings::default().show());
}

#[test]
fn the_well_known_variables_are_the_lowest_of_the_environment() {
    let start = Start::new().toml("[runware]\napi_key = 'of-the-file'\n[log]\nlevel = 'error'");
    let known = start
        .env("RUNWARE_API_KEY", "well-known")
        .env("RUST_LOG", "debug");
    assert_eq!(api_key(&known.load()), "well-known");
    assert_eq!(known.load().log.level, "debug");
    let own = known
        .env("CATCHMENT_RUNWARE__API_KEY", "own")
        .env("CATCHMENT_LOG__LEVEL", "warn");
    assert_eq!(
        (api_key(&own.load()).as_str(), own.load().log.level.as_str()),
        ("own", "warn")
    );
}

#[test]
fn an_empty_well_known_variable_says_nothing() {
    let start = Start::new()
        .toml("[runware]\napi_key = 'of-the-file'")
        .env("RUNWARE_API_KEY", "");
    assert_eq!(api_key(&start.load()), "of-the-file");
}

#[test]
fn a_secret_may_stand_in_a_file_of_its_own() {
    let start = Start::new()
        .file("key.txt", "from-a-file\r\n")
        .env("CATCHMENT_RUNWARE__API_KEY_FILE", "key.txt");
    assert_eq!(api_key(&start.load()), "from-a-file");
    let weaker = start.env("RUNWARE_API_KEY", "weaker");
    assert_eq!(
        api_key(&weaker.load()),
        "from-a-file",
        "the well-known variable is weaker than a _file form"
    );
    let stronger = weaker.flag("runware.api_key", "stronger");
    assert_eq!(api_key(&stronger.load()), "stronger");
}

#[test]
fn callback_keys_are_read_in_order_in_either_alphabet_and_from_a_file() {
    let (first, second) = ([0xfb; 32], [7; 32]);
    let text = "-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n";
    let by_file = Start::new()
        .file("keys", text)
        .toml("[callback]\nkeys_file = 'keys'")
        .load();
    let by_list = Start::new()
        .env("CATCHMENT_CALLBACK__KEYS", &text.trim().replace('\n', ","))
        .load();
    for settings in [by_file, by_list] {
        let keys: Vec<[u8; 32]> = settings.callback.keys.iter().map(|key| *key.expose()).collect();
        assert_eq!(keys, [first, second]);
    }
}

#[test]
fn the_named_file_must_exist_and_the_usual_one_need_not() {
    let start = Start::new()
        .file("other.toml", "[data]\ndir = 'elsewhere'")
        .toml("[data]\ndir = 'here'");
    assert_eq!(start.load().data.dir, Path::new("here"));
    let named = start.load_from(Some(Path::new("other.toml"))).unwrap();
    assert_eq!(named.data.dir, Path::new("elsewhere"));
    assert_eq!(named.database_path(), Path::new("elsewhere/catchment.db"));
    let missing = start
        .load_from(Some(Path::new("absent.toml")))
        .unwrap_err()
        .to_string();
    assert!(missing.contains("absent.toml: cannot be read"), "{missing}");
}

#[test]
fn serving_needs_three_settings_and_the_tools_none() {
    let bare = Settings::default();
    bare.check(Purpose::Tool).unwrap();
    let ConfigErrors(missing) = bare.check(Purpose::Serve).unwrap_err();
    let keys: Vec<&str> = missing.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(keys, ["server.public_url", "runware.api_key", "s3.bucket"]);
    assert!(
        missing[2].to_string().contains("CATCHMENT_S3__BUCKET"),
        "{}",
        missing[2]
    );
    let start = Start::new()
        .env("RUNWARE_API_KEY", "k")
        .env("CATCHMENT_S3__BUCKET", "videos");
    start
        .env("CATCHMENT_SERVER__PUBLIC_URL", "https://c.example.com")
        .load()
        .check(Purpose::Serve)
        .unwrap();
}

#[test]
fn settings_built_in_code_are_checked_too() {
    let mut settings = Settings::default();
    settings.archive.concurrency = 0;
    let faults = settings.check(Purpose::Tool).unwrap_err().to_string();
    assert!(
        faults.contains("archive.concurrency: 0 is out of range (from 1 to 512)"),
        "{faults}"
    );
}

#[test]
fn the_command_line_becomes_flags() {
    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        config: ConfigFlags,
    }
    let parse = |args: &[&str]| <Command as clap::Parser>::try_parse_from([&["catchment"], args].concat());
    let command = parse(&[
        "--config",
        "x.toml",
        "--set",
        "poll.deadline=1h",
        "--set",
        "server.listen=[::1]:1",
        "--listen",
        "[::1]:2",
    ]);
    let config = command.unwrap_or_else(|fault| panic!("{fault}")).config;
    assert_eq!(config.config.as_deref(), Some(Path::new("x.toml")));
    let mut start = Start::new();
    start.flags = config.flags();
    assert_eq!(start.load().poll.deadline, seconds(3_600));
    assert_eq!(
        start.load().server.listen.port(),
        2,
        "the flag of its own name wins"
    );
    for wrong in ["deadline=1h", "poll.deadline"] {
        assert!(parse(&["--set", wrong]).is_err(), "{wrong}");
    }
}

fn api_key(settings: &Settings) -> String {
    use secrecy::ExposeSecret as _;
    settings
        .runware
        .api_key
        .as_ref()
        .unwrap()
        .expose_secret()
        .to_owned()
}
