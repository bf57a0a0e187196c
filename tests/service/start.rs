//! What keeps the service from starting is told in words and by the exit code.

use crate::outside::{Outside, Serve};
use crate::world::{task, uuid};
use std::process::Output;

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_services_on_one_database_are_refused() {
    let outside = Outside::start().await;
    let mut serve = Serve::start(&outside, None).await;
    let second = outside
        .command()
        .arg("serve")
        .env("CATCHMENT_SERVER__LISTEN", "127.0.0.1:0")
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(75), "{}", told(&second));
    let said = told(&second);
    assert!(said.contains("catchment.db") && said.contains("lock"), "{said}");
    // The first one did not notice.
    serve.submit(&task(0, "")).await;
    serve.wait_status(&uuid(0), "completed").await;

    // Another database, and the same address.
    let elsewhere = outside
        .command()
        .arg("serve")
        .env("CATCHMENT_DATA__DIR", "other-data")
        .output()
        .unwrap();
    assert_eq!(elsewhere.status.code(), Some(75));
    let said = told(&elsewhere);
    assert!(
        said.contains("server.listen") && said.contains(&outside.port.to_string()),
        "{said}"
    );
    serve.stop().await;
    // And once it is gone, the next one starts.
    let mut next = Serve::start(&outside, None).await;
    assert_eq!(next.task(&uuid(0)).await["status"], "completed");
    next.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_nobody_knows_is_named_with_its_nearest() {
    let outside = Outside::start().await;
    let cases = [
        ("CATCHMENT_S3__BUKET", "films", "s3.bucket"),
        ("CATCHMENT_POLL__FIRST_AFTR", "1s", "poll.first_after"),
        ("CATCHMENT_RETRY__MAX_INTERVALL", "1s", "retry.max_interval"),
    ];
    for (name, value, nearest) in cases {
        let refused = outside.command().arg("serve").env(name, value).output().unwrap();
        let said = told(&refused);
        assert_eq!(refused.status.code(), Some(78), "{said}");
        assert!(said.contains(&format!("did you mean {nearest}?")), "{said}");
    }
    // Every fault of the settings is told at once, and nothing was made.
    let refused = outside
        .command()
        .arg("serve")
        .env("CATCHMENT_S3__BUKET", "films")
        .env("CATCHMENT_POLL__DEADLINE", "soon")
        .output()
        .unwrap();
    let said = told(&refused);
    assert!(
        said.contains("s3.buket") && said.contains("poll.deadline"),
        "{said}"
    );
    assert!(!outside.dir.path().join("data").exists());
}
