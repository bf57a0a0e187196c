use super::*;
use crate::adapters::manual_clock::ManualClock;
use crate::domain::time::Timestamp;
use std::time::Duration;

fn rates(per_second: u32, burst: u32) -> (KeyRates, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_767_323_045_678)));
    let rate = Rate {
        per_second: NonZeroU32::new(per_second).unwrap(),
        burst: NonZeroU32::new(burst).unwrap(),
    };
    (KeyRates::new(rate, clock.clone()), clock)
}

/// What is left, or the wait of a refusal.
fn ask(rates: &KeyRates, key: &str) -> Result<u32, u32> {
    match rates.count(key) {
        (standing, Ok(())) => Ok(standing.remaining),
        (_, Err(ApiError::TooFast { wait_s })) => Err(wait_s),
        (_, Err(other)) => panic!("{other:?}"),
    }
}

#[test]
fn t2_a_key_has_its_burst_then_its_rate_and_no_other_key_pays() {
    let (rates, clock) = rates(2, 5);
    for left in (0..5).rev() {
        assert_eq!(ask(&rates, "a"), Ok(left));
    }
    assert_eq!(ask(&rates, "a"), Err(1));
    assert_eq!(ask(&rates, "b"), Ok(4));
    clock.advance(Duration::from_secs(1));
    assert!(ask(&rates, "a").is_ok() && ask(&rates, "a").is_ok());
    assert!(ask(&rates, "a").is_err(), "two a second, not more");
    clock.advance(Duration::from_secs(60));
    assert_eq!(ask(&rates, "a"), Ok(4), "never above the burst");
}

#[test]
fn a_refusal_names_a_time_after_which_it_holds_no_more() {
    let (rates, clock) = rates(1, 1);
    assert!(ask(&rates, "a").is_ok());
    let wait_s = ask(&rates, "a").unwrap_err();
    clock.advance(Duration::from_secs(wait_s.into()));
    assert!(ask(&rates, "a").is_ok());
}

#[test]
fn the_headers_say_limit_rest_and_reset() {
    let (rates, _clock) = rates(10, 40);
    let mut headers = HeaderMap::new();
    rates.count("a").0.tell(&mut headers);
    let told = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!(told("ratelimit-policy"), "\"key\";q=40;w=4");
    assert_eq!(told("ratelimit"), "\"key\";r=39;t=1");
    assert_eq!(told("x-ratelimit-limit"), "40");
    assert_eq!(told("x-ratelimit-remaining"), "39");
    assert_eq!(told("x-ratelimit-reset"), "1");
}
