//! Tasks submitted elsewhere: adopted, described by the provider, archived; nothing is bought.

use crate::journal::{cli, said};
use crate::outside::{Outside, Serve};
use crate::world::{task, uuid};
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::fmt::Write as _;

impl Outside {
    /// Submits past us, as another program with the same account does.
    async fn submit_elsewhere(&self, serve: &Serve, tasks: &[Value]) {
        for task in tasks {
            let request = serve.client.post(self.simulator.api_url());
            let sent = request
                .bearer_auth("provider-key")
                .json(&json!([task]))
                .send()
                .await;
            assert!(sent.unwrap().status().is_success());
        }
    }
}

impl Serve {
    async fn import(&self, content_type: &str, body: impl Into<reqwest::Body>) -> (StatusCode, Value) {
        let request = self.client.post(format!("{}/v1/tasks/import", self.base));
        let request = request
            .bearer_auth(&self.key)
            .header("content-type", content_type);
        let answer = request.body(body).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    /// The largest resident size so far, in KiB.
    pub fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_unknown_model_and_count_are_adopted_as_the_provider_describes_them() {
    let outside = Outside::start().await;
    let mut serve = Serve::start(&outside, None).await;
    let elsewhere: Vec<Value> = (0..9)
        .map(|n| {
            let mut sample = task(n, "");
            sample["numberResults"] = json!(1 + n % 3);
            sample["outputFormat"] = json!("MOV");
            sample
        })
        .collect();
    outside.submit_elsewhere(&serve, &elsewhere).await;

    let (status, answer) = serve
        .import(
            "application/json",
            json!([uuid(0), {"taskUUID": uuid(1).to_uppercase(), "labels": {"shot": "7"}}, uuid(2)])
                .to_string(),
        )
        .await;
    assert_eq!(status, 202, "{answer:#}");
    let entry = json!({"taskUUID": uuid(0), "status": "submitted", "origin": "imported", "known": false});
    assert_eq!((&answer["data"][0], &answer["imported"]), (&entry, &json!(3)));
    let table = format!("note,taskUUID,label.shot\nx,{},8\ny,{},\n", uuid(3), uuid(4));
    assert_eq!(serve.import("text/csv; charset=utf-8", table).await.0, 202);
    assert_eq!(
        serve
            .import("text/csv", format!("{}\n{}\n", uuid(5), uuid(0)))
            .await
            .1["known"],
        1
    );
    let lines = format!("\"{}\"\n{{\"taskUUID\":\"{}\"}}\n", uuid(6), uuid(7));
    assert_eq!(serve.import("application/x-ndjson", lines).await.0, 202);
    assert_eq!(
        serve
            .import("application/json", json!({"taskUUIDs": [uuid(8)]}).to_string())
            .await
            .0,
        202
    );

    serve.wait_settled(9).await;
    for n in 0..9 {
        let task = serve.task(&uuid(n)).await;
        assert_eq!(task["status"], "completed", "{task:#}");
        assert_eq!(
            (&task["origin"], &task["model"]),
            (&json!("imported"), &json!("klingai:avatar@2.0-pro"))
        );
        assert_eq!(task["numberResults"], 1 + n % 3);
        assert!(task["assets"][0]["key"].as_str().unwrap().ends_with(".mov"));
    }
    assert_eq!(serve.task(&uuid(1)).await["labels"]["shot"], "7");
    assert_eq!(serve.task(&uuid(3)).await["labels"]["shot"], "8");
    outside.assert_bought_once(9);
    assert_eq!(outside.s3.count().await, outside.paid(), "G5");
    serve.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_fault_in_a_list_and_nothing_of_it_is_imported() {
    let outside = Outside::start().await;
    let mut serve = Serve::start(&outside, None).await;
    let (status, problem) = serve
        .import("text/csv", format!("taskUUID\n{}\nnonsense\n", uuid(0)))
        .await;
    assert_eq!(
        (status.as_u16(), &problem["code"]),
        (422, &json!("invalid_import"))
    );
    assert_eq!(problem["errors"][0]["pointer"], "line 3/taskUUID");
    let (status, problem) = serve
        .import(
            "application/json",
            json!([uuid(0), {"labels": {}}, 7]).to_string(),
        )
        .await;
    assert_eq!(status, 422);
    let pointers: Vec<&str> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(pointers, ["/1/taskUUID", "/2"]);
    assert_eq!(serve.import("application/xml", "<a/>").await.0, 415);
    assert_eq!(serve.import("application/json", "[").await.0, 400);
    assert_eq!(serve.tasks().await, [] as [Value; 0]);
    serve.stop().await;
}

/// T1: another tenant's task is not adopted, and what it is is not told.
#[tokio::test(flavor = "multi_thread")]
async fn t1_another_tenants_task_is_refused_without_a_word_about_it() {
    let outside = Outside::start().await;
    let mut serve = Serve::start(&outside, None).await;
    serve.submit(&task(0, "render=1h")).await;
    let made = outside
        .command()
        .args(["keys", "create", "other", "--tenant", "media", "--json"])
        .output()
        .unwrap();
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let own = std::mem::replace(&mut serve.key, made["key"].as_str().unwrap().to_owned());
    let (status, answer) = serve
        .import("application/json", json!([uuid(0), uuid(1)]).to_string())
        .await;
    assert_eq!(status, 202);
    assert_eq!(
        answer["data"][0],
        json!({"taskUUID": uuid(0), "status": null, "origin": null, "known": false})
    );
    assert_eq!((&answer["refused"], &answer["imported"]), (&json!(1), &json!(1)));
    assert_eq!(serve.task(&uuid(0)).await["status"], 404);
    serve.key = own;
    assert_eq!(serve.task(&uuid(0)).await["origin"], "submitted");
    serve.stop().await;
}

/// Tens of thousands of ids by the command line: memory stays where it was, a repeat changes nothing, and callbacks are
/// taken meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_of_20_000_ids_leaves_the_memory_flat() {
    const FIRST: usize = 2_000;
    const IDS: usize = 20_000;
    let mut outside = Outside::start().await;
    outside.set("CATCHMENT_POLL__FIRST_AFTER", "1h");
    outside.set("CATCHMENT_POLL__MAX_INTERVAL", "1h");
    let serve = Serve::start(&outside, None).await;
    let first = list(&outside, "first.csv", 1..FIRST + 1);
    import_list(&outside, &serve, &first).await;
    let before = serve.peak_kib();

    let all = list(&outside, "all.csv", 1..IDS + 1);
    let others = async {
        for n in IDS + 1..IDS + 5 {
            serve.submit(&task(n, "")).await;
            serve.wait_status(&uuid(n), "completed").await;
        }
    };
    let (counts, ()) = tokio::join!(import_list(&outside, &serve, &all), others);
    assert_eq!(
        (&counts["imported"], &counts["known"]),
        (&json!(IDS - FIRST), &json!(FIRST))
    );
    let grown = serve.peak_kib().saturating_sub(before);
    println!("import of {IDS} ids: VmHWM {before} KiB after the first {FIRST}, {grown} KiB more after all");
    assert!(grown < 24 * 1024, "{grown} KiB for {} ids", IDS - FIRST);
    let asked = outside.simulator.stats().queries;
    assert!(asked < IDS as u64 / 2, "at a pace: {asked} questions at once");
    let again = import_list(&outside, &serve, &all).await;
    assert_eq!((&again["imported"], &again["known"]), (&json!(0), &json!(IDS)));
}

/// Two parts of a list, one of them bad: what was done is told, on the way and in the result file, and the mended list
/// does the rest.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_breaks_off_tells_what_it_did_and_a_repeat_does_the_rest() {
    const IN_ONE_PART: usize = 1_000;
    let mut outside = Outside::start().await;
    outside.set("CATCHMENT_POLL__FIRST_AFTER", "1h");
    outside.set("CATCHMENT_POLL__MAX_INTERVAL", "1h");
    let serve = Serve::start(&outside, None).await;
    let good = list(&outside, "good.csv", 1..IN_ONE_PART + 3);
    let text = std::fs::read_to_string(&good).unwrap();
    let bad = outside.dir.path().join("bad.csv");
    std::fs::write(&bad, text.replace(&uuid(IN_ONE_PART + 2), "no-uuid")).unwrap();

    let result = outside.dir.path().join("outcome.csv");
    let rows = || std::fs::read_to_string(&result).unwrap().lines().count() - 1;
    let import = async |file: &str| {
        let result = result.to_str().unwrap();
        cli(&outside, &serve, &["tasks", "import", file, "--result", result]).await
    };
    let broken = import(bad.to_str().unwrap()).await;
    let told = said(&broken);
    assert!(!broken.status.success(), "{told}");
    assert!(
        told.contains("1000 of 1002: 1000 imported"),
        "the way so far: {told}"
    );
    assert!(told.contains("1000 tasks before it are imported"), "{told}");
    assert_eq!(rows(), IN_ONE_PART);

    let whole = import(&good).await;
    assert!(whole.status.success(), "{}", said(&whole));
    assert!(
        said(&whole).contains("2 imported, 1000 known"),
        "{}",
        said(&whole)
    );
    assert_eq!(rows(), IN_ONE_PART + 2);
}

fn list(outside: &Outside, name: &str, range: std::ops::Range<usize>) -> String {
    let mut text = "taskUUID,label.batch\n".to_owned();
    range.for_each(|n| writeln!(text, "{},nightly", uuid(n)).unwrap());
    let file = outside.dir.path().join(name);
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

async fn import_list(outside: &Outside, serve: &Serve, file: &str) -> Value {
    let import = cli(outside, serve, &["tasks", "import", file, "--json"]).await;
    assert!(import.status.success(), "{}", said(&import));
    serde_json::from_slice(&import.stdout).unwrap()
}
