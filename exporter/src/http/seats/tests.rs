use super::*;

fn peer(number: u8) -> Peer {
    Peer::at(std::net::IpAddr::from([192, 0, 2, number]))
}

#[test]
fn one_peer_never_takes_all_seats() {
    let seats = Seats::with(64);
    let now = Instant::now();
    let greedy: Vec<_> = (0..1000).filter_map(|_| seats.take(peer(1), now).0).collect();
    assert_eq!(seats.taken(), MAX_OF_PEER);
    assert_eq!(greedy.iter().filter(|seat| seat.was_sent_away()).count(), 1000 - MAX_OF_PEER);
    let (other, cost) = seats.take(peer(2), now);
    assert!(other.is_some() && cost.is_none());
}

#[test]
fn a_full_house_is_paid_for_by_whoever_has_most() {
    let seats = Seats::with(8);
    let now = Instant::now();
    let first = seats.take(peer(1), now).0.unwrap();
    let crowd: Vec<_> = (0..5).filter_map(|_| seats.take(peer(2), now).0).collect();
    let (second, cost) = seats.take(peer(3), now);
    assert!(second.is_some() && !first.was_sent_away());
    assert_eq!(cost, Some((peer(2), Refusal::Crowded)));
    assert!(crowd[0].was_sent_away() && !crowd[1].was_sent_away());
    assert_eq!(seats.taken(), 6);
    drop(crowd);
    assert_eq!(seats.taken(), 2);
}

#[test]
fn whoever_is_being_answered_keeps_the_seat() {
    let seats = Seats::with(64);
    let now = Instant::now();
    let served: Vec<_> = (0..MAX_OF_PEER).filter_map(|_| seats.take(peer(1), now).0).collect();
    served.iter().for_each(|seat| seat.state().works());
    let (newcomer, cost) = seats.take(peer(1), now);
    assert!(newcomer.is_none());
    assert_eq!(cost, Some((peer(1), Refusal::Peer)));
    served.iter().for_each(|seat| seat.state().answers());
    assert!(seats.take(peer(1), now).0.is_none());
    // Who does not read what was asked for holds up the others.
    let later = now + PATIENCE * 2;
    assert!(seats.take(peer(1), later).0.is_some());
    assert_eq!(served.iter().filter(|seat| seat.was_sent_away()).count(), 1);
}

#[test]
fn who_has_most_gives_up_a_seat_even_at_work() {
    let seats = Seats::with(8);
    let now = Instant::now();
    let busy: Vec<_> = (0..6).filter_map(|_| seats.take(peer(1), now).0).collect();
    busy.iter().for_each(|seat| seat.state().works());
    let second = seats.take(peer(2), now).0.unwrap();
    assert!(busy[0].was_sent_away() && !busy[1].was_sent_away());
    second.state().works();
    assert!(seats.take(peer(1), now).0.is_none());
    assert!(!second.was_sent_away());
    // Where all have as many nobody goes.
    let seats = Seats::with(4);
    let equal: Vec<_> = (0..3).filter_map(|number| seats.take(peer(number), now).0).collect();
    equal.iter().for_each(|seat| seat.state().works());
    assert!(seats.take(peer(9), now).0.is_none());
}

#[test]
fn each_stage_has_its_end() {
    let seats = Seats::with(4);
    let now = Instant::now();
    let seat = seats.take(peer(1), now).0.unwrap();
    assert_eq!(seat.state.end(), (now + HEAD, Refusal::SlowHead));
    seat.state.works();
    assert_eq!(seat.state.end(), (now + WHOLE, Refusal::TooLong));
    seat.state.answers();
    assert_eq!(seat.state.end().1, Refusal::Stalled);
    seats.free_one(now + WHOLE);
    assert_eq!(seat.state.end(), (now, Refusal::Descriptors));
    seat.state.works();
    assert!(seat.was_sent_away());
}

#[test]
fn of_equals_the_one_goes_who_waits_longest_and_no_address_is_better() {
    for order in [[1, 5, 9], [9, 5, 1], [5, 9, 1]] {
        let seats = Seats::with(4);
        let now = Instant::now();
        let sitting = order.map(|number| seats.take(peer(number), now).0.unwrap());
        let highest = seats.take(peer(250), now).0.unwrap();
        assert_eq!(sitting.each_ref().map(Seat::was_sent_away), [true, false, false], "{order:?}");
        let lowest = seats.take(peer(0), now).0.unwrap();
        assert_eq!(sitting.each_ref().map(Seat::was_sent_away), [true, true, false], "{order:?}");
        assert!(!highest.was_sent_away() && !lowest.was_sent_away());
    }
}

#[test]
fn no_number_of_strangers_takes_the_seats_of_those_who_were_let_in_before() {
    for keep_on in [State::works, State::answers, State::refuses, |_: &State| ()] {
        let seats = Seats::with(64);
        let now = Instant::now();
        (200..220).for_each(|number| seats.remember(peer(number), now));
        let crowd = |from: u8| {
            let strangers = (from..from + 90).filter_map(|number| seats.take(peer(number), now).0);
            strangers.inspect(|seat| keep_on(seat.state())).collect::<Vec<_>>()
        };
        let before = crowd(1);
        assert_eq!(seats.taken(), 48);
        let known: Vec<_> = (200..220).map(|number| seats.take(peer(number), now).0.unwrap()).collect();
        let after = crowd(100);
        assert!(!known.iter().any(Seat::was_sent_away));
        assert_eq!(seats.taken(), 64);
        drop((before, after));
    }
}

#[test]
fn of_those_who_were_let_in_one_has_no_more_than_another() {
    let seats = Seats::with(64);
    let now = Instant::now();
    (1..=5).for_each(|number| seats.remember(peer(number), now));
    let many = (1..=4).flat_map(|number| [number; MAX_OF_PEER]);
    let many: Vec<_> = many.map(|number| seats.take(peer(number), now).0.unwrap()).collect();
    many.iter().for_each(|seat| seat.state().works());
    let fifth = seats.take(peer(5), now).0.unwrap();
    fifth.state().works();
    // Nor do they keep out strangers, where they have more than their part.
    let stranger = seats.take(peer(6), now).0;
    assert!(stranger.is_some() && !fifth.was_sent_away());
    assert_eq!(many.iter().filter(|seat| seat.was_sent_away()).count(), 2);
}

#[test]
fn whoever_came_in_vain_gives_way_to_who_did_not() {
    let seats = Seats::with(4);
    let now = Instant::now();
    (1..=3).for_each(|number| drop(seats.take(peer(number), now)));
    let again: Vec<_> = (1..=3).map(|number| seats.take(peer(number), now).0.unwrap()).collect();
    let first = seats.take(peer(9), now).0.unwrap();
    assert!(again[0].was_sent_away());
    let more: Vec<_> = (10..12).map(|number| seats.take(peer(number), now).0.unwrap()).collect();
    assert!(again.iter().all(Seat::was_sent_away));
    assert!(seats.take(peer(1), now).0.is_none());
    assert!(!first.was_sent_away() && !more.iter().any(Seat::was_sent_away));
}

#[test]
fn a_refusal_is_nothing_to_stay_for() {
    let seats = Seats::with(4);
    let now = Instant::now();
    let sitting = [1, 2, 3].map(|number| seats.take(peer(number), now).0.unwrap());
    sitting.iter().for_each(|seat| seat.state().works());
    assert!(seats.take(peer(4), now).0.is_none());
    sitting[1].state().refuses();
    sitting[2].state().answers();
    sitting[2].state().refuses();
    let newcomer = seats.take(peer(4), now).0.unwrap();
    newcomer.state().works();
    assert!(seats.take(peer(5), now).0.is_none());
    assert_eq!(sitting.each_ref().map(Seat::was_sent_away), [false, true, false]);
}
