use std::net::Ipv4Addr;

use inventory::{Holders, Protocol};

use super::*;
use crate::fixtures::{self, now};

fn closed(cookie: u64) -> Entry {
    let holders = Holders::Known(vec![fixtures::holder(b"/bin/a")]);
    let listener = fixtures::listener(cookie, Protocol::Tcp, Ipv4Addr::LOCALHOST, 80, holders);
    Entry::Closed { listener: listener.into(), at: now() + std::time::Duration::from_micros(1_500) }
}

fn lines(path: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or(serde_json::Value::Null)).collect()
}

#[test]
fn escapes_what_others_chose() {
    let folder = tempfile::tempdir().unwrap();
    let hostile = fixtures::listeners().remove(1);
    let users = vec![Some("root".to_owned())];
    let opened = Entry::Opened { listener: hostile.into(), at: now(), verdict: "drift", drift: None, users };
    assert_eq!(EventLog::new(folder.path()).write(&[opened, closed(1)]), 0);
    let text = std::fs::read_to_string(folder.path().join(FILE)).unwrap();
    fixtures::assert_golden("events.jsonl", &text);
}

#[test]
fn ends_the_line_that_a_kill_left_half_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    EventLog::new(folder.path()).write(&[closed(1)]);
    let mut torn = std::fs::read(&path).unwrap();
    torn.extend_from_slice(b"{\"time\":\"20");
    std::fs::write(&path, torn).unwrap();
    EventLog::new(folder.path()).write(&[closed(2)]);
    let cookies: Vec<_> = lines(&path).iter().map(|line| line["cookie"].as_u64()).collect();
    assert_eq!(cookies, [Some(1), None, Some(2)]);
}

#[test]
fn begins_anew_when_it_is_long_and_keeps_one_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let (path, old) = (folder.path().join(FILE), folder.path().join(OLD));
    std::fs::write(&old, "older\n").unwrap();
    let mut log = EventLog::new(folder.path());
    log.write(&[closed(1)]);
    let long = usize::try_from(MAX_FILE).unwrap();
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(&vec![b'\n'; long]).unwrap();
    EventLog::new(folder.path()).write(&[closed(2)]);
    assert_eq!(lines(&path).len(), 1);
    assert_eq!(lines(&old)[0]["cookie"], 1);
    assert!(!std::fs::read_to_string(&old).unwrap().contains("older"));
}

#[test]
fn no_file_is_longer_than_its_bound_and_no_line_is_lost_between_two() {
    let folder = tempfile::tempdir().unwrap();
    let (path, old) = (folder.path().join(FILE), folder.path().join(OLD));
    let mut log = EventLog::new(folder.path());
    log.write(&[closed(1)]);
    let line = std::fs::metadata(&path).unwrap().len();
    let room_for_two = usize::try_from(MAX_FILE - 2 * line).unwrap();
    std::fs::write(&path, vec![b'\n'; room_for_two]).unwrap();
    let five: Vec<Entry> = (1..=5).map(closed).collect();
    assert_eq!(EventLog::new(folder.path()).write(&five), 0);
    assert_eq!(std::fs::metadata(&old).unwrap().len(), MAX_FILE);
    let cookies = |path| lines(path).iter().filter_map(|line| line["cookie"].as_u64()).collect::<Vec<_>>();
    assert_eq!((cookies(&old), cookies(&path)), (vec![1, 2], vec![3, 4, 5]));
}

#[test]
fn counts_what_it_cannot_write_and_goes_on_when_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let mut log = EventLog::new(&state);
    assert_eq!(log.write(&[closed(1), closed(2)]), 2, "there is no such folder");
    assert_eq!(log.write(&[closed(1)]), 1);
    assert_eq!(log.missing, 3);
    std::fs::create_dir(&state).unwrap();
    assert_eq!(log.write(&[closed(3)]), 0);
    assert_eq!(log.missing, 0, "that is told");
    assert_eq!(lines(&state.join(FILE)).len(), 1);
}

/// Every write there fails for want of space.
#[test]
fn a_full_disk_loses_no_more_than_what_it_has_no_room_for() {
    let mut full = EventLog::new(Path::new("/dev"));
    full.path = PathBuf::from("/dev/full");
    let file = OpenOptions::new().append(true).open(&full.path);
    let Ok(file) = file else {
        return eprintln!(
            "SKIP a_full_disk_loses_no_more_than_what_it_has_no_room_for: there is no /dev/full"
        );
    };
    full.open = Some(Open { file, length: 0 });
    assert_eq!(full.write(&[closed(1)]), 1);
}
