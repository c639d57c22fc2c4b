use std::time::{Duration, SystemTime};

use ledger::{HostKey, Keeping, Writer};

use super::super::turn::{About, OfHost};
use super::*;

fn turn(seq: u64, event: Step) -> Turn {
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seq);
    Turn { event, ..Turn::firing(seq, About::Sensor(OfHost::silent("web", at)), at) }
}

/// A log of these turns.
fn log(folder: &Path, turns: impl IntoIterator<Item = u64>) {
    let key = HostKey::load_or_create(&folder.join("events.key")).unwrap();
    let keeping = Keeping { segment: 16 << 20, segments: Some(4), mode: 0o640, synced: false };
    let mut writer = Writer::open(folder, "alerts", key, keeping, Duration::ZERO).unwrap();
    let bodies: Vec<Vec<u8>> =
        turns.into_iter().map(|seq| serde_json::to_vec(&turn(seq, Step::Firing)).unwrap()).collect();
    writer.append(&bodies).unwrap();
}

fn numbers(batch: &Batch) -> (Vec<u64>, u64) {
    (batch.turns.iter().map(|turn| turn.seq).collect(), batch.up_to)
}

/// Of a process that began after so many turns, which the book says fire, or do not.
fn feed(folder: &Path, seq: u64, firing: &[u64]) -> (Feed, Arc<Turns>) {
    let mut book = Book { seq, ..Book::default() };
    for seq in firing {
        book.firing.insert(seq.to_string().into(), Arc::new(turn(*seq, Step::Firing)));
    }
    book.ended.push_back(Arc::new(turn(seq, Step::Resolved)));
    let turns = Arc::new(Turns::new(book));
    (Feed::new(turns.clone(), folder), turns)
}

#[test]
fn what_an_earlier_process_did_not_send_is_read_from_the_log() {
    let folder = tempfile::tempdir().unwrap();
    log(folder.path(), 1..=9);
    let (mut feed, turns) = feed(folder.path(), 9, &[]);
    let new = turn(10, Step::Firing);
    turns.add(Arc::new(Book { seq: 10, ..Book::default() }), &[Arc::new(new)]);
    assert_eq!(numbers(&feed.next(Some(3), 4)), (vec![4, 5, 6, 7], 7));
    assert_eq!(numbers(&feed.next(Some(4), 2)), (vec![5, 6], 6), "only the first arrived");
    assert_eq!(numbers(&feed.next(Some(7), 4)), (vec![8, 9], 9));
    assert_eq!(numbers(&feed.next(Some(9), 4)), (vec![10], 10));
    assert_eq!(numbers(&feed.next(Some(10), 4)), (vec![], 10));
    // What did not arrive is told again.
    assert_eq!(numbers(&feed.next(Some(5), 4)), (vec![6, 7, 8, 9], 9));
}

#[test]
fn what_the_log_lacks_is_told_where_it_still_fires() {
    let folder = tempfile::tempdir().unwrap();
    log(folder.path(), [4, 5, 8]);
    let (mut feed, _) = feed(folder.path(), 12, &[1, 7, 11]);
    assert_eq!(numbers(&feed.next(Some(2), 64)), (vec![4, 5, 7, 8, 11, 12], 12));
    std::fs::remove_file(folder.path().join("alerts.jsonl")).unwrap();
    assert_eq!(numbers(&feed.next(Some(2), 64)), (vec![7, 11, 12], 12));
}

#[test]
fn a_new_receiver_is_told_what_fires_and_not_what_is_over() {
    let folder = tempfile::tempdir().unwrap();
    log(folder.path(), 1..=12);
    let (mut feed, _) = feed(folder.path(), 12, &[1, 7]);
    assert_eq!(numbers(&feed.next(None, 64)), (vec![1, 7], 12));
}
