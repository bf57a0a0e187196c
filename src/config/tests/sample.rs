//! `deploy/catchment.toml` names every setting, with its default.

use std::collections::BTreeMap;

use super::*;

const SAMPLE: &str = include_str!("../../../deploy/catchment.toml");

struct Entry {
    value: String,
    /// The comment in front of it.
    prose: String,
}

/// The commented-out settings (`#key = value`; prose has a blank after the `#`), by full key.
fn settings_of_the_sample() -> BTreeMap<String, Entry> {
    let (mut section, mut prose) = ("", String::new());
    let mut found = BTreeMap::new();
    for line in SAMPLE.lines() {
        if let Some(text) = line.strip_prefix("# ") {
            prose.push_str(text);
            prose.push(' ');
        }
        if let Some(name) = line.strip_prefix('[') {
            section = name.strip_suffix(']').expect("a section");
        }
        let Some((name, value)) = line.strip_prefix('#').and_then(|line| line.split_once(" = ")) else {
            continue;
        };
        if name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit())
        {
            let entry = Entry {
                value: value.to_owned(),
                prose: std::mem::take(&mut prose),
            };
            let before = found.insert(format!("{section}.{name}"), entry);
            assert!(before.is_none(), "{section}.{name} stands in the sample twice");
        }
    }
    found
}

fn known_settings() -> Vec<(String, serde_json::Value)> {
    let json = Settings::default().show_json();
    let sections = json.as_object().unwrap().iter();
    let key = |(section, keys): (&String, &serde_json::Value)| {
        let keys = keys.as_object().unwrap().clone().into_iter();
        keys.map(|(name, shown)| (format!("{section}.{name}"), shown["value"].clone()))
            .collect::<Vec<_>>()
    };
    sections.flat_map(key).collect()
}

#[test]
fn the_sample_as_it_stands_changes_nothing() {
    assert_eq!(
        Start::new().toml(SAMPLE).load().show(),
        Settings::default().show()
    );
}

#[test]
fn the_sample_names_exactly_the_known_settings() {
    let mut sample: Vec<String> = settings_of_the_sample().into_keys().collect();
    let mut known: Vec<String> = known_settings().into_iter().map(|(key, _)| key).collect();
    known.extend(["runware.api_key_file".to_owned(), "callback.keys_file".to_owned()]);
    sample.sort();
    known.sort();
    assert_eq!(sample, known);
}

#[test]
fn a_setting_with_a_default_stands_in_the_sample_with_it() {
    let sample = settings_of_the_sample();
    for (key, default) in known_settings()
        .into_iter()
        .filter(|(_, default)| !default.is_null())
    {
        let (section, name) = key.split_once('.').unwrap();
        let json = Start::new()
            .toml(&format!("[{section}]\n{name} = {}", sample[&key].value))
            .load()
            .show_json();
        assert_eq!(json[section][name]["value"], default, "{key}");
    }
}

#[test]
fn an_example_of_a_setting_without_default_can_be_used() {
    let sample = settings_of_the_sample();
    for (key, _) in known_settings()
        .into_iter()
        .filter(|(_, default)| default.is_null())
    {
        let (section, name) = key.split_once('.').unwrap();
        let start = Start::new().toml(&format!("[{section}]\n{name} = {}", sample[&key].value));
        let settings = start.load_from(None).unwrap();
        assert!(!settings.show_json()[section][name]["value"].is_null(), "{key}");
    }
}

#[test]
fn a_setting_without_effect_is_marked() {
    let marks = [("archive.mode", "Not supported yet: direct")];
    for (key, mark) in marks {
        let prose = &settings_of_the_sample()[key].prose;
        assert!(prose.contains(mark), "{key}: {prose}");
    }
}

#[test]
fn the_other_samples_name_only_settings_that_exist() {
    let samples = [
        include_str!("../../../deploy/Dockerfile"),
        include_str!("../../../deploy/compose.yaml"),
        include_str!("../../../deploy/catchment.service"),
        include_str!("../../../deploy/README.md"),
    ];
    let word = |c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    let words = samples.iter().flat_map(|text| text.split(word));
    let variables: Vec<&str> = words.filter(|word| word.starts_with("CATCHMENT_")).collect();
    assert!(variables.len() > 5, "{variables:?}");
    let known = settings_of_the_sample();
    for variable in variables {
        let key = variable
            .trim_start_matches("CATCHMENT_")
            .replacen("__", ".", 1)
            .to_ascii_lowercase();
        assert!(known.contains_key(&key), "{variable}");
    }
}

#[test]
fn the_bucket_rule_ends_abandoned_uploads_of_every_prefix() {
    let rules: serde_json::Value =
        serde_json::from_str(include_str!("../../../deploy/bucket-lifecycle.json")).unwrap();
    assert_eq!(
        rules["Rules"][0]["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"],
        1
    );
    assert_eq!(rules["Rules"][0]["Filter"]["Prefix"], "");
    assert_eq!(rules["Rules"][0]["Status"], "Enabled");
    assert!(
        rules["Rules"][0].get("Expiration").is_none(),
        "results are never deleted"
    );
}
