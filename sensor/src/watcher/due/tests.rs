use super::*;

/// When a process is looked at, in milliseconds after it was told.
fn looked_at(tell: fn(&mut Due, u32, Instant)) -> Vec<u64> {
    let (mut due, began) = (Due::default(), Instant::now());
    tell(&mut due, 7, began);
    let mut looked_at = Vec::new();
    while let Some(next) = due.next() {
        assert_eq!(due.take(next - Duration::from_nanos(1)), BTreeSet::new());
        assert_eq!(due.take(next), BTreeSet::from([7]));
        looked_at.push(u64::try_from((next - began).as_millis()).unwrap());
    }
    looked_at
}

#[test]
fn each_news_has_its_times() {
    type Told = fn(&mut Due, u32, Instant);
    let table: [(Told, &[u64]); 5] = [
        (Due::opened, &[150, 1_500, 15_000]),
        (Due::connected, &[5, 500]),
        (Due::forked, &[1_000, 5_000, 15_000]),
        (Due::executed, &[5, 2_000]),
        (Due::exited, &[20, 1_000, 10_000]),
    ];
    for (tell, expected) in table {
        assert_eq!(looked_at(tell), expected);
    }
}

#[test]
fn what_is_due_together_is_taken_together_and_once() {
    let (mut due, began) = (Due::default(), Instant::now());
    due.forked(1, began);
    due.exited(1, began);
    due.exited(2, began);
    assert_eq!(due.pids().collect::<BTreeSet<_>>(), BTreeSet::from([1, 2]));
    assert_eq!(due.take(began + Duration::from_millis(1_000)), BTreeSet::from([1, 2]));
    assert_eq!(due.take(began + Duration::from_millis(1_000)), BTreeSet::new());
    assert_eq!(due.take(began + Duration::from_secs(60)), BTreeSet::from([1, 2]));
    assert_eq!((due.next(), due.pids().count()), (None, 0));
}

#[test]
fn a_storm_of_processes_is_bounded_and_over_when_it_is_over() {
    let (mut due, began) = (Due::default(), Instant::now());
    (0..200_000).for_each(|pid| due.forked(pid, began));
    assert_eq!(due.pids().count(), MOST);
    assert!(due.was_crowded() && !due.was_crowded());
    let mut taken = 0;
    while due.next().is_some() {
        let some = due.take(began + Duration::from_secs(60)).len();
        assert!((1..=AT_ONCE).contains(&some));
        taken += some;
    }
    assert_eq!(taken, MOST);
    due.forked(7, began);
    assert_eq!(due.pids().count(), 3);
    assert!(!due.was_crowded());
}
