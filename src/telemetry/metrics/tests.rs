use std::collections::BTreeSet;

use super::*;

/// The names that are promised, as a scraper sees them.
const NAMES: [&str; 16] = [
    "catchment_archive_bytes_total",
    "catchment_archive_deadline_margin_seconds",
    "catchment_archive_duration_seconds",
    "catchment_archive_failures_total{reason}",
    "catchment_build_info{version}",
    "catchment_callback_ack_duration_seconds",
    "catchment_callbacks_received_total{result}",
    "catchment_degraded{component}",
    "catchment_deliveries_total{outcome}",
    "catchment_event_lag{sink}",
    "catchment_oldest_unarchived_archive_by_timestamp_seconds",
    "catchment_provider_cost_usd_total",
    "catchment_recovered_by_poll_total",
    "catchment_results_lost_total",
    "catchment_submissions_total{outcome}",
    "catchment_tasks{status}",
];

/// Name and label names of every sample; the parts of a histogram count as the histogram.
fn names(page: &str) -> BTreeSet<String> {
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|sample| name_of(sample.rsplit_once(' ').unwrap().0))
        .collect()
}

fn name_of(series: &str) -> String {
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let histogram = ["_bucket", "_sum", "_count"]
        .iter()
        .find_map(|part| name.strip_suffix(part));
    let labels = labels
        .trim_end_matches('}')
        .split(',')
        .filter_map(|label| label.split_once('='));
    let labels: Vec<&str> = labels
        .map(|(label, _)| label)
        .filter(|label| *label != "le")
        .collect();
    let name = histogram.unwrap_or(name);
    if labels.is_empty() {
        name.to_owned()
    } else {
        format!("{name}{{{}}}", labels.join(","))
    }
}

#[test]
fn the_page_holds_exactly_the_promised_names() {
    let metrics = Metrics::new();
    metrics.set_oldest_unarchived(Some(1_800_000_000));
    assert_eq!(names(&metrics.render()), NAMES.map(String::from).into());
}

#[test]
fn every_label_value_is_there_from_the_start() {
    let page = Metrics::new().render();
    let zeros = [
        "catchment_tasks{status=\"timed_out\"} 0",
        "catchment_callbacks_received_total{result=\"bad_token\"} 0",
        "catchment_archive_failures_total{reason=\"source_gone\"} 0",
        "catchment_event_lag{sink=\"nats\"} 0",
    ];
    for line in zeros {
        assert!(page.lines().any(|shown| shown == line), "{line}\n{page}");
    }
    assert!(page.ends_with("# EOF\n"));
}

#[test]
fn each_call_moves_its_own_metric() {
    let metrics = Metrics::new();
    let shared = metrics.clone();
    shared.set_tasks(TaskStatus::Archiving, 7);
    shared.submission(SubmissionOutcome::Unclear);
    shared.callback_received(CallbackResult::Stored, Duration::from_millis(2));
    shared.archived(Duration::from_secs(3), 1_000, Duration::ZERO);
    shared.archive_failed(ArchiveFailure::Conflict);
    shared.recovered_by_poll();
    shared.result_lost();
    shared.delivery(DeliveryOutcome::Dead);
    shared.set_event_lag(Sink::Webhook, u64::MAX);
    shared.provider_cost_usd(4.25);
    shared.provider_cost_usd(-1.0);
    shared.provider_cost_usd(f64::NAN);
    let page = metrics.render();
    let lines = [
        "catchment_tasks{status=\"archiving\"} 7",
        "catchment_submissions_total{outcome=\"unclear\"} 1",
        "catchment_callbacks_received_total{result=\"stored\"} 1",
        "catchment_callback_ack_duration_seconds_bucket{le=\"0.001\"} 0",
        "catchment_callback_ack_duration_seconds_bucket{le=\"0.0025\"} 1",
        "catchment_archive_duration_seconds_sum 3.0",
        "catchment_archive_bytes_total 1000",
        "catchment_archive_deadline_margin_seconds_bucket{le=\"0.0\"} 1",
        "catchment_archive_failures_total{reason=\"conflict\"} 1",
        "catchment_recovered_by_poll_total 1",
        "catchment_results_lost_total 1",
        "catchment_deliveries_total{outcome=\"dead\"} 1",
        "catchment_event_lag{sink=\"webhook\"} 9223372036854775807",
        "catchment_provider_cost_usd_total 4.25",
    ];
    for line in lines {
        assert!(page.lines().any(|shown| shown == line), "{line}\n{page}");
    }
}

#[test]
fn the_next_dying_link_is_absent_when_there_is_none() {
    let metrics = Metrics::new();
    let name = "catchment_oldest_unarchived_archive_by_timestamp_seconds";
    assert!(!metrics.render().contains(name));
    metrics.set_oldest_unarchived(Some(1_800_000_000));
    assert!(metrics.render().contains(&format!("\n{name} 1800000000\n")));
    metrics.set_oldest_unarchived(None);
    assert!(!metrics.render().contains(name));
}
