use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::watch;

use super::super::routes::{Board, router};
use super::*;
use crate::metrics::Metrics;
use crate::snapshot::Snapshot;

fn house() -> (Arc<House>, Arc<Seats>) {
    let (_, snapshots) = watch::channel(Snapshot::default());
    let metrics = Arc::new(Metrics::new(snapshots.clone(), true, SystemTime::now).unwrap());
    let telemetry_path = "/metrics".to_owned();
    let board =
        Board { snapshots, metrics, telemetry_path: telemetry_path.clone(), alerting: Arc::default() };
    let rules = Rules { allow: Vec::new(), read_only: true, roles: Vec::new(), telemetry_path };
    let (judge, _) = mpsc::channel(1);
    let seats = Seats::new();
    let shared = (seats.clone(), Arc::default());
    let house = House::new(router(board).unwrap(), rules, Arc::new(Security::new(None)), shared, judge);
    (Arc::new(house), seats)
}

const HEALTHY: &[u8] = b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n";

/// The client's end of a connection that was given a seat.
fn comes_in(house: &Arc<House>, seats: &Arc<Seats>) -> DuplexStream {
    let (client, served) = tokio::io::duplex(64 << 10);
    let peer = Peer::at(Ipv4Addr::LOCALHOST.into());
    let seat = seats.take(peer, Instant::now()).0.unwrap();
    let visitor = Visitor { peer, uid: None, is_api: false };
    let talk = house.clone().converse(served, visitor, seat.state().clone());
    tokio::spawn(house.clone().attend(talk, peer, seat));
    client
}

/// On a machine that stalls, what a client sent and the end of its time are heard of together.
#[tokio::test(start_paused = true)]
async fn whoever_asked_in_time_is_answered_however_late_it_is_read() {
    let (house, seats) = house();
    for turn in 0..32 {
        let mut client = comes_in(&house, &seats);
        tokio::task::yield_now().await;
        // Then its seat has not been looked at yet.
        tokio::time::advance(Duration::from_secs(3)).await;
        client.write_all(HEALTHY).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{turn}: {answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn waits_two_seconds_for_a_slow_head_and_serves_others_meanwhile() {
    let (house, seats) = house();
    let began = Instant::now();
    let mut slow = comes_in(&house, &seats);
    slow.write_all(b"GET /metrics HTTP/1.1\r\n").await.unwrap();
    let mut answer = String::new();
    for _ in 0..19 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut other = comes_in(&house, &seats);
        other.write_all(HEALTHY).await.unwrap();
        answer.clear();
        other.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    answer.clear();
    slow.read_to_string(&mut answer).await.unwrap();
    let waited = began.elapsed();
    assert!((Duration::from_secs(2)..Duration::from_millis(2100)).contains(&waited), "{waited:?}");
    assert_eq!(answer, "");
}
