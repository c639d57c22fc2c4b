use std::fs;
use std::path::{Path, PathBuf};

use ledger::{Keeping, Position, Reader, Told, Unverified, Verified, verify};
use proptest::prelude::*;

use super::{KEEPING, NAME, append, keys, writer};

fn files(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths.filter(|path| path.to_str().unwrap().contains(".jsonl")).collect();
    files.sort();
    files
}

fn check(folder: &Path) -> Result<Verified, Unverified> {
    verify(folder, NAME, &keys(folder), |_| {})
}

/// A byte's flip shows, unless it makes the last record one that was never finished.
#[test]
fn no_byte_is_changed_unseen() {
    let folder = tempfile::tempdir().unwrap();
    append(&mut writer(folder.path(), Keeping { segment: 900, ..KEEPING }), &[1, 2, 1, 1, 3, 1, 1]);
    let whole = check(folder.path()).unwrap();
    let files = files(folder.path());
    assert!(files.len() > 3);
    let sizes: Vec<_> = files.iter().map(|path| fs::metadata(path).unwrap().len()).collect();
    let all = usize::try_from(sizes.iter().sum::<u64>()).unwrap();
    proptest!(ProptestConfig::with_cases(1500), |(place in 0..all, bit in 0..8_u32)| {
        let mut place = place;
        let path = files.iter().zip(&sizes).find(|(_, size)| {
            let size = usize::try_from(**size).unwrap();
            let here = place < size;
            if !here { place -= size; }
            here
        }).unwrap().0;
        let good = fs::read(path).unwrap();
        let mut bad = good.clone();
        bad[place] ^= 1 << bit;
        fs::write(path, &bad).unwrap();
        let found = check(folder.path());
        fs::write(path, &good).unwrap();
        match found {
            Err(Unverified::Broken(_)) => {}
            Ok(verified) => {
                prop_assert!(verified.unfinished && place + 1 == good.len(), "{path:?} {place}");
                prop_assert!(verified.records < whole.records);
            }
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        }
    });
}

/// Nothing but its own signature vouches for the last record.
#[test]
fn no_bit_of_the_last_line_is_changed_unseen() {
    let folder = tempfile::tempdir().unwrap();
    append(&mut writer(folder.path(), KEEPING), &[1]);
    let path = &files(folder.path())[0];
    let good = fs::read(path).unwrap();
    // Without its newline it is one that was never finished.
    for place in 0..good.len() - 1 {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[place] ^= 1 << bit;
            fs::write(path, &bad).unwrap();
            let found = check(folder.path());
            assert!(matches!(found, Err(Unverified::Broken(_))), "byte {place}, bit {bit}: {found:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_log_is_whole_however_it_is_written(
        runs in prop::collection::vec((prop::collection::vec(1..5_usize, 0..6), 1..4000_u64), 1..6),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut reader = Reader::new(folder.path(), NAME, Position::default());
        let mut records = 0;
        for (batches, segment) in runs {
            append(&mut writer(folder.path(), Keeping { segment, ..KEEPING }), &batches);
            let mut fresh = Reader::new(folder.path(), NAME, reader.position());
            for _ in 0..batches.iter().sum::<usize>() {
                records += 1;
                let told = reader.read().unwrap();
                prop_assert_eq!(&told, &fresh.read().unwrap());
                prop_assert!(matches!(told, Some(Told::Line(line)) if line.record == records));
            }
            prop_assert_eq!(reader.read().unwrap(), None);
        }
        let verified = check(folder.path()).unwrap();
        prop_assert_eq!((verified.records, verified.head), (records, reader.position().after));
        prop_assert_eq!(ledger::head(folder.path(), NAME).unwrap().unwrap_or_default(), verified.head);
    }
}
