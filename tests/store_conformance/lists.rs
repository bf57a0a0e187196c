//! T1 and what people look at.

use crate::kit::*;
use catchment::domain::ids::{Digest, TaskId};
use catchment::domain::task::TaskStatus;
use catchment::ports::store::*;

async fn listed(s: &dyn Store, query: TaskQuery) -> Vec<TaskId> {
    let page = s.tasks(&query).await.unwrap();
    page.tasks.iter().map(|f| f.task.id).collect()
}

pub async fn t1_tenants_never_see_each_other(s: &dyn Store) {
    let other = tenant("other");
    accept(s, 1, at(0)).await;
    let theirs = vec![new_task(task(2, &other, at(0)), "{}")];
    s.accept(submission(&other, None, theirs)).await.unwrap();
    assert!(s.task(Some(&acme()), id(1)).await.unwrap().is_some());
    assert_eq!(s.task(Some(&acme()), id(2)).await.unwrap(), None);
    assert_eq!(listed(s, all_tasks(&acme())).await, [id(1)]);
    assert_eq!(listed(s, all_tasks(&other)).await, [id(2)]);
    let mut statuses = all_tasks(&other);
    statuses.statuses = TaskStatus::ALL.to_vec();
    assert_eq!(listed(s, statuses).await, [id(2)]);
    let log = s.events(&all_events(&other)).await.unwrap();
    assert!(log.events.iter().all(|e| e.task == Some(id(2))));
    let mut peeking = all_events(&other);
    peeking.task = Some(id(1));
    assert!(s.events(&peeking).await.unwrap().events.is_empty());
}

pub async fn tasks_are_listed_newest_first_in_pages(s: &dyn Store) {
    for n in 1..=7 {
        accept(s, n, at(i64::from(n))).await;
    }
    let (mut seen, mut cursor) = (vec![], None);
    loop {
        let page = s
            .tasks(&TaskQuery {
                limit: 3,
                cursor,
                ..all_tasks(&acme())
            })
            .await
            .unwrap();
        assert!(page.tasks.len() <= 3);
        seen.extend(page.tasks.iter().map(|f| f.task.id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, (1..=7).rev().map(id).collect::<Vec<_>>());
}

pub async fn tasks_are_filtered(s: &dyn Store) {
    for n in 1..=4u32 {
        let mut one = task(n, &acme(), at(i64::from(n)));
        one.labels.insert("parity".to_owned(), (n % 2).to_string());
        if n == 4 {
            one.model = "other:model@1".to_owned();
        }
        let new = vec![new_task(one, "{}")];
        s.accept(submission(&acme(), None, new)).await.unwrap();
    }
    let lease = s.claim_submissions(claim(at(9), 1)).await.unwrap().remove(0);
    let fence = task_fence(&lease, id(1));
    s.commit(lease.item.refused("invalid", "no", false, at(9)), fence)
        .await
        .unwrap();
    let q = || all_tasks(&acme());
    let statuses = |list: &[TaskStatus]| TaskQuery {
        statuses: list.to_vec(),
        ..q()
    };
    assert_eq!(listed(s, statuses(&[TaskStatus::Rejected])).await, [id(1)]);
    let both = statuses(&[TaskStatus::Rejected, TaskStatus::Accepted]);
    assert_eq!(listed(s, both).await, [id(4), id(3), id(2), id(1)]);
    let model = Some("other:model@1".to_owned());
    assert_eq!(listed(s, TaskQuery { model, ..q() }).await, [id(4)]);
    let labels = [("parity".to_owned(), "1".to_owned())].into();
    assert_eq!(listed(s, TaskQuery { labels, ..q() }).await, [id(3), id(1)]);
    let (since, until) = (Some(at(2)), Some(at(4)));
    assert_eq!(listed(s, TaskQuery { since, until, ..q() }).await, [id(3), id(2)]);
}

pub async fn two_statuses_page_without_gap_or_repeat(s: &dyn Store) {
    for n in 1..=9u32 {
        accept(s, n, at(i64::from(n))).await;
    }
    for n in [1, 2, 3] {
        let lease = s.claim_submissions(claim(at(20), 1)).await.unwrap().remove(0);
        let fence = task_fence(&lease, id(n));
        s.commit(lease.item.refused("invalid", "no", false, at(20)), fence)
            .await
            .unwrap();
    }
    let (mut seen, mut cursor) = (vec![], None);
    loop {
        let page = s
            .tasks(&TaskQuery {
                statuses: vec![TaskStatus::Rejected, TaskStatus::Accepted],
                limit: 2,
                cursor,
                ..all_tasks(&acme())
            })
            .await
            .unwrap();
        seen.extend(page.tasks.iter().map(|f| f.task.id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, (1..=9).rev().map(id).collect::<Vec<_>>());
}

pub async fn a_timeline_tells_the_story_in_order(s: &dyn Store) {
    submit(s, 1, at(0)).await;
    s.record(receipt(1, "x", at(1))).await.unwrap();
    let t = discovery(file(s, 1).await, &["a"], at(2));
    s.commit(t, catchment::domain::lease::Fence::Version)
        .await
        .unwrap();
    let lines = s.timeline(id(1)).await.unwrap();
    let kinds: Vec<&str> = lines.iter().map(|l| l.kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "accepted",
            "submitting",
            "submitted",
            "callback",
            "queried",
            "discovered"
        ]
    );
    assert_eq!(lines[3].detail["bytes"], 1);
    assert!(lines.windows(2).all(|w| w[0].at <= w[1].at));
    assert!(s.timeline(id(2)).await.unwrap().is_empty());
}

pub async fn figures_count_what_is_there(s: &dyn Store) {
    complete(s, 1, at(0)).await;
    discover(s, 2, &["a"], at(50)).await;
    discover(s, 3, &["a"], at(40)).await;
    accept(s, 4, at(60)).await;
    let of = |f: &Figures, status| f.tasks.iter().find(|(st, _)| *st == status).map(|(_, n)| *n);
    let figures = s.figures(at(99)).await.unwrap();
    assert_eq!(of(&figures, TaskStatus::Completed), Some(1));
    assert_eq!(of(&figures, TaskStatus::Archiving), Some(2));
    assert_eq!(of(&figures, TaskStatus::Accepted), Some(1));
    assert_eq!(figures.tasks.iter().map(|(_, n)| n).sum::<u64>(), 4);
    let urgent = file(s, 3).await.assets[0].archive_by;
    assert_eq!(figures.oldest_archive_by, Some(urgent));
    assert_eq!(figures.last_sequence, *s.last_sequence().borrow());
    assert_eq!(figures.event_lag, 0, "no endpoint, nobody behind");
    s.create_endpoint(endpoint(1, &acme(), &[], 1)).await.unwrap();
    let lag = s.figures(at(99)).await.unwrap().event_lag;
    assert_eq!(lag, figures.last_sequence - 1);
}

pub async fn a_write_can_be_proved(s: &dyn Store) {
    s.check_writable().await.unwrap();
}

pub async fn keys_are_found_by_their_hash_until_revoked(s: &dyn Store) {
    let key = |n: u8| NewApiKey {
        id: format!("key_{n}"),
        tenant: acme(),
        name: format!("ci-{n}"),
        sha256: Digest([n; 32]),
        created_at: at(i64::from(n)),
    };
    s.create_key(key(1)).await.unwrap();
    s.create_key(key(2)).await.unwrap();
    let found = s.key_by_hash(&Digest([1; 32])).await.unwrap().unwrap();
    assert_eq!((found.id.as_str(), &found.tenant), ("key_1", &acme()));
    assert_eq!(s.key_by_hash(&Digest([9; 32])).await.unwrap(), None);
    assert!(s.revoke_key("ci-1", at(50)).await.unwrap());
    assert!(!s.revoke_key("key_1", at(51)).await.unwrap(), "revoked before");
    assert!(!s.revoke_key("nobody", at(51)).await.unwrap());
    assert_eq!(s.key_by_hash(&Digest([1; 32])).await.unwrap(), None);
    assert!(s.revoke_key("key_2", at(52)).await.unwrap());
    let all = s.keys().await.unwrap();
    let revoked: Vec<_> = all.iter().map(|k| k.revoked_at).collect();
    assert_eq!(revoked, [Some(at(50)), Some(at(52))]);
}
