//! What the readiness page tells. Not ready only when this process cannot store; trouble elsewhere is `degraded`, so
//! that a load balancer never turns callbacks away that we could keep.

use crate::domain::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    ObjectStore,
    /// The object store again: what it does not do that the settings count on.
    ObjectStorePromises,
    Provider,
    Sources,
    Deliveries,
    Journal,
    Nats,
}

impl Component {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ObjectStore | Self::ObjectStorePromises => "object_store",
            Self::Provider => "provider",
            Self::Sources => "sources",
            Self::Deliveries => "deliveries",
            Self::Journal => "journal",
            Self::Nats => "nats",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Degraded {
    pub component: Component,
    /// Stable.
    pub code: String,
    pub since: Timestamp,
}

/// Shared by all who notice and the page that tells; cheap to clone.
#[derive(Clone, Default)]
pub struct Health(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    degraded: BTreeMap<Component, Degraded>,
    /// When it was last noted.
    noted_at: BTreeMap<Component, Timestamp>,
    /// A stable code: `storage_unavailable`, `draining`, `starting`.
    not_ready: Option<&'static str>,
}

impl Health {
    /// Notes trouble; the first note of the same code keeps its time. Answers whether this is news.
    pub fn degrade(&self, component: Component, code: &str, at: Timestamp) -> bool {
        let mut state = self.lock();
        state.noted_at.insert(component, at);
        let known = state.degraded.get(&component).is_some_and(|d| d.code == code);
        if !known {
            state.degraded.insert(
                component,
                Degraded {
                    component,
                    code: code.to_owned(),
                    since: at,
                },
            );
        }
        !known
    }

    /// Answers whether there was trouble before.
    pub fn recover(&self, component: Component) -> bool {
        self.lock().degraded.remove(&component).is_some()
    }

    /// As [`Health::recover`], unless the trouble was noted after `since`: for one who looked at something else.
    pub fn recover_if_quiet(&self, component: Component, since: Timestamp) -> bool {
        let mut state = self.lock();
        let noted_lately = state.noted_at.get(&component).is_some_and(|at| *at > since);
        !noted_lately && state.degraded.remove(&component).is_some()
    }

    pub fn degraded(&self) -> Vec<Degraded> {
        self.lock().degraded.values().cloned().collect()
    }

    pub fn set_not_ready(&self, code: Option<&'static str>) {
        self.lock().not_ready = code;
    }

    pub fn not_ready(&self) -> Option<&'static str> {
        self.lock().not_ready
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
