//! The client of deliveries in a bare loop: nothing claimed, nothing signed, nothing stored.

use crate::latencies::Latencies;
use crate::{Outcome, block_on};
use catchment::adapters::guard::{GuardSettings, GuardedClient};
use catchment::domain::address::{AddressRule, Purpose};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::json;
use std::time::{Duration, Instant};
use url::Url;

#[derive(clap::Args)]
pub struct Args {
    #[arg(long)]
    url: Vec<Url>,
    #[arg(long, default_value_t = 64)]
    concurrency: usize,
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
}

/// As large as an `asset.archived` with two labels.
const BODY: &str = r#"{"id":"evt_00112233445566778899aabbccddeeff","sequence":1234567,"taskSequence":4,"type":"asset.archived","timestamp":"2026-01-02T03:04:05.678Z","data":{"taskUUID":"0c0ffee0-0000-4000-8000-000000000001","resultId":"0c0ffee0-0000-4000-8000-000000000002","model":"klingai:avatar@2.0-pro","labels":{"customer":"acme","campaign":"spring"},"round":1,"bucket":"bench","key":"0c0ffee0-0000-4000-8000-000000000001/0c0ffee0-0000-4000-8000-000000000002.mp4","size":209715200,"sha256":"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff","contentType":"video/mp4","duration":5.0,"width":1080,"height":1920,"cost":4.35,"nsfw":false}}"#;

pub fn run(args: Args) -> Outcome {
    block_on(async move {
        let rule = AddressRule::new(vec!["127.0.0.0/8".parse()?]);
        let settings = GuardSettings {
            user_agent: "bench".to_owned(),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
        };
        let client = GuardedClient::new(rule, &settings)?;
        let until = Instant::now() + Duration::from_secs_f64(args.seconds);
        let posting = (0..args.concurrency).map(|n| {
            let url = args.url[n % args.url.len()].clone();
            tokio::spawn(post_until(client.clone(), url, until))
        });
        let (mut sent, mut latencies) = (0, Latencies::default());
        for one in posting.collect::<Vec<_>>() {
            let (n, seen) = one.await??;
            sent += n;
            latencies.join(seen);
        }
        println!(
            "{}",
            json!({ "rate": sent as f64 / args.seconds, "latencyMs": latencies.summary() })
        );
        Ok(())
    })
}

async fn post_until(
    client: GuardedClient,
    url: Url,
    until: Instant,
) -> Result<(u64, Latencies), Box<dyn std::error::Error + Send + Sync>> {
    let headers = HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (
            HeaderName::from_static("webhook-id"),
            HeaderValue::from_static("evt_00112233445566778899aabbccddeeff"),
        ),
        (
            HeaderName::from_static("webhook-timestamp"),
            HeaderValue::from_static("1767323045"),
        ),
        (
            HeaderName::from_static("webhook-signature"),
            HeaderValue::from_static("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        ),
    ]);
    let (mut sent, mut latencies) = (0, Latencies::default());
    while Instant::now() < until {
        let began = Instant::now();
        let request = client.request(Method::POST, url.clone(), Purpose::Endpoint)?;
        let request = request
            .headers(headers.clone())
            .body(BODY)
            .timeout(Duration::from_secs(15));
        let answer = request.send().await?;
        if !answer.status().is_success() {
            return Err(format!("answered {}", answer.status()).into());
        }
        latencies.add(began.elapsed());
        sent += 1;
    }
    Ok((sent, latencies))
}
