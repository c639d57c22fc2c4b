use std::fs;
use std::ops::Range;
use std::path::PathBuf;

use super::*;
use crate::fixtures::{ALL, NAME, World};
use crate::{HostKeys, Keeping};

const MOST: u64 = 1 << 20;

fn bundle(world: &World) -> Vec<u8> {
    let (log, mut sources) = log(world.folder(), NAME, "state/events").unwrap();
    sources.extend(Source::open(&world.path("events.key.pub"), "events.key.pub").unwrap());
    let mut bytes = Vec::new();
    write(&mut bytes, "web-1", "2026-01-01T00:00:00Z", vec![log], &mut sources, &world.key()).unwrap();
    bytes
}

/// And what is left of it.
fn unpacked(bytes: &[u8], keys: &HostKeys) -> (Result<Contents, BundleError>, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("fresh");
    let contents = unpack(bytes, keys, MOST, &into);
    let mut left = Vec::new();
    for part in ["", "state"] {
        let entries = fs::read_dir(into.join(part)).into_iter().flatten();
        left.extend(entries.map(|entry| entry.unwrap().path().strip_prefix(&into).unwrap().to_owned()));
    }
    left.sort();
    (contents, left)
}

#[test]
fn what_was_bundled_is_unpacked_and_verified() {
    let world = World::of_segments();
    let (contents, left) = unpacked(&bundle(&world), &world.keys());
    let contents = contents.unwrap();
    assert_eq!((contents.manifest.host.as_str(), contents.logs.len()), ("web-1", 1));
    assert_eq!(contents.logs[0], world.verify().unwrap());
    let names =
        ["events.key.pub", "state", "state/events.jsonl", "state/events.jsonl.1", "state/events.jsonl.3"];
    assert_eq!(left, names.map(PathBuf::from));
}

#[test]
fn what_is_not_acknowledged_stays_behind() {
    let world = World::of_segments();
    let path = world.path("events.jsonl");
    let text = fs::read_to_string(&path).unwrap() + "{\"unfin";
    fs::write(&path, text).unwrap();
    assert_eq!(unpacked(&bundle(&world), &world.keys()).0.unwrap().logs[0], {
        world.open(ALL).unwrap();
        world.verify().unwrap()
    });
}

#[test]
fn a_log_without_a_current_file_or_any_is_bundled() {
    let world = World::of_segments();
    fs::rename(world.path("events.jsonl"), world.path("events.jsonl.5")).unwrap();
    assert_eq!(unpacked(&bundle(&world), &world.keys()).0.unwrap().logs[0].head.record, 6);
    let empty = World::new();
    empty.key();
    assert_eq!(unpacked(&bundle(&empty), &empty.keys()).0.unwrap().logs[0].records, 0);
}

/// Where a tar has the content of its files. Besides, it pads and says of owners what means nothing.
fn content(tar: &[u8]) -> Vec<Range<usize>> {
    let range = |entry: tar::Entry<'_, &[u8]>| {
        let begin = usize::try_from(entry.raw_file_position()).unwrap();
        begin..begin + usize::try_from(entry.size()).unwrap()
    };
    tar::Archive::new(tar).entries().unwrap().map(|entry| range(entry.unwrap())).collect()
}

#[test]
fn every_changed_byte_of_content_is_found() {
    let world = World::new();
    world.write(Keeping { segment: 1, ..ALL }, &[1, 1]);
    let good = bundle(&world);
    let whole = unpacked(&good, &world.keys()).0.unwrap();
    let content = content(&good);
    assert_eq!(content.len(), whole.manifest.files.len() + 2);
    let signature = content[1].clone();
    for place in (0..good.len()).step_by(43).chain(signature) {
        for bit in [1, 0x20] {
            let mut bad = good.clone();
            bad[place] ^= bit;
            let (contents, left) = unpacked(&bad, &world.keys());
            match contents {
                Ok(contents) => {
                    assert_eq!(contents, whole, "{place}");
                    assert!(!content.iter().any(|range| range.contains(&place)), "{place} is content");
                }
                Err(_) => assert_eq!(left, [""; 0].map(PathBuf::from), "{place}"),
            }
        }
    }
    for length in (0..good.len() - 1024).step_by(511) {
        assert!(unpacked(&good[..length], &world.keys()).0.is_err(), "{length}");
    }
}

#[test]
fn another_hosts_bundle_is_not_believed() {
    let (world, other) = (World::of_segments(), World::new());
    other.key();
    assert!(matches!(unpacked(&bundle(&world), &other.keys()).0, Err(BundleError::Unvouched(_))));
}

#[test]
fn private_keys_stay_at_home() {
    let world = World::new();
    world.key();
    let by_name = Source::open(&world.path("events.key"), "events.key").unwrap_err();
    assert!(matches!(by_name, BundleError::Refused { .. }));
    let mut sources = vec![Source::open(&world.path("events.key"), "notes").unwrap().unwrap()];
    let refused = write(Vec::new(), "", "", Vec::new(), &mut sources, &world.key()).unwrap_err();
    assert!(matches!(refused, BundleError::Refused { .. }), "{refused}");
    // In the middle of a file, over two chunks; but a log may quote one.
    let begin = "-----BEGIN OPENSSH PRIVATE KEY-----";
    for (before, is_key) in [("\n", true), ("{\"name\":\"", false)] {
        let text = format!("{}{before}{begin}\n", "x".repeat((64 << 10) - 10));
        fs::write(world.path("notes"), text).unwrap();
        let mut source = Source::open(&world.path("notes"), "notes").unwrap().unwrap();
        assert_eq!(describe(&mut source).is_err(), is_key);
    }
}

/// A bundle that the host's own key signed, with whatever in it.
fn forged(world: &World, manifest: &str, entries: &[(&[u8], EntryType, &[u8])]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    let signature = world.key().sign_armored(NAMESPACE, manifest.as_bytes()).unwrap();
    append(&mut tar, MANIFEST, 0o644, manifest.as_bytes(), length(manifest.as_bytes())).unwrap();
    append(&mut tar, SIGNATURE, 0o644, signature.as_bytes(), length(signature.as_bytes())).unwrap();
    for (name, kind, content) in entries {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_entry_type(*kind);
        header.set_size(length(content));
        header.set_mode(0o4777);
        header.set_cksum();
        tar.append(&header, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

#[test]
fn a_signed_bundle_leads_nowhere_else() {
    let world = World::new();
    world.key();
    let hash = LineHash(Sha256::digest(b"x").into());
    let file = |path: &str| format!("{{\"path\":\"{path}\",\"size\":1,\"mode\":2559,\"sha256\":\"{hash}\"}}");
    let manifest = |files: &[String]| {
        let files = files.join(",");
        format!(
            "{{\"format\":1,\"host\":\"\",\"made_at\":\"\",\"key\":\"\",\"logs\":[],\"files\":[{files}]}}"
        )
    };
    let regular = EntryType::Regular;
    let good = forged(&world, &manifest(&[file("a/b")]), &[(b"a/b", regular, b"x")]);
    let folder = tempfile::tempdir().unwrap();
    unpack(&good[..], &world.keys(), MOST, &folder.path().join("fresh")).unwrap();
    let mode = fs::metadata(folder.path().join("fresh/a/b")).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o777);
    assert!(unpack(&good[..], &world.keys(), MOST, folder.path()).is_err());
    assert!(unpack(&good[..], &world.keys(), 0, &folder.path().join("other")).is_err());
    for path in
        ["../a", "/a", "a/../../b", "a//b", "", ".", "a\\u0000", "manifest.json", "x.key", &"a".repeat(101)]
    {
        let bytes = forged(
            &world,
            &manifest(&[file(path)]),
            &[(path.as_bytes().get(..100).unwrap_or(path.as_bytes()), regular, b"x")],
        );
        assert!(unpacked(&bytes, &world.keys()).0.is_err(), "{path}");
    }
    let one = manifest(&[file("a")]);
    for entries in [
        &[][..],
        &[(&b"a"[..], regular, &b"y"[..])],
        &[(b"a", regular, b"xx")],
        &[(b"a", regular, b"")],
        &[(b"b", regular, b"x")],
        &[(b"a", EntryType::Symlink, b"x")],
        &[(b"a", EntryType::GNULongName, b"x")],
        &[(b"a", EntryType::GNUSparse, b"x")],
        &[(b"a", regular, b"x"), (b"a", regular, b"x")],
    ] {
        assert!(unpacked(&forged(&world, &one, entries), &world.keys()).0.is_err(), "{entries:?}");
    }
    let twice =
        forged(&world, &manifest(&[file("a"), file("a")]), &[(b"a", regular, b"x"), (b"a", regular, b"x")]);
    assert!(unpacked(&twice, &world.keys()).0.is_err());
}
