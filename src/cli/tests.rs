pub mod service;
mod stories;

use super::*;
use clap::{Command as Clap, CommandFactory as _};

fn leaves<'a>(command: &'a Clap, path: &str, found: &mut Vec<(String, &'a Clap)>) {
    let path = format!("{path} {}", command.get_name()).trim().to_owned();
    found.push((path.clone(), command));
    for sub in command.get_subcommands() {
        leaves(sub, &path, found);
    }
}

fn examples(command: &Clap) -> Vec<String> {
    let help = command
        .get_after_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let lines = help
        .lines()
        .filter(|line| line.starts_with("  ") && line.contains("catchment "));
    lines.map(|line| line.trim().to_owned()).collect()
}

/// The words of an example's own command, without what is piped or redirected.
fn words(example: &str) -> Vec<OsString> {
    let own = example
        .split('|')
        .find(|part| part.contains("catchment "))
        .unwrap();
    let own = own.split('>').next().unwrap();
    own.split_whitespace().map(OsString::from).collect()
}

#[test]
fn the_command_line_contradicts_itself_nowhere() {
    Cli::command().debug_assert();
}

#[test]
fn help_lists_every_command() {
    let help = Cli::command().render_help().to_string();
    for command in [
        "serve",
        #[cfg(feature = "dev")]
        "dev",
        "simulate",
        "keys",
        "migrate",
        "backup",
        "config",
        "completions",
        "submit",
        "tasks",
        "events",
        "listen",
        "endpoints",
        "usage",
        "audit",
    ] {
        let listed = help
            .lines()
            .any(|line| line.trim_start().starts_with(&format!("{command} ")));
        assert!(listed, "{command} is not in\n{help}");
    }
}

#[test]
fn every_command_says_in_a_line_what_it_does_and_shows_examples_that_parse() {
    let root = Cli::command();
    let mut all = Vec::new();
    for command in root.get_subcommands() {
        leaves(command, "catchment", &mut all);
    }
    assert!(all.len() > 15, "{}", all.len());
    for (path, command) in all {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        assert!(!about.is_empty() && !about.contains('\n'), "{path}: {about:?}");
        let examples = examples(command);
        assert!(
            examples.iter().any(|example| example.contains(&path)),
            "{path}: {examples:?}"
        );
        for example in examples {
            if let Err(fault) = Cli::try_parse_from(words(&example)) {
                panic!("{example}\n{fault}");
            }
        }
    }
}

#[test]
fn usage_errors_exit_2_and_help_is_no_error() {
    let exit = |line: &str| run(line.split(' ').map(OsString::from));
    assert_eq!(exit("catchment --help"), Exit::Ok);
    assert_eq!(exit("catchment --version"), Exit::Ok);
    for line in [
        "catchment",
        "catchment nonsense",
        "catchment tasks list --status nonsense",
        "catchment tasks show not-a-uuid",
        "catchment tasks list --json --quiet",
        "catchment submit /nonexistent.json",
        "catchment submit x --timeout 5m",
        "catchment listen",
        "catchment listen --forward-to localhost:3000",
        "catchment listen --forward-to http://localhost:3000 --secret short",
    ] {
        assert_eq!(exit(line), Exit::Usage, "{line}");
    }
}

#[test]
fn wrong_settings_exit_78_before_anything_starts() {
    let exit = |line: &str| run(line.split(' ').map(OsString::from));
    for line in [
        "catchment serve --set poll.deadlin=12h",
        "catchment config show --set server.listen=nowhere --set a.b=c",
        "catchment keys list --config /nonexistent.toml",
    ] {
        assert_eq!(exit(line), Exit::Config, "{line}");
    }
}

#[test]
fn a_service_that_is_not_there_exits_75() {
    // A port that was free a moment ago.
    let address = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("--url=http://{address}");
    let line = ["catchment", "tasks", "list", &url];
    assert_eq!(run(line.map(OsString::from)), Exit::Temporary);
}

#[test]
fn a_key_never_shows_in_what_is_parsed() {
    let line = ["catchment", "tasks", "list", "--key", "ck_secret"];
    let parsed = Cli::try_parse_from(line).unwrap();
    assert!(!format!("{parsed:?}").contains("ck_secret"));
}

#[test]
fn a_setting_that_is_refused_is_not_quoted() {
    let line = ["catchment", "serve", "--set", "runware_api_key=rw-secret"];
    let said = without_secrets(Cli::try_parse_from(line).unwrap_err());
    let text = said.render().to_string();
    assert!(
        !text.contains("rw-secret") && text.contains("SECTION.KEY=VALUE"),
        "{text}"
    );
}
