//! The loss proof: what is paid, held against the bucket, the provider and the journal; and the cost ledger beside the
//! provider's own.

use crate::journal::{cli, said};
use crate::outside::{Outside, Serve};
use crate::wire::Wire;
use crate::world::{task, uuid};
use serde_json::{Value, json};

impl Outside {
    async fn remove(&self, key: &str) {
        let bucket = &self.s3.bucket;
        let request = bucket.client.delete_object().bucket(&bucket.name).key(key);
        request.send().await.unwrap();
    }
}

fn key_of(task: &Value) -> String {
    task["assets"][0]["key"].as_str().unwrap().to_owned()
}

async fn audit(outside: &Outside, serve: &Serve, flags: &[&str]) -> (Option<i32>, Value) {
    let output = cli(outside, serve, &[&["audit", "--json"], flags].concat()).await;
    let document = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    (output.status.code(), document)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_names_what_is_missing_and_repair_brings_it_back() {
    let outside = Outside::start().await;
    let mut serve = Serve::start(&outside, None).await;
    for n in 0..6 {
        serve.submit(&task(n, "")).await;
    }
    serve.wait_settled(6).await;
    let fine = cli(&outside, &serve, &["audit"]).await;
    assert!(
        said(&fine).contains("6 paid, 6 archived, 0 missing"),
        "{}",
        said(&fine)
    );
    assert_eq!(fine.status.code(), Some(0));

    // One object is gone, one was written over, one task and one result are unknown here.
    let (gone, other) = (
        key_of(&serve.task(&uuid(0)).await),
        key_of(&serve.task(&uuid(1)).await),
    );
    outside.remove(&gone).await;
    outside.s3.bucket.put(&other, b"somebody else's").await;
    serve.stop().await;
    edit(
        &outside,
        "DELETE FROM tasks WHERE id = 3",
        &["events", "deliveries"],
    );
    edit(&outside, "DELETE FROM assets WHERE task_id = 4", &[]);
    let mut serve = Serve::start(&outside, None).await;

    let (code, found) = audit(&outside, &serve, &["--provider"]).await;
    assert_eq!(code, Some(1), "{found:#}");
    let mut problems: Vec<(&str, &str)> = found["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| (f["problem"].as_str().unwrap(), f["taskUUID"].as_str().unwrap()))
        .collect();
    problems.sort();
    let names: Vec<String> = (0..4).map(uuid).collect();
    assert_eq!(
        problems,
        [
            ("object_differs", names[1].as_str()),
            ("object_gone", names[0].as_str()),
            ("result_unknown", names[3].as_str()),
            ("task_unknown", names[2].as_str())
        ]
    );
    assert_eq!(found["summary"]["missing"], 4);
    assert_eq!(found["data"][0]["key"], gone.as_str());

    let (_, mended) = audit(&outside, &serve, &["--provider", "--repair", "--yes"]).await;
    assert_eq!(mended["summary"]["repaired"], 3, "{mended:#}");
    let archived = |t: &Value| {
        t["assets"]
            .as_array()
            .is_some_and(|a| a.len() == 1 && a[0]["status"] == "archived")
    };
    for n in [0, 2, 3] {
        let task = serve.wait_task(&uuid(n), "archived again", archived).await;
        let generation = outside.generation(&uuid(n)).unwrap();
        assert_eq!(
            task["assets"][0]["sha256"].as_str(),
            generation.results[0].sha256.as_deref()
        );
    }
    assert_eq!(serve.task(&uuid(0)).await["assets"][0]["round"], 2, "a new round");
    let log = read(
        &outside,
        "SELECT group_concat(action || ' ' || subject) FROM operator_log",
    );
    assert!(log.contains(&format!("audit_repair {}", uuid(0))), "{log}");
    let (code, left) = audit(&outside, &serve, &["--provider"]).await;
    assert_eq!(
        (code, &left["summary"]["missing"]),
        (Some(1), &json!(1)),
        "what was written over stays named"
    );
    assert_eq!(
        outside.s3.get(&other).await.unwrap(),
        b"somebody else's",
        "I6: never written over by us"
    );
    outside.assert_bought_once(6);
    serve.stop().await;
}

/// Bytes that are as many as before, and not the same.
#[tokio::test(flavor = "multi_thread")]
async fn an_audit_names_an_object_of_equal_size_and_other_bytes() {
    let outside = Outside::start().await;
    let mut serve = Serve::start(&outside, None).await;
    for n in 0..2 {
        serve.submit(&task(n, "")).await;
    }
    serve.wait_settled(2).await;
    let key = key_of(&serve.task(&uuid(1)).await);
    let mut bytes = outside.s3.get(&key).await.unwrap();
    let before = bytes.clone();
    *bytes.last_mut().unwrap() ^= 1;
    outside.s3.bucket.put_with_sha256(&key, &bytes).await;
    assert_eq!(before.len(), outside.s3.get(&key).await.unwrap().len());

    let (code, found) = audit(&outside, &serve, &[]).await;
    assert_eq!(code, Some(1), "{found:#}");
    let told = found["data"].as_array().unwrap();
    assert_eq!(told.len(), 1, "{found:#}");
    assert_eq!(told[0]["problem"], "object_differs");
    assert_eq!(told[0]["taskUUID"].as_str(), Some(uuid(1).as_str()));
    assert_eq!(told[0]["key"].as_str(), Some(key.as_str()));

    outside.s3.bucket.put_with_sha256(&key, &before).await;
    let (code, found) = audit(&outside, &serve, &[]).await;
    assert_eq!(code, Some(0), "the same bytes are the same object: {found:#}");
    serve.stop().await;
}

fn edit(outside: &Outside, sql: &str, before: &[&str]) {
    let conn = rusqlite::Connection::open(outside.dir.path().join("data/catchment.db")).unwrap();
    conn.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    for table in before {
        let _ = conn.execute(&format!("DELETE FROM {table}"), []); // what refers to the rows to go
    }
    conn.execute_batch(sql).unwrap();
}

fn read(outside: &Outside, sql: &str) -> String {
    let conn = rusqlite::Connection::open(outside.dir.path().join("data/catchment.db")).unwrap();
    conn.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Page by page, and from any page on.
#[tokio::test(flavor = "multi_thread")]
async fn an_audit_goes_on_where_it_was_broken_off() {
    let outside = Outside::start().await;
    let mut serve = Serve::start(&outside, None).await;
    for n in 0..7 {
        serve.submit(&task(n, "")).await;
    }
    serve.wait_settled(7).await;
    let (mut cursor, mut paid, mut pages) = (String::new(), 0, 0);
    loop {
        let page = serve.get(&format!("/v1/audit?limit=3{cursor}")).await.unwrap();
        paid += page["paid"].as_u64().unwrap();
        pages += 1;
        let again = serve.get(&format!("/v1/audit?limit=3{cursor}")).await.unwrap();
        assert_eq!(again["paid"], page["paid"], "a page can be asked for again");
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(paid, 7);
    assert_eq!(pages, 3 + 3, "three of tasks, three of the journal");
    assert_eq!(
        serve.get("/v1/audit?cursor=x").await.unwrap()["code"],
        "invalid_query"
    );
    serve.stop().await;
}

/// What could not be looked at is never taken for what is there.
#[tokio::test(flavor = "multi_thread")]
async fn an_audit_is_whole_or_says_that_it_is_not() {
    let mut outside = Outside::start().await;
    let mut store = Wire::to(outside.s3.endpoint().as_str());
    store.up();
    outside.set("CATCHMENT_S3__ENDPOINT", store.url());
    let mut serve = Serve::start(&outside, None).await;
    serve.submit(&task(0, "")).await;
    serve.submit(&task(1, "")).await;
    serve.wait_settled(2).await;
    // Names that are not ours come before, and fill pages of the listing.
    for n in 0..7 {
        outside.s3.bucket.put(&format!(".journal/!{n}"), b"x").await;
    }
    serve.stop().await;
    let gone = "DELETE FROM tasks WHERE id = 2";
    edit(&outside, gone, &["events", "deliveries"]);
    let mut serve = Serve::start(&outside, None).await;
    let first = serve.get("/v1/audit?limit=2").await.unwrap();
    assert_eq!(
        (&first["complete"], &first["archived"]),
        (&json!(true), &json!(1))
    );
    let at = |cursor: &Value| format!("/v1/audit?limit=2&cursor={}", cursor.as_str().unwrap());
    let journal = at(&first["nextCursor"]);
    let (mut next, mut found) = (first["nextCursor"].clone(), vec![]);
    while !next.is_null() {
        let page = serve.get(&at(&next)).await.unwrap();
        found.extend(page["data"].as_array().unwrap().clone());
        next = page["nextCursor"].clone();
    }
    let problems: Vec<_> = found.iter().map(|f| f["problem"].as_str().unwrap()).collect();
    assert_eq!(problems, ["task_unknown"], "behind the strangers");

    store.down().await;
    let blind = serve.get("/v1/audit?limit=2").await.unwrap();
    assert_eq!(
        (&blind["complete"], &blind["unchecked"]),
        (&json!(false), &json!(1)),
        "{blind:#}"
    );
    let refused = serve.get(&journal).await.unwrap();
    assert_eq!(
        (&refused["code"], &refused["retryable"]),
        (&json!("bucket_unavailable"), &json!(true)),
        "a journal that cannot be listed has no end: {refused:#}"
    );
    serve.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_equals_what_the_provider_says_it_spent() {
    let outside = Outside::start().await;
    let mut serve = Serve::start(&outside, None).await;
    for n in 0..6 {
        let mut sample = task(n, if n == 5 { "fail=1" } else { "" });
        sample["catchment"] = json!({ "labels": { "customer": if n < 2 { "a" } else { "b" } } });
        serve.submit(&sample).await;
    }
    serve.wait_settled(6).await;
    let usage = serve.get("/v1/usage").await.unwrap();
    assert_eq!(usage["total"]["tasks"], 6);
    assert_eq!(
        (&usage["total"]["archived"], &usage["total"]["unpriced"]),
        (&json!(5), &json!(0))
    );
    let spent: f64 = outside
        .simulator
        .generations()
        .iter()
        .flat_map(|g| &g.results)
        .filter(|r| r.code.is_none())
        .map(|r| r.cost)
        .sum();
    let close = |value: &Value| (value.as_f64().unwrap() - spent).abs() < 1e-6;
    assert!(close(&usage["total"]["cost"]), "{usage:#}");
    let by = serve.get("/v1/usage?groupBy=label.customer,model").await.unwrap();
    let groups: Vec<(&str, u64)> = by["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (
                row["labels"]["customer"].as_str().unwrap(),
                row["tasks"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(groups, [("a", 2), ("b", 4)]);
    assert_eq!(
        serve.get("/v1/usage?groupBy=week").await.unwrap()["code"],
        "invalid_query"
    );
    let nobody = serve.get("/v1/usage?until=2001-01-01T00:00:00Z").await.unwrap();
    assert_eq!(
        (&nobody["data"], &nobody["total"]["tasks"]),
        (&json!([]), &json!(0))
    );

    let (_, audited) = audit(&outside, &serve, &[]).await;
    let days = audited["summary"]["days"].as_array().unwrap();
    let theirs: f64 = days
        .iter()
        .filter_map(|day| day["provider"]["cost"].as_f64())
        .sum();
    assert!((theirs - spent).abs() < 1e-6, "{days:#?}");
    assert!(days.iter().all(|day| day["difference"] == 0.0), "{days:#?}");
    let shown = cli(&outside, &serve, &["usage", "--by", "day,label.customer"]).await;
    assert_eq!(said(&shown).lines().count(), 2 * days.len(), "{}", said(&shown));
    serve.stop().await;
}

/// Tasks like the first one, with the object it has: rows the schema's own way.
fn multiply(outside: &Outside, count: u32) {
    let conn = rusqlite::Connection::open(outside.dir.path().join("data/catchment.db")).unwrap();
    let copy = |table: &str, own: &[(&str, &str)]| {
        let mut names = conn.prepare("SELECT name FROM pragma_table_info(?1)").unwrap();
        let names = names.query_map([table], |row| row.get::<_, String>(0)).unwrap();
        let names: Vec<String> = names.map(Result::unwrap).collect();
        let value = |name: &String| {
            let own = own.iter().find(|(of, _)| of == name);
            own.map_or_else(|| name.clone(), |(_, value)| (*value).to_owned())
        };
        let values: Vec<String> = names.iter().map(value).collect();
        let sql = format!(
            "WITH RECURSIVE n (i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < 999 + {count}) \
             INSERT INTO {table} ({}) SELECT {} FROM n, (SELECT * FROM {table} ORDER BY id LIMIT 1)",
            names.join(", "),
            values.join(", ")
        );
        conn.execute(&sql, []).unwrap();
    };
    copy("tasks", &[("id", "i"), ("uuid", "randomblob(16)")]);
    copy("assets", &[("id", "i"), ("task_id", "i")]);
}

/// Peak memory of the service after an audit of so many, in KiB; and what the audit said.
async fn peak_of_an_audit(count: u32) -> (u64, Value) {
    let outside = Outside::start().await;
    let mut serve = Serve::start(&outside, None).await;
    serve.submit(&task(0, "")).await;
    serve.wait_settled(1).await;
    serve.stop().await;
    multiply(&outside, count);
    let mut serve = Serve::start(&outside, None).await;
    let (code, found) = audit(&outside, &serve, &[]).await;
    assert_eq!(code, Some(0), "{found:#}");
    let peak = serve.peak_kib();
    serve.stop().await;
    (peak, found["summary"].clone())
}

/// Of 47,000 more, a KiB kept of each would be 46 MiB; caches and the pieces that the allocator keeps grow by less.
async fn audits_of_few_and_of_many(few: u32, many: u32) {
    let (few_kib, _) = peak_of_an_audit(few).await;
    let (many_kib, said) = peak_of_an_audit(many).await;
    println!("an audit of {few}: {few_kib} KiB at most, of {many}: {many_kib} KiB");
    assert_eq!(said["archived"], many + 1, "{said:#}");
    assert_eq!(said["missing"], 0);
    assert!(many_kib < few_kib + 16 * 1024, "{few_kib} KiB, then {many_kib}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_of_many_takes_no_more_memory_than_one_of_few() {
    audits_of_few_and_of_many(300, 1_500).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: `make audit`"]
async fn an_audit_of_50_000_takes_no_more_memory_than_one_of_few() {
    audits_of_few_and_of_many(3_000, 50_000).await; // both are many pages
}
