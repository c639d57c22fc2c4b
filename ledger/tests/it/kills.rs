use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use ledger::{Keeping, verify};

use super::{KEEPING, NAME, keys, writer};

const ROLE: &str = "LEDGER_TEST_FOLDER";
/// Small, so that rotations are hit as well.
const SMALL: Keeping = Keeping { segment: 3000, segments: None, mode: 0o640, synced: false };

/// Appends and acknowledges each record, until it is killed.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(ROLE) else {
        return;
    };
    let mut writer = writer(Path::new(&folder), SMALL);
    let text = "x".repeat(700);
    for batch in [1, 2, 7].into_iter().cycle() {
        let bodies = vec![format!("{{\"text\":\"{text}\"}}"); batch];
        let head = writer.append(&bodies).unwrap();
        println!("head {}", head.record);
        std::io::stdout().flush().unwrap();
    }
}

/// What was acknowledged to the parent when the child was killed, which it was after so many.
fn killed_after(folder: &Path, acknowledgements: usize) -> u64 {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["kills::child", "--exact", "--nocapture"]).env(ROLE, folder);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let record = |line: String| line.strip_prefix("head ").and_then(|record| record.parse::<u64>().ok());
    let mut heads = lines.by_ref().map_while(Result::ok).filter_map(record);
    let before = heads.by_ref().take(acknowledgements).last().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    // What it said before it died holds as well; half a line is none.
    heads.last().unwrap_or(before)
}

#[test]
fn what_was_acknowledged_outlives_every_kill() {
    let mut folder = tempfile::tempdir().unwrap();
    for round in 0..200 {
        if round % 20 == 0 {
            folder = tempfile::tempdir().unwrap();
        }
        let acknowledged = killed_after(folder.path(), 1 + round % 9);
        let found = verify(folder.path(), NAME, &keys(folder.path()), |_| {});
        if let Ok(verified) = found {
            assert!(verified.head.record >= acknowledged);
        }
        let writer = writer(folder.path(), SMALL);
        assert!(writer.head().record >= acknowledged, "round {round}");
        let verified = verify(folder.path(), NAME, &keys(folder.path()), |_| {}).unwrap();
        assert_eq!((verified.first, verified.head, verified.unfinished), (1, writer.head(), false));
    }
}

#[test]
fn writers_take_turns() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10 {
                    super::append(&mut writer(folder.path(), KEEPING), &[1, 2]);
                }
            });
        }
    });
    assert_eq!(verify(folder.path(), NAME, &keys(folder.path()), |_| {}).unwrap().records, 120);
}

/// While a writer rotates and drops, whoever verifies sees a whole log.
#[test]
fn a_log_is_verified_while_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let keeping = Keeping { segment: 20_000, segments: Some(2), ..SMALL };
    let mut writer = writer(folder.path(), keeping);
    super::append(&mut writer, &[1]);
    let ends = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (ends, writer) = (&ends, &mut writer);
        scope.spawn(move || {
            while !ends.load(std::sync::atomic::Ordering::Relaxed) {
                super::append(writer, &[1, 3]);
            }
        });
        let last =
            (0..100).map(|_| verify(folder.path(), NAME, &keys(folder.path()), |_| {})).find(Result::is_err);
        ends.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(last.is_none(), "{last:?}");
    });
}
