//! G6 after the loss of the disk: the journal is a long list in the order of its names, and only the youngest of it have
//! links that still live. Those are asked about first, whatever they are called.

use crate::core::{Call, DAY, HOUR, MINUTE, World, id, video};
use async_trait::async_trait;
use catchment::domain::identity::Identity;
use catchment::domain::ids::{TaskId, Tenant};
use catchment::ports::blobs::BlobError;
use catchment::ports::journal::{Journal, JournalNames, Kept, Recalled};
use std::collections::BTreeMap;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const OLD: u32 = 2850;
const YOUNG: u32 = 100;

struct Entries(BTreeMap<TaskId, Identity>);

#[async_trait]
impl Journal for Entries {
    async fn keep(&self, _: &Identity) -> Result<Kept, BlobError> {
        Ok(Kept::Before)
    }

    async fn recall(&self, id: TaskId) -> Result<Option<Identity>, BlobError> {
        Ok(self.0.get(&id).cloned())
    }

    async fn recall_all(&self, ids: &[TaskId]) -> Result<Recalled, BlobError> {
        Ok(Recalled {
            identities: ids.iter().filter_map(|id| self.0.get(id).cloned()).collect(),
            unreadable: 0,
        })
    }

    async fn list(&self, after: Option<TaskId>, limit: u32) -> Result<JournalNames, BlobError> {
        let later = self.0.keys().filter(|id| after.is_none_or(|after| **id > after));
        let ids: Vec<TaskId> = later.copied().take(limit as usize).collect();
        let full = ids.len() == limit as usize;
        let next = ids.last().copied().filter(|_| full);
        Ok(JournalNames { ids, next })
    }
}

/// The old ones come first by name and are long dead. Of the young ones, the last by name dies first, in a minute; the
/// first by name ten minutes later.
fn journal(world: &World) -> Entries {
    let entry = |n: u32| {
        let mut identity = Identity::bare(id(n), Tenant::default_tenant(), world.now());
        identity.model = "m".to_owned();
        identity.number_results = 1;
        identity.ttl = Some(HOUR);
        identity.created_at = match n {
            _ if n < OLD => world.now().minus(30 * DAY),
            _ => world
                .now()
                .minus(HOUR)
                .plus(MINUTE + SECOND * 6 * (OLD + YOUNG - 1 - n)),
        };
        (id(n), identity)
    };
    Entries((0..OLD + YOUNG).map(entry).collect())
}

#[tokio::test]
async fn g6_tasks_of_a_lost_disk_are_asked_about_in_the_order_in_which_their_links_die() {
    let mut world = World::new();
    world.round = Duration::from_millis(100);
    for n in OLD..OLD + YOUNG {
        world.runware.shows(id(n), vec![video("r", &n.to_string())]);
    }
    let journal = journal(&world);
    let (mut after, mut pages) = (None, 0);
    loop {
        let page = world.import(&journal, after).await;
        world.live_for(SECOND).await; // meanwhile those that are known already are asked about
        pages += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(pages, 3);
    world.live_for(MINUTE - SECOND * pages).await;
    // A minute after the loss the first link is dead, and all the others as good as dead.
    let opened = world.cdn.opened();
    let dying: Vec<String> = (OLD..OLD + YOUNG).rev().map(|n| n.to_string()).collect();
    assert_eq!(opened, dying, "copied in the order in which they die");
    for n in OLD..OLD + YOUNG {
        assert_eq!(world.status(n).await, "completed", "{n}");
    }
    // At the same pace as ever, and the places of the young ones are not lost to the old.
    let asked = world.runware.calls_of(Call::Details);
    let places = 1000 + 25 * 60;
    assert!(
        (1000..places).contains(&asked),
        "{asked} questions to the archive in a minute"
    );
    world.live_for(MINUTE).await;
    let asked = world.runware.calls_of(Call::Details);
    assert!(asked >= OLD as usize, "all were asked about: {asked}");
    let task = world.file(OLD - 1).await.task;
    assert!(task.deadline.unwrap() > world.now().plus(DAY - 3 * MINUTE));
    println!(
        "journal of {}: {YOUNG} young ones archived within a minute",
        OLD + YOUNG
    );
}
