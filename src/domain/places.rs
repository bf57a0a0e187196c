//! Who gets the free places: tries at the same time are few, and an endpoint that is slow holds its own for long.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Somebody who wants places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Places it has.
    pub held: u32,
    /// The most it may get now.
    pub room: u32,
}

/// Shares out `free` places: one after the other to whoever has fewest, the earlier of two that have as many. Nobody
/// gets one while holding more than are left free: however slow those are who came first, whoever comes next finds
/// as many places as the largest of them has.
pub fn share(free: u32, seats: &[Seat]) -> Vec<u32> {
    let mut free = free;
    let mut given = vec![0; seats.len()];
    let mut waiting: BinaryHeap<_> = seats
        .iter()
        .enumerate()
        .map(|(n, s)| Reverse((s.held, n)))
        .collect();
    while let Some(Reverse((has, n))) = waiting.pop() {
        if free == 0 || has > free {
            break; // all others have as many or more
        }
        if given[n] < seats[n].room {
            given[n] += 1;
            free -= 1;
            waiting.push(Reverse((has + 1, n)));
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(held: &[u32]) -> Vec<Seat> {
        held.iter()
            .map(|held| Seat {
                held: *held,
                room: 64 - held.min(&64),
            })
            .collect()
    }

    #[test]
    fn f20_four_that_hang_leave_a_fifth_as_much_as_each_of_them_has() {
        let given = share(256, &all(&[0; 4]));
        assert_eq!(given, [52, 52, 51, 51]);
        let left = 256 - given.iter().sum::<u32>();
        assert_eq!(share(left, &all(&[52, 52, 51, 51, 0])), [0, 0, 0, 0, 26]);
    }

    #[test]
    fn one_alone_has_all_it_may_have_and_the_last_place_goes_to_whoever_has_none() {
        assert_eq!(share(256, &all(&[0])), [64]);
        assert_eq!(share(1, &all(&[3, 0])), [0, 1]);
        assert_eq!(share(2, &all(&[0])), [2]);
        assert_eq!(share(0, &all(&[0])), [0]);
        assert_eq!(share(9, &[]), [0u32; 0]);
    }

    proptest! {
        #[test]
        fn f20_nobody_gets_more_than_there_is_or_than_it_may(
            free in 0u32..300, seats in prop::collection::vec((0u32..64, 0u32..64), 0..20),
        ) {
            let seats: Vec<Seat> = seats.into_iter().map(|(held, room)| Seat { held, room }).collect();
            let given = share(free, &seats);
            prop_assert!(given.iter().sum::<u32>() <= free);
            prop_assert!(given.iter().zip(&seats).all(|(g, s)| *g <= s.room));
            let hungry = seats.iter().zip(&given).any(|(s, g)| s.held == 0 && *g == 0 && s.room > 0);
            prop_assert!(!hungry || given.iter().sum::<u32>() == free);
        }
    }
}
