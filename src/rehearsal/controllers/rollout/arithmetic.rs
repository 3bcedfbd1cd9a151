//! How many pods old and new versions get: the arithmetic of the canary strategies, on plain numbers. Held to Argo
//! Rollouts 1.10 (utils/replicaset/canary.go). Who scales, and when, is `canary.rs`.

/// One replica set, as far as counting goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Count {
    /// `spec.replicas`.
    pub asked: i64,
    /// `status.availableReplicas`.
    pub available: i64,
}

/// What a basic canary counts with.
#[derive(Clone, Copy, Debug)]
pub struct Basic {
    /// `spec.replicas` of the Rollout.
    pub replicas: i64,
    /// Pods allowed above `replicas`.
    pub surge: i64,
    /// Pods allowed to be missing.
    pub unavailable: i64,
    /// Weight wanted for the new version, of `full`.
    pub weight: i64,
    /// The weight that means all traffic (100 unless `maxTrafficWeight` says otherwise).
    pub full: i64,
    /// The new replica set.
    pub new: Option<Count>,
    /// The stable replica set, where it is another one than the new.
    pub stable: Option<Count>,
    /// Pods asked for by all other replica sets together.
    pub others: i64,
}

/// Surge and unavailable pods together: never both zero.
pub fn fenceposts(surge: i64, unavailable: i64) -> (i64, i64) {
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
}

/// Pods for a share of the traffic, rounded up.
pub fn for_weight(replicas: i64, weight: i64, full: i64) -> i64 {
    if full <= 0 {
        return 0;
    }
    (weight * replicas + full - 1).div_euclid(full)
}

/// The pair (new, stable) that comes closest to a weight. With surge it may sum to one more than `replicas`; a weight
/// strictly between none and all never takes a side to zero, unless there is but one pod and no surge.
pub fn closest(replicas: i64, weight: i64, full: i64, surge: i64) -> (i64, i64) {
    if replicas == 0 {
        return (0, 0);
    }
    let exact = replicas * weight;
    let ceil = (exact + full - 1).div_euclid(full);
    let floor = exact.div_euclid(full);
    let halfway = |total: i64| (total * weight * 2).rem_euclid(2 * full) == full;
    let zero_allowed = weight == full || weight == 0 || (replicas == 1 && surge == 0);
    let mut options: Vec<(i64, i64)> = Vec::with_capacity(4);
    if ceil < replicas || zero_allowed {
        options.push((ceil, replicas));
    }
    if !halfway(replicas) && (floor != 0 || zero_allowed) {
        options.push((floor, replicas));
    }
    if surge > 0 {
        options.push((ceil, replicas + 1));
        if !halfway(replicas + 1) && (floor != 0 || zero_allowed) {
            options.push((floor, replicas + 1));
        }
    }
    // Distance to the wanted weight, compared as fractions so that no rounding decides: |c*full/t - w| = |c*full - w*t|/t.
    let off = |(canary, total): (i64, i64)| ((canary * full - weight * total).abs(), total);
    let closer = |a: (i64, i64), b: (i64, i64)| {
        let ((an, ad), (bn, bd)) = (off(a), off(b));
        an * bd < bn * ad
    };
    let mut best = match options.first() {
        Some(first) => *first,
        None => return (0, replicas),
    };
    for option in options.into_iter().skip(1) {
        if closer(option, best) {
            best = option;
        }
    }
    (best.0, best.1 - best.0)
}

/// The sizes (new, stable) to move to now, without leaving the bounds of surge and unavailability on the way.
pub fn basic(of: &Basic) -> (i64, i64) {
    let (mut want_new, mut want_stable) = closest(of.replicas, of.weight, of.full, of.surge);
    let mut new_size = of.new.map_or(0, |n| n.asked);
    let mut stable_size = 0;
    if let Some(stable) = of.stable {
        stable_size = stable.asked;
    } else {
        want_new = of.replicas;
        want_stable = 0;
    }
    let most = of.replicas + of.surge;
    let total = of.others + of.new.map_or(0, |n| n.asked) + of.stable.map_or(0, |s| s.asked);
    let mut up = most - total;
    if let Some(stable) = of.stable
        && stable.asked < want_stable
        && up > 0
    {
        stable_size = want_stable.min(stable.asked + up);
        up -= stable_size - stable.asked;
    }
    if let Some(new) = of.new
        && new.asked < want_new
        && up > 0
    {
        new_size = want_new.min(new.asked + up);
    }
    if of.others > 0 {
        return (new_size, stable_size);
    }
    let least = of.replicas - of.unavailable;
    let rising = of.new.is_none_or(|n| want_new >= n.asked);
    let keeps = |set: Option<Count>, ignore_availability: bool| {
        set.map_or(0, |s| if s.asked < s.available || ignore_availability { s.asked } else { s.available })
    };
    let serving = keeps(of.new, !rising) + keeps(of.stable, rising);
    if serving <= least {
        return (new_size, stable_size);
    }
    let down = serving - least;
    if !rising {
        if let Some(new) = of.new
            && new.asked > want_new
        {
            new_size = want_new.max(new.asked - down);
        }
        (new_size, stable_size) = within(of.new, of.stable, new_size, stable_size, most, least);
    } else if let Some(stable) = of.stable {
        if stable.asked > want_stable {
            stable_size = want_stable.max(stable.asked - down);
        }
        (stable_size, new_size) = within(of.stable, of.new, stable_size, new_size, most, least);
    }
    (new_size, stable_size)
}

/// Brings the pair (drained, grown) back inside the most and the least that are allowed.
fn within(
    drained: Option<Count>,
    grown: Option<Count>,
    mut drained_size: i64,
    mut grown_size: i64,
    most: i64,
    least: i64,
) -> (i64, i64) {
    let Some(grown) = grown else { return (drained_size, grown_size) };
    let over = (grown_size + drained_size - most).max(0);
    let mut available = drained.map_or(0, |d| d.available.min(drained_size));
    grown_size -= over;
    available += grown.available.min(grown_size);
    let lost = (grown.available - grown_size).max(0);
    let missing = (least - available).max(0);
    grown_size += lost.min(missing);
    let over = (grown_size + drained_size - most).max(0);
    drained_size -= over;
    (drained_size, grown_size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Sizes that the real controller's own function gives: replicas, weight, surge, unavailable, stable (asked,
    /// available), new (asked, available), pods of others; then (new, stable).
    #[test]
    fn as_the_real_one_counts() {
        type Row = (i64, i64, i64, i64, (i64, i64), (i64, i64), i64, (i64, i64));
        let rows: &[Row] = &[
            (10, 100, 3, 0, (7, 8), (6, 3), 0, (6, 7)),
            (10, 20, 2, 0, (10, 10), (0, 0), 0, (2, 10)),
            (10, 20, 2, 0, (10, 10), (2, 2), 0, (2, 8)),
            (10, 30, 2, 0, (10, 10), (0, 0), 0, (2, 10)),
            (10, 20, 0, 2, (10, 10), (0, 0), 0, (0, 8)),
            (10, 50, 2, 1, (10, 10), (0, 0), 0, (2, 9)),
            (10, 0, 1, 1, (10, 10), (1, 1), 0, (0, 10)),
            (10, 100, 1, 1, (1, 1), (10, 10), 0, (10, 0)),
            (1, 20, 1, 0, (1, 1), (0, 0), 0, (1, 1)),
            (1, 49, 0, 1, (1, 1), (0, 0), 0, (0, 1)),
            (1, 51, 0, 1, (1, 1), (0, 0), 0, (0, 0)),
            (10, 30, 1, 0, (1, 1), (0, 0), 3, (1, 7)),
            (10, 30, 0, 3, (8, 5), (4, 4), 0, (3, 7)),
            (10, 100, 1, 0, (10, 2), (10, 8), 0, (9, 2)),
            (10, 30, 0, 1, (8, 6), (4, 2), 3, (4, 8)),
            (10, 5, 0, 1, (9, 9), (0, 0), 0, (1, 9)),
            (4, 100, 1, 0, (4, 1), (0, 0), 0, (1, 4)),
            (3, 99, 0, 2, (3, 3), (0, 0), 0, (0, 1)),
        ];
        for row in rows {
            let (replicas, weight, surge, unavailable, stable, new, others, wanted) = *row;
            let got = basic(&Basic {
                replicas,
                surge,
                unavailable,
                weight,
                full: 100,
                new: Some(Count { asked: new.0, available: new.1 }),
                stable: Some(Count { asked: stable.0, available: stable.1 }),
                others,
            });
            assert_eq!(got, wanted, "{row:?}");
        }
    }

    #[test]
    fn a_quarter_of_four_is_one_and_three() {
        assert_eq!(closest(4, 25, 100, 1), (1, 3));
        assert_eq!(closest(4, 50, 100, 1), (2, 2));
        assert_eq!(closest(4, 100, 100, 1), (4, 0));
        assert_eq!(closest(1, 50, 100, 0), (1, 0));
    }

    #[test]
    fn others_go_first() {
        let of = Basic {
            replicas: 4,
            surge: 1,
            unavailable: 1,
            weight: 50,
            full: 100,
            new: Some(Count { asked: 0, available: 0 }),
            stable: Some(Count { asked: 4, available: 4 }),
            others: 1,
        };
        assert_eq!(basic(&of), (0, 4), "neither is touched while a third set still has pods");
    }

    fn grow(of: &mut Basic) {
        let (new, stable) = basic(of);
        of.new = Some(Count { asked: new, available: new });
        of.stable = Some(Count { asked: stable, available: stable });
    }

    proptest! {
        /// However far along: never more pods than allowed, never fewer serving than allowed, and it ends at the wanted pair.
        #[test]
        fn moves_stay_in_bounds_and_arrive(
            replicas in 1i64..40, surge in 0i64..10, unavailable in 0i64..10, weight in 0i64..=100, start in 0i64..40,
        ) {
            let (surge, unavailable) = fenceposts(surge, unavailable.min(replicas));
            let new = start.min(replicas);
            let mut of = Basic {
                replicas, surge, unavailable, weight, full: 100,
                new: Some(Count { asked: new, available: new }),
                stable: Some(Count { asked: replicas - new, available: replicas - new }),
                others: 0,
            };
            for _ in 0..200 {
                let before = (of.new, of.stable);
                grow(&mut of);
                let total = of.new.unwrap().asked + of.stable.unwrap().asked;
                prop_assert!(total <= replicas + surge, "{of:?}");
                prop_assert!(total >= replicas - unavailable, "{of:?}");
                if before == (of.new, of.stable) {
                    break;
                }
            }
            prop_assert_eq!((of.new.unwrap().asked, of.stable.unwrap().asked), closest(replicas, weight, 100, surge));
        }

        #[test]
        fn the_closest_pair_is_close(replicas in 1i64..200, weight in 0i64..=100, surge in 0i64..2) {
            let (new, stable) = closest(replicas, weight, 100, surge);
            let total = new + stable;
            prop_assert!(total == replicas || (surge > 0 && total == replicas + 1));
            prop_assert!((new * 100 - weight * total).abs() <= 100, "{new} of {total} for {weight}");
            if weight > 0 && weight < 100 && replicas > 1 {
                prop_assert!(new > 0 && stable > 0);
            }
        }
    }
}
