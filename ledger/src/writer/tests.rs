use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

use super::*;
use crate::fixtures::{ALL, NAME, World, append};
use crate::{Position, Reader, Stranger};

#[test]
fn a_log_goes_on_after_each_start() {
    let world = World::new();
    for _ in 0..5 {
        world.write(Keeping { segment: 1000, ..ALL }, &[1, 2]);
    }
    let verified = world.verify().unwrap();
    assert_eq!((verified.records, verified.head.record), (15, 15));
    assert_eq!(fs::metadata(world.path("events.jsonl")).unwrap().mode() & 0o7777, 0o640);
    // Every segment is named for its first record.
    let segments = LogFiles::new(world.folder(), NAME).segments().unwrap();
    assert!(segments.len() > 3 && segments[0] == 1, "{segments:?}");
}

#[test]
fn no_file_grows_past_its_bound_unless_one_batch_does() {
    let world = World::new();
    world.write(Keeping { segment: 1500, ..ALL }, &[1, 1, 1, 1, 1, 1, 40, 1]);
    let files = LogFiles::new(world.folder(), NAME);
    let sizes: Vec<_> = files
        .segments()
        .unwrap()
        .iter()
        .map(|first| files.segment(*first).metadata().unwrap().len())
        .collect();
    assert!(sizes.iter().filter(|size| **size > 1500).count() == 1, "{sizes:?}");
}

#[test]
fn only_as_many_segments_stay_as_are_to_be_kept() {
    let world = World::new();
    world.write(Keeping { segment: 1, segments: Some(2), ..ALL }, &[1; 9]);
    assert_eq!(LogFiles::new(world.folder(), NAME).segments().unwrap(), [7, 8]);
    assert_eq!(world.verify().unwrap().first, 7);
}

#[test]
fn an_end_that_was_never_acknowledged_is_cut_off() {
    let world = World::new();
    world.write(ALL, &[1, 1]);
    let good = fs::read(world.path("events.jsonl")).unwrap();
    world.write(ALL, &[3]);
    let whole = fs::read(world.path("events.jsonl")).unwrap();
    for length in good.len() + 1..whole.len() {
        fs::write(world.path("events.jsonl"), &whole[..length]).unwrap();
        let writer = world.open(ALL).unwrap();
        assert_eq!((writer.head().record, writer.cut_off()), (2, (length - good.len()) as u64));
        assert_eq!(fs::read(world.path("events.jsonl")).unwrap(), good);
    }
}

#[test]
fn an_end_that_was_damaged_is_not_written_after() {
    let world = World::new();
    world.write(ALL, &[1, 1]);
    let good = fs::read_to_string(world.path("events.jsonl")).unwrap();
    fs::write(world.path("events.jsonl"), format!("{good}{{}}\n")).unwrap();
    assert!(matches!(world.open(ALL), Err(LogError::Damaged { .. })));
    fs::write(world.path("events.jsonl"), good.replace("\"number\":2", "\"number\":3")).unwrap();
    let error = world.open(ALL).unwrap_err();
    assert!(matches!(error, LogError::Unvouched { record: 2, .. }), "{error}");
}

#[test]
fn what_is_no_object_on_one_line_is_refused() {
    let world = World::new();
    let mut writer = world.open(ALL).unwrap();
    for wrong in
        ["", "{", "}", "[]", "{\n}", "{} ", &format!("{{\"a\":\"{}\"}}", "x".repeat(crate::MAX_LINE))]
    {
        assert!(matches!(writer.append(&["{}", wrong]), Err(LogError::Body(1))), "{wrong}");
    }
    assert_eq!(writer.append(&[""; 0]).unwrap(), Head::default());
    assert!(!world.path("events.jsonl").exists());
    assert_eq!(writer.append(&["{}"]).unwrap().record, 1);
    world.verify().unwrap();
}

#[test]
fn two_writers_are_one_too_many() {
    let world = World::new();
    let writer = world.open(ALL).unwrap();
    assert!(matches!(world.open(ALL), Err(LogError::Busy(_))));
    drop(writer);
    world.open(ALL).unwrap();
}

#[test]
fn who_moves_the_file_away_tears_the_log() {
    let world = World::new();
    let mut writer = world.open(ALL).unwrap();
    append(&mut writer, &[1, 1]);
    let (path, aside) = (world.path("events.jsonl"), world.path("aside"));
    fs::rename(&path, &aside).unwrap();
    for _ in 0..2 {
        assert!(matches!(writer.append(&["{}"]), Err(LogError::Torn { .. })));
        assert!(!path.exists());
    }
    fs::rename(&aside, &path).unwrap();
    assert_eq!(writer.append(&["{}"]).unwrap().record, 3);
    // A copy in its place is as good.
    fs::copy(&path, &aside).unwrap();
    fs::rename(&aside, &path).unwrap();
    assert_eq!(writer.append(&["{}"]).unwrap().record, 4);
    assert_eq!(world.verify().unwrap().records, 4);
    // One that was cut is not.
    fs::write(&path, world.lines("events.jsonl")[0].clone() + "\n").unwrap();
    assert!(matches!(writer.append(&["{}"]), Err(LogError::Torn { .. })));
}

#[test]
fn what_stands_in_a_files_place_is_refused() {
    let world = World::new();
    world.write(Keeping { segment: 1, ..ALL }, &[1, 1]);
    for name in ["events.jsonl", "events.jsonl.1", ".events.lock"] {
        let (path, aside) = (world.path(name), world.path("aside"));
        fs::rename(&path, &aside).unwrap();
        symlink(&aside, &path).unwrap();
        assert!(matches!(world.open(ALL), Err(LogError::NoFile(_))), "{name}");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(matches!(world.open(ALL), Err(LogError::NoFile(_))), "{name}");
        fs::remove_dir(&path).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(matches!(world.open(ALL), Err(LogError::NoFile(_))), "{name}");
        fs::remove_file(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
    }
    fs::hard_link(world.path("events.jsonl"), world.path("twin")).unwrap();
    assert!(matches!(world.open(ALL), Err(LogError::Linked(_))));
    fs::remove_file(world.path("twin")).unwrap();
    world.open(ALL).unwrap();
}

#[test]
fn another_users_file_is_refused() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIP another_users_file_is_refused: only root can give files away");
        return;
    }
    let world = World::new();
    world.write(ALL, &[1, 1]);
    chown(world.path("events.jsonl"), Some(12_345), None).unwrap();
    assert!(matches!(world.open(ALL), Err(LogError::Foreign { owner: 12_345, .. })));
}

#[test]
fn what_a_stranger_puts_beside_a_log_is_no_part_of_it() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIP what_a_stranger_puts_beside_a_log_is_no_part_of_it: only root can give files away");
        return;
    }
    let put = |world: &World, first: u64, text: &[u8]| {
        let path = world.path(&format!("events.jsonl.{first}"));
        fs::write(&path, text).unwrap();
        chown(&path, Some(12_345), None).unwrap();
        path
    };
    let rotates = Keeping { segment: 1, ..ALL };
    let world = World::of_segments();
    let head = world.verify().unwrap().head;
    let after = |offset, segment| Position { after: head, segment, offset };
    let own = fs::read(world.path("events.jsonl")).unwrap();
    // Between, where the current file, which he can read, would stand with one record more, and behind all.
    let forged = [&own[..], b"{\"record\":7}\n"].concat();
    let named = [(2, &b"nonsense\n"[..]), (4, b""), (5, &forged), (99, &own)];
    let named = named.map(|(first, text)| put(&world, first, text));
    symlink("/dev/zero", world.path("events.jsonl.77")).unwrap();
    std::os::unix::fs::lchown(world.path("events.jsonl.77"), Some(12_345), None).unwrap();

    assert_eq!(crate::segments(world.folder(), NAME).unwrap(), [1, 3]);
    let mut told: Vec<_> = crate::strangers(world.folder(), NAME).unwrap();
    assert!(told.remove(3).to_string().contains("events.jsonl.77 is a stranger's file, of uid 12345"));
    assert_eq!(told, named.map(|path| Stranger { path, owner: 12_345 }));
    let verified = world.verify().unwrap();
    assert_eq!((verified.first, verified.head, verified.records), (1, head, 6));
    let mut reader = Reader::new(world.folder(), NAME, after(own.len() as u64, 5));
    assert_eq!(reader.read().unwrap(), None);
    let (bundled, sources) = crate::bundle::log(world.folder(), NAME, "state/events").unwrap();
    assert_eq!((bundled.first, bundled.head, sources.len()), (1, head, 3));

    // Where his file has the name that the current one would get, this grows on.
    world.write(rotates, &[1, 1]);
    assert_eq!(world.verify().unwrap().records, 8);
    assert_eq!(crate::segments(world.folder(), NAME).unwrap(), [1, 3]);
    assert_eq!(fs::read(world.path("events.jsonl.5")).unwrap(), forged);
    fs::remove_file(world.path("events.jsonl.5")).unwrap();
    world.write(rotates, &[1]);
    assert_eq!(crate::segments(world.folder(), NAME).unwrap(), [1, 3, 5]);
    assert_eq!(world.verify().unwrap().records, 9);

    // A kill came between a segment and the next file.
    fs::rename(world.path("events.jsonl"), world.path("events.jsonl.9")).unwrap();
    assert_eq!(world.verify().unwrap().records, 9);
    assert_eq!(world.open(ALL).unwrap().head().record, 9);
}

#[test]
fn a_log_of_another_user_is_read_whole() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIP a_log_of_another_user_is_read_whole: only root can give files away");
        return;
    }
    let world = World::of_segments();
    for name in ["events.jsonl", "events.jsonl.1", "events.jsonl.3"] {
        chown(world.path(name), Some(12_345), None).unwrap();
    }
    assert_eq!(world.verify().unwrap().records, 6);
    assert_eq!(crate::strangers(world.folder(), NAME).unwrap(), []);
    // Root mended a file.
    chown(world.path("events.jsonl.3"), Some(0), None).unwrap();
    assert_eq!(world.verify().unwrap().records, 6);
    // Between two current files.
    fs::rename(world.path("events.jsonl"), world.path("events.jsonl.5")).unwrap();
    chown(world.path("events.jsonl.3"), Some(12_345), None).unwrap();
    assert_eq!(world.verify().unwrap().records, 6);
}

#[test]
fn a_folder_that_refuses_is_an_error_and_the_log_goes_on_later() {
    if rustix::process::geteuid().is_root() {
        println!("SKIP a_folder_that_refuses_is_an_error_and_the_log_goes_on_later: root is refused nothing");
        return;
    }
    let world = World::new();
    let mut writer = world.open(Keeping { segment: 1, ..ALL }).unwrap();
    append(&mut writer, &[1]);
    fs::set_permissions(world.folder(), fs::Permissions::from_mode(0o500)).unwrap();
    assert!(matches!(writer.append(&["{}"]), Err(LogError::Io { .. })));
    fs::set_permissions(world.folder(), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(writer.append(&["{}"]).unwrap().record, 2);
}
