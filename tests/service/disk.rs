//! F3, G9: no room left on the disk of the database (and of the log). Nothing is acknowledged that is not stored;
//! reads go on; it recovers by itself.

use crate::outside::{Outside, Serve, pause};
use crate::world::{task, uuid};
use reqwest::Response;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How room is taken away from the running service, and given back.
enum Room {
    /// A small file system of its own, filled to the last page: the real thing, where one may be mounted.
    Disk { at: PathBuf },
    /// The process may not make any file longer: works everywhere.
    Limit,
}

impl Room {
    fn disk(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "none"])
            .arg(at)
            .output();
        let mounted = mount.is_ok_and(|m| m.status.success());
        mounted.then(|| Self::Disk { at: at.to_owned() })
    }

    fn take(&self, serve: &Serve) {
        match self {
            Self::Disk { at } => {
                let mut filler = File::create(at.join("filler")).unwrap();
                while filler.write_all(&[0; 4096]).is_ok() {}
            }
            Self::Limit => limit(serve, "0:"),
        }
    }

    fn give_back(&self, serve: &Serve) {
        match self {
            Self::Disk { at } => std::fs::remove_file(at.join("filler")).unwrap(),
            Self::Limit => limit(serve, "unlimited:"),
        }
    }
}

fn limit(serve: &Serve, bytes: &str) {
    let pid = serve.child.id().to_string();
    let set = Command::new("prlimit")
        .args(["--pid", &pid, &format!("--fsize={bytes}")])
        .status();
    assert!(set.unwrap().success());
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Self::Disk { at } = self {
            let _ = Command::new("umount").arg("-l").arg(at).status();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f3_on_a_full_disk_nothing_is_promised_and_nothing_is_lost() {
    let outside = Outside::start().await;
    let room = Room::disk(&outside.dir.path().join("data")).unwrap_or_else(|| {
        println!("no file system may be mounted here: the limit of the process stands in for it");
        Room::Limit
    });
    story(outside, room).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f3_when_no_write_succeeds_nothing_is_promised_and_nothing_is_lost() {
    story(Outside::start().await, Room::Limit).await;
}

async fn story(mut outside: Outside, room: Room) {
    outside.set("CATCHMENT_POLL__FIRST_AFTER", "1h"); // callbacks alone wake it
    outside.set("CATCHMENT_POLL__MAX_INTERVAL", "1h");
    let data = outside.dir.path().join("data");
    std::fs::create_dir_all(&data).unwrap();
    std::os::unix::fs::symlink(data.join("serve.log"), outside.dir.path().join("serve.log")).unwrap();
    // Past the limit a write is an error and not a signal.
    let mut command = outside.command();
    let binary = command.get_program().to_owned();
    let environment: Vec<_> = command
        .get_envs()
        .filter_map(|(k, v)| Some((k.to_owned(), v?.to_owned())))
        .collect();
    command = Command::new("sh");
    command
        .args(["-c", "trap '' XFSZ; exec \"$0\" serve"])
        .arg(binary)
        .env_clear()
        .envs(environment)
        .current_dir(outside.dir.path());
    let mut serve = Serve::of(&outside, command).await;
    serve.subscribe(&outside.endpoint).await;
    serve.submit(&task(0, "")).await;
    serve.wait_status(&uuid(0), "completed").await;
    serve.submit(&task(1, "render=1h")).await;
    serve.wait_status(&uuid(1), "submitted").await;
    let callback = outside.callback_url(&serve, &uuid(1)).await;

    room.take(&serve);
    let acknowledged = submit_until_refused(&serve, 2).await;
    for n in 0..300 {
        let answer = send_callback(&serve, &callback, n).await;
        match answer.status().as_u16() {
            503 => {
                is_refusal(answer).await;
                break;
            }
            200 => assert!(n < 299, "callbacks are taken for ever"),
            other => panic!("{other}"),
        }
    }
    wait_readiness(&serve, 503).await;
    assert_eq!(serve.readiness().await.1["code"], "storage_unavailable");
    let alive = serve
        .client
        .get(format!("{}/livez", serve.base))
        .send()
        .await
        .unwrap();
    assert_eq!(alive.status(), 200);
    let read = serve.task(&uuid(0)).await;
    assert_eq!(read["status"], "completed", "reads work");
    let refused = submit_until_refused(&serve, 2 + acknowledged).await;
    assert_eq!(refused, 0, "it stays refused");

    room.give_back(&serve);
    wait_readiness(&serve, 200).await;
    for n in 0..acknowledged {
        serve.wait_status(&uuid(2 + n), "completed").await;
    }
    let next = 2 + acknowledged;
    serve.submit(&task(next, "")).await;
    assert_eq!(send_callback(&serve, &callback, 0).await.status(), 200);
    outside.simulator.advance(Duration::from_secs(7_200));
    serve.wait_settled(next + 1).await;
    assert!(!serve.has_died(), "it is the same process");
    serve.stop().await;

    // What was acknowledged is durable, and nothing happened twice.
    let mut serve = Serve::start(&outside, None).await;
    let tasks = serve.tasks().await;
    assert_eq!(tasks.len(), next + 1);
    assert!(tasks.iter().all(|t| t["status"] == "completed"), "{tasks:#?}");
    assert!(
        outside.simulator.generations().iter().all(|g| g.accepted == 1),
        "I3"
    );
    let events = serve.events().await;
    outside.wait_for_deliveries(&events, "after the full disk").await;
    serve.stop().await;
}

/// How many were acknowledged before the first refusal.
async fn submit_until_refused(serve: &Serve, first: usize) -> usize {
    for n in 0..300 {
        let answer = serve.post("/v1/tasks", &task(first + n, ""), None).await.unwrap();
        if answer.status() != 202 {
            is_refusal(answer).await;
            return n;
        }
    }
    panic!("a full disk refuses nothing");
}

/// G9: the same for a submission and for a callback.
async fn is_refusal(answer: Response) {
    assert_eq!(answer.status(), 503);
    let after = answer
        .headers()
        .get("retry-after")
        .expect("Retry-After")
        .to_str()
        .unwrap();
    assert!(after.parse::<u32>().is_ok_and(|s| s > 0), "{after}");
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(
        (&problem["code"], &problem["retryable"]),
        (&json!("storage_unavailable"), &json!(true))
    );
}

async fn send_callback(serve: &Serve, url: &str, n: usize) -> Response {
    let body = json!({ "data": [{ "taskUUID": uuid(1), "status": "processing", "progress": n }] });
    serve.client.post(url).json(&body).send().await.unwrap()
}

async fn wait_readiness(serve: &Serve, status: u16) {
    for _ in 0..1500 {
        if serve.readiness().await.0 == status {
            return;
        }
        pause().await;
    }
    panic!("/readyz never answered {status}");
}
