//! G1, G2: accepted means kept; the same request, one task.

use crate::kit::*;
use catchment::domain::file::TaskFile;
use catchment::domain::task::Origin;
use catchment::ports::store::*;

fn entry(n: u32) -> String {
    format!("{{\"taskUUID\":\"{}\"}}", id(n))
}

fn one(n: u32, body: &str) -> Vec<NewTask> {
    vec![new_task(task(n, &acme(), at(0)), body)]
}

pub async fn an_accepted_task_is_read_back_whole(s: &dyn Store) {
    let mut whole = task(1, &acme(), at(0));
    whole.labels.insert("shot".to_owned(), "täst \"1\"".to_owned());
    whole.key_prefix = Some("a/b/".to_owned());
    whole.ext = catchment::domain::asset::ObjectExt::new("mp4");
    whole.deadline = Some(at(900));
    let new = new_task(whole, "{\"positivePrompt\":\"x\"}");
    let mut expected = new.transition.task.clone();
    let answer = s.accept(submission(&acme(), None, vec![new])).await.unwrap();
    assert_eq!(answer, Accepted::Stored(vec![entry(1)]));
    expected.version = 1;
    assert_eq!(file(s, 1).await.task, expected);
    let document = s.document(id(1)).await.unwrap();
    assert_eq!(document.as_deref(), Some("{\"positivePrompt\":\"x\"}"));
}

pub async fn g2_a_known_key_with_the_same_body_answers_the_stored_entries(s: &dyn Store) {
    let first = s
        .accept(submission(&acme(), Some("k"), one(1, "a")))
        .await
        .unwrap();
    // The edge makes up a new task id for each request that names none: the key alone must recognise it.
    let again = s
        .accept(submission(&acme(), Some("k"), one(2, "a")))
        .await
        .unwrap();
    assert_eq!(first, Accepted::Stored(vec![entry(1)]));
    assert_eq!(again, Accepted::Replayed(vec![entry(1)]));
    assert_eq!(s.task(None, id(2)).await.unwrap(), None);
}

pub async fn i2_a_known_key_with_another_body_is_refused(s: &dyn Store) {
    s.accept(submission(&acme(), Some("k"), one(1, "a")))
        .await
        .unwrap();
    let other = s
        .accept(submission(&acme(), Some("k"), one(2, "b")))
        .await
        .unwrap();
    assert_eq!(other, Accepted::KeyReused);
    assert_eq!(s.task(None, id(2)).await.unwrap(), None);
    let elsewhere = submission(&tenant("other"), Some("k"), one(3, "b"));
    assert!(
        matches!(s.accept(elsewhere).await.unwrap(), Accepted::Stored(_)),
        "keys are a tenant's own"
    );
}

pub async fn g2_a_known_task_with_the_same_body_is_replayed_and_with_another_refused(s: &dyn Store) {
    s.accept(submission(&acme(), None, one(1, "a"))).await.unwrap();
    let again = s.accept(submission(&acme(), None, one(1, "a"))).await.unwrap();
    assert_eq!(again, Accepted::Replayed(vec![entry(1)]));
    let other = s.accept(submission(&acme(), None, one(1, "b"))).await.unwrap();
    assert_eq!(
        other,
        Accepted::TaskConflict {
            index: 0,
            task: id(1)
        }
    );
    let log = s.events(&all_events(&acme())).await.unwrap();
    assert_eq!(log.events.len(), 1, "one task, told once");
}

pub async fn t1_another_tenants_task_id_is_a_conflict_even_with_the_same_body(s: &dyn Store) {
    s.accept(submission(&acme(), None, one(1, "a"))).await.unwrap();
    let thief = tenant("thief");
    let theirs = vec![new_task(task(1, &thief, at(0)), "a")];
    let answer = s.accept(submission(&thief, None, theirs)).await.unwrap();
    assert_eq!(
        answer,
        Accepted::TaskConflict {
            index: 0,
            task: id(1)
        }
    );
}

pub async fn a_submission_is_stored_whole_or_not_at_all(s: &dyn Store) {
    s.accept(submission(&acme(), None, one(3, "c"))).await.unwrap();
    let mut batch = one(1, "a");
    batch.extend(one(2, "b"));
    batch.extend(one(3, "other"));
    let answer = s.accept(submission(&acme(), Some("k"), batch)).await.unwrap();
    assert_eq!(
        answer,
        Accepted::TaskConflict {
            index: 2,
            task: id(3)
        }
    );
    assert_eq!(s.task(None, id(1)).await.unwrap(), None);
    assert_eq!(s.events(&all_events(&acme())).await.unwrap().events.len(), 1);
    // The key was not spent either.
    let retry = s
        .accept(submission(&acme(), Some("k"), one(4, "d")))
        .await
        .unwrap();
    assert_eq!(retry, Accepted::Stored(vec![entry(4)]));
}

pub async fn a_partly_known_batch_stores_the_rest_in_request_order(s: &dyn Store) {
    s.accept(submission(&acme(), None, one(2, "b"))).await.unwrap();
    let batch = || {
        let mut batch = one(1, "a");
        batch.extend(one(2, "b"));
        batch.extend(one(1, "a")); // named twice
        submission(&acme(), Some("k"), batch)
    };
    let entries = vec![entry(1), entry(2), entry(1)];
    assert_eq!(
        s.accept(batch()).await.unwrap(),
        Accepted::Stored(entries.clone())
    );
    assert_eq!(s.accept(batch()).await.unwrap(), Accepted::Replayed(entries));
}

pub async fn one_id_with_two_bodies_in_one_batch_is_a_conflict(s: &dyn Store) {
    let mut batch = one(1, "a");
    batch.extend(one(1, "b"));
    let answer = s.accept(submission(&acme(), None, batch)).await.unwrap();
    assert_eq!(
        answer,
        Accepted::TaskConflict {
            index: 1,
            task: id(1)
        }
    );
    assert_eq!(s.task(None, id(1)).await.unwrap(), None);
}

pub async fn a_task_is_adopted_once(s: &dyn Store) {
    let adopt = || TaskFile::adopt(id(1), acme(), Origin::Recovered, &policy(), at(5));
    assert!(s.adopt(adopt()).await.unwrap());
    assert!(!s.adopt(adopt()).await.unwrap());
    let adopted = file(s, 1).await;
    assert_eq!(
        (adopted.task.origin, adopted.task.version),
        (Origin::Recovered, 1)
    );
    assert_eq!(s.document(id(1)).await.unwrap(), None);
    // Its body was never seen here, so nobody can claim to repeat it.
    let answer = s.accept(submission(&acme(), None, one(1, "a"))).await.unwrap();
    assert!(matches!(answer, Accepted::TaskConflict { index: 0, .. }));
}
