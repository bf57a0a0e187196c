//! `config show` hides secrets, tells sources, and can be read back.

use super::*;

/// Everything set to something that is not the default, where that is supported.
fn full() -> Start {
    Start::new()
        .toml(
            r#"
            [server]
            listen = "[::]:80"
            callback_listen = "0.0.0.0:81"
            public_url = "https://c.example.com/x"
            [runware]
            api_key = "canary-1"
            default_prompt = "say \"hé\"\u007f\n"
            min_ttl = "90m"
            [s3]
            bucket = "videos"
            prefix = "a/"
            tags = { team = "video", "cost centre" = "7" }
            [archive]
            allowed_hosts = ["im.runware.ai", "*.example.com"]
            at_risk_after = 0.25
            [callback]
            keys = ["BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="]
            [net]
            allow_private = ["10.0.0.0/8"]
            "#,
        )
        .env("CATCHMENT_EVENTS__SCHEDULE", "0,1500ms,1h30m")
        .flag("log.format", "json")
}

#[test]
fn each_value_is_shown_with_its_source() {
    let start = full();
    let shown = start.load().show();
    let file = start.dir.path().join(DEFAULT_FILE).display().to_string();
    let lines = [
        format!("listen = \"[::]:80\"  # file {file}"),
        format!("api_key = \"<hidden>\"  # file {file}"),
        format!("keys = \"<hidden>\"  # file {file}"),
        "schedule = [\"0s\", \"1500ms\", \"90m\"]  # environment CATCHMENT_EVENTS__SCHEDULE".to_owned(),
        "format = \"json\"  # flag".to_owned(),
        "deadline = \"1d\"  # default".to_owned(),
        "# admin_listen is not set".to_owned(),
    ];
    for line in lines {
        assert!(shown.lines().any(|shown| shown == line), "{line}\n--\n{shown}");
    }
}

#[test]
fn json_tells_value_and_source() {
    let json = full().load().show_json();
    assert_eq!(json["events"]["schedule"]["value"][1], "1500ms");
    assert_eq!(
        json["events"]["schedule"]["source"],
        "environment CATCHMENT_EVENTS__SCHEDULE"
    );
    assert_eq!(json["runware"]["api_key"]["value"], "<hidden>");
    assert!(json["server"]["admin_listen"]["value"].is_null());
    assert_eq!(json["archive"]["at_risk_after"]["value"], 0.25);
}

#[test]
fn what_is_shown_reads_back_as_the_same_settings() {
    let settings = full().load();
    let without_secrets: Vec<_> = settings
        .show()
        .lines()
        .filter(|l| !l.contains("<hidden>"))
        .map(String::from)
        .collect();
    let again = Start::new().toml(&without_secrets.join("\n")).load();
    assert_eq!(values(&again, true), values(&settings, true));
    assert_ne!(
        values(&settings, true),
        values(&Settings::default(), true),
        "the comparison sees differences"
    );
    assert_eq!(again.s3.tags, settings.s3.tags);
    assert_eq!(again.runware.default_prompt, settings.runware.default_prompt);
}

#[test]
fn the_defaults_read_back_as_the_defaults() {
    let again = Start::new().toml(&Settings::default().show()).load();
    assert_eq!(values(&again, false), values(&Settings::default(), false));
}

#[test]
fn values_set_in_code_say_so() {
    let mut settings = Settings::default();
    settings.server.listen = "127.0.0.1:0".parse().unwrap();
    assert!(settings.show().contains("listen = \"127.0.0.1:0\"  # built in"));
}

#[test]
fn debug_text_holds_no_secret_and_no_prompt() {
    let settings = full().load();
    let text = format!("{settings:?} {:?}", settings.callback.keys);
    for secret in ["canary-1", "hé", "BwcH", "[7, 7"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert!(text.contains("videos"), "the rest is there");
    let flags = ConfigFlags {
        set: vec![("runware.api_key".into(), "canary-2".into())],
        ..ConfigFlags::default()
    };
    assert!(!format!("{flags:?}").contains("canary-2"));
}

/// Key and value of every setting, without sources.
fn values(settings: &Settings, without_secrets: bool) -> Vec<(String, String)> {
    let json = settings.show_json();
    let sections = json.as_object().unwrap().iter();
    let all = sections.flat_map(|(section, keys)| {
        let key = move |(name, shown): (&String, &serde_json::Value)| {
            (format!("{section}.{name}"), shown["value"].to_string())
        };
        keys.as_object().unwrap().iter().map(key)
    });
    all.filter(|(key, _)| !(without_secrets && ["runware.api_key", "callback.keys"].contains(&key.as_str())))
        .collect()
}
