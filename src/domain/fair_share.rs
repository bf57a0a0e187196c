//! Who may call next, where many tenants with many receivers share a few places: a receiver that hangs costs its own
//! tenant, and a tenant whose receivers all hang costs nobody else.

use std::collections::HashMap;

/// Places for calls under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    pub all: u32,
    /// Of one receiver that is well; one that fails has fewer ([`super::endpoint::Health::room`]).
    pub per_origin: u32,
}

/// What waits for one receiver (scheme, host, port) of one tenant.
#[derive(Clone, Debug)]
pub struct Line {
    pub tenant: String,
    /// Calls under way there.
    pub in_flight: u32,
    /// The most it may have under way now.
    pub room: u32,
    /// When due and which call, the earliest first.
    pub due: Vec<(i64, i64)>,
}

/// The calls to make now, at most `limit`, the earliest first. Places go one by one to the tenant and the receiver that have the fewest under way,
/// then to the earliest. A tenant never holds more than it leaves free, so there is room for the next tenant however
/// many of its receivers hang: alone it has half, two have a third each, and so on.
pub fn share(places: Places, limit: u32, lines: &mut [Line]) -> Vec<i64> {
    let mut held: HashMap<String, u32> = HashMap::new();
    for line in lines.iter() {
        *held.entry(line.tenant.clone()).or_default() += line.in_flight;
    }
    let mut taken = vec![];
    while (taken.len() as u64) < u64::from(limit) {
        let Some(next) = next(places, lines, &held) else {
            break;
        };
        let line = &mut lines[next];
        line.in_flight += 1;
        *held.entry(line.tenant.clone()).or_default() += 1;
        taken.push(line.due.remove(0));
    }
    taken.sort_unstable();
    taken.into_iter().map(|(_, id)| id).collect()
}

fn next(places: Places, lines: &[Line], held: &HashMap<String, u32>) -> Option<usize> {
    let free = places.all.saturating_sub(held.values().sum());
    let of_tenant = |tenant: &str| held.get(tenant).copied().unwrap_or(0);
    lines
        .iter()
        .enumerate()
        .filter(|(_, l)| l.in_flight < l.room.min(places.per_origin))
        .filter_map(|(n, l)| Some((of_tenant(&l.tenant), l.in_flight, *l.due.first()?, n)))
        .filter(|(held, ..)| *held < free)
        .min()
        .map(|(.., n)| n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLACES: Places = Places {
        all: 32,
        per_origin: 8,
    };

    fn line(tenant: &str, in_flight: u32, first: i64, waiting: i64) -> Line {
        Line {
            tenant: tenant.to_owned(),
            in_flight,
            room: 8,
            due: (first..first + waiting).map(|id| (0, id)).collect(),
        }
    }

    #[test]
    fn t13_a_tenant_with_eight_receivers_that_hang_leaves_room_for_another() {
        let mut lines: Vec<Line> = (0..8).map(|n| line("a", 0, n * 100, 50)).collect();
        assert_eq!(share(PLACES, 32, &mut lines).len(), 16, "half, and no more");
        assert!(lines.iter().all(|l| l.in_flight == 2), "evenly");
        lines.push(line("b", 0, 1000, 50));
        let next = share(PLACES, 16, &mut lines);
        assert_eq!(next, (1000..1008).collect::<Vec<_>>());
    }

    #[test]
    fn t13_one_that_failed_has_the_room_it_is_given() {
        let mut lines = vec![line("a", 0, 0, 9), line("a", 0, 100, 9)];
        lines[0].room = 1;
        let calls = share(PLACES, 32, &mut lines);
        assert_eq!((calls.len(), lines[0].in_flight, lines[1].in_flight), (9, 1, 8));
    }

    proptest! {
        #[test]
        fn t13_whatever_hangs_the_next_tenant_gets_a_place(
            held in prop::collection::vec((0u8..4, 1i64..40), 1..20),
        ) {
            let mut lines: Vec<Line> = held.iter().enumerate()
                .map(|(n, (tenant, waiting))| line(&tenant.to_string(), 0, n as i64 * 100, *waiting))
                .collect();
            share(PLACES, 32, &mut lines); // and none of them comes back
            lines.push(line("next", 0, 10_000, 1));
            prop_assert_eq!(share(PLACES, 1, &mut lines), vec![10_000]);
        }
    }
}
