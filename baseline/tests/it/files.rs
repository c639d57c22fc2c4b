//! The files themselves, on a real file system.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use baseline::{LockedFile, Sources, StoreError, keep_last_good, load_last_good, revision};

use crate::world::source;

fn own_uid(folder: &Path) -> u32 {
    fs::metadata(folder).unwrap().uid()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn write(path: &Path, text: impl AsRef<[u8]>, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn refusal(folder: &Path) -> String {
    let error = Sources::of_folder(folder, own_uid(folder)).read().unwrap_err().to_string();
    error.replace(folder.to_str().unwrap(), "DIR")
}

#[test]
fn no_baseline_is_its_own_outcome() {
    let folder = folder();
    let sources = Sources::of_folder(folder.path(), own_uid(folder.path()));
    assert_eq!(sources.read().unwrap(), None);
    let named =
        Sources::named(vec![folder.path().join("a"), folder.path().join("b")], own_uid(folder.path()));
    assert_eq!(named.read().unwrap(), None);
    write(&folder.path().join("a"), "", 0o644);
    assert!(
        named
            .read()
            .unwrap_err()
            .to_string()
            .ends_with("/b: it is missing, and other files of the set are there")
    );
}

#[test]
fn reads_the_file_and_the_folder_in_order() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("baseline.d")).unwrap();
    fs::set_permissions(path("baseline.d"), Permissions::from_mode(0o755)).unwrap();
    write(&path("baseline.d/b.toml"), "# b", 0o644);
    write(&path("baseline.d/.hidden.toml"), "# no", 0o644);
    write(&path("baseline.d/README"), "# no", 0o644);
    write(&path("elsewhere"), "# a", 0o640);
    symlink(path("elsewhere"), path("baseline.d/a.toml")).unwrap();
    write(&path("baseline.toml"), "# main", 0o600);
    let read = Sources::of_folder(folder.path(), own_uid(folder.path())).read().unwrap().unwrap();
    let texts: Vec<&str> = read.iter().map(|source| source.text.as_str()).collect();
    assert_eq!(texts, ["# main", "# a", "# b"]);
}

#[test]
fn distrusts_what_others_can_write() {
    let folder = folder();
    let path = folder.path().join("baseline.toml");
    write(&path, "", 0o646);
    assert_eq!(
        refusal(folder.path()),
        "DIR/baseline.toml: others may write to it (mode 0646): take that away, as in `chmod go-w FILE`"
    );
    write(&path, "", 0o644);
    fs::create_dir(folder.path().join("baseline.d")).unwrap();
    fs::set_permissions(folder.path().join("baseline.d"), Permissions::from_mode(0o777)).unwrap();
    assert!(refusal(folder.path()).starts_with("DIR/baseline.d: others may write to it"));
}

#[test]
fn distrusts_another_owner() {
    let folder = folder();
    let path = folder.path().join("baseline.toml");
    write(&path, "", 0o644);
    if own_uid(folder.path()) != 0 {
        eprintln!("SKIP distrusts_another_owner: only root can give a file away");
        return;
    }
    std::os::unix::fs::chown(&path, Some(4242), None).unwrap();
    assert!(refusal(folder.path()).starts_with("DIR/baseline.toml: it belongs to uid 4242"));
    Sources::of_folder(folder.path(), 4242).read().unwrap();
    std::os::unix::fs::chown(&path, Some(0), Some(4242)).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o664)).unwrap();
    assert!(refusal(folder.path()).contains("others may write to it (mode 0664)"));
    std::os::unix::fs::chown(&path, Some(0), Some(0)).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o664)).unwrap();
    Sources::of_folder(folder.path(), 0).read().unwrap();
}

#[test]
fn refuses_what_is_no_text() {
    let folder = folder();
    let path = folder.path().join("baseline.toml");
    write(&path, b"# fine\n# \xff", 0o644);
    assert_eq!(refusal(folder.path()), "DIR/baseline.toml: it is no UTF-8 at line 2, byte 3");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(refusal(folder.path()), "DIR/baseline.toml: it is no regular file");
    fs::remove_dir(&path).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    assert_eq!(
        refusal(folder.path()),
        "DIR/baseline.toml: it is no regular file",
        "and nobody waits for a writer"
    );
    fs::remove_file(&path).unwrap();
    let file = fs::File::create(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    file.set_len((8 << 20) + 1).unwrap();
    assert_eq!(refusal(folder.path()), "DIR/baseline.toml: it is larger than 8388608 bytes");
}

fn open(path: &Path) -> Result<LockedFile, StoreError> {
    LockedFile::open(path, own_uid(path.parent().unwrap()), Duration::from_millis(50))
}

#[test]
fn replaces_a_file_and_keeps_its_mode() {
    let folder = folder();
    let path = folder.path().join("baseline.toml");
    let file = open(&path).unwrap();
    assert_eq!(file.source().text, "");
    file.replace("# one\n").unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o644);
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    let link = folder.path().join("link.toml");
    symlink(&path, &link).unwrap();
    open(&link).unwrap().replace("# two\n").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "# two\n");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
}

#[test]
fn refuses_when_it_was_changed_and_when_it_is_locked() {
    let folder = folder();
    let path = folder.path().join("baseline.toml");
    write(&path, "# old\n", 0o644);
    let first = open(&path).unwrap();
    assert!(matches!(open(&path), Err(StoreError::Busy(_))));
    write(&path, "# of somebody else\n", 0o644);
    assert!(matches!(first.replace("# ours\n"), Err(StoreError::Changed(_))));
    assert_eq!(fs::read_to_string(&path).unwrap(), "# of somebody else\n");
    open(&path).unwrap().replace("# ours\n").unwrap();
}

#[test]
fn what_a_killed_writer_left_is_in_nobodys_way() {
    let folder = folder();
    let path = folder.path().join("baseline.toml");
    write(&path, "# old\n", 0o644);
    write(&folder.path().join(".baseline.toml.new"), "# ha", 0o600);
    open(&path).unwrap().replace("# whole\n").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "# whole\n");
    let left: Vec<String> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(!left.contains(&".baseline.toml.new".to_owned()), "{left:?}");
}

#[test]
fn the_last_good_set_is_kept() {
    let folder = folder();
    assert_eq!(load_last_good(folder.path()).unwrap(), None);
    let texts = [source("/etc/a.toml", "# \u{e9}\n"), source("/etc/b\n.toml", "")];
    keep_last_good(folder.path(), &texts).unwrap();
    let back = load_last_good(folder.path()).unwrap().unwrap();
    assert_eq!(back, texts);
    assert_eq!(revision(&back), revision(&texts));
    fs::write(folder.path().join("last-good-baseline.json"), "{").unwrap();
    let error = load_last_good(folder.path()).unwrap_err().to_string();
    assert!(error.contains("it holds no baseline that was kept"), "{error}");
}

#[test]
fn the_revision_tells_sets_apart() {
    let (one, other) = (source("a", "x"), source("b", "y"));
    assert_eq!(revision(&[one.clone(), other.clone()]), revision(&[other.clone(), one.clone()]));
    assert_ne!(revision(std::slice::from_ref(&one)), revision(&[other]));
    assert_ne!(revision(&[source("ab", "c")]), revision(&[source("a", "bc")]));
    assert_eq!(revision(&[one]).len(), 12);
}

/// Run by [`a_writer_that_is_killed_leaves_the_old_or_the_new_whole`] as a process of its own; alone it does nothing.
#[test]
fn writes_until_it_is_killed() {
    let Some(folder) = std::env::var_os("PORTLEDGER_TEST_WRITE_IN") else { return };
    let path = Path::new(&folder).join("baseline.toml");
    for round in 0_u64.. {
        let letter = if round.is_multiple_of(2) { "a" } else { "b" };
        open(&path).unwrap().replace(&letter.repeat(LENGTH)).unwrap();
    }
}

const LENGTH: usize = 300_000;

#[test]
fn a_writer_that_is_killed_leaves_the_old_or_the_new_whole() {
    let folder = folder();
    let path = folder.path().join("baseline.toml");
    write(&path, "a".repeat(LENGTH), 0o644);
    for round in 0..20 {
        let mut writer = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "files::writes_until_it_is_killed"])
            .env("PORTLEDGER_TEST_WRITE_IN", folder.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(20 + 3 * round));
        writer.kill().unwrap();
        writer.wait().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let first = text.chars().next().unwrap();
        assert!(text.len() == LENGTH && text.chars().all(|letter| letter == first), "round {round}");
    }
    open(&path).unwrap().replace("# the lock of a killed writer holds nobody\n").unwrap();
}

fn with_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn each_folder_on_the_way_is_looked_at() {
    let folder = folder();
    let root = folder.path();
    let inner = root.join("a/b");
    fs::create_dir_all(&inner).unwrap();
    write(&inner.join("baseline.toml"), "# main", 0o644);
    let refusal = |at: &Path| {
        let refused = Sources::of_folder(at, own_uid(root)).read().err().map(|error| error.to_string());
        refused.unwrap_or_default().replace(root.to_str().unwrap(), "DIR")
    };
    for (mode, is_good) in [(0o755, true), (0o700, true), (0o757, false), (0o777, false), (0o1777, true)] {
        with_mode(&root.join("a"), mode);
        assert_eq!(refusal(&inner).is_empty(), is_good, "{mode:o}: {}", refusal(&inner));
    }
    with_mode(&root.join("a"), 0o757);
    assert_eq!(
        refusal(&inner),
        "DIR/a/b/baseline.d: others may put another file there, for they may write to DIR/a (mode 0757): take that \
         away, as in `chmod go-w DIR/a`"
    );
    // Also where nothing is there yet, and where a link leads through it.
    assert!(refusal(&inner.join("none")).contains("DIR/a (mode"));
    symlink("a/b", root.join("link")).unwrap();
    symlink("../../link/../b", root.join("a/b/back")).unwrap();
    assert!(refusal(&root.join("link")).contains("DIR/a (mode"));
    with_mode(&root.join("a"), 0o755);
    assert_eq!(refusal(&root.join("link/back/back")), "");
    assert_eq!(refusal(&inner.join("none")), "");
}

#[test]
fn a_link_that_leads_nowhere_is_no_empty_baseline() {
    let folder = folder();
    let root = folder.path();
    let read = |at: &str| Sources::of_folder(&root.join(at), own_uid(root)).read();
    symlink("away", root.join("gone")).unwrap();
    symlink("round", root.join("round")).unwrap();
    fs::create_dir(root.join("etc")).unwrap();
    symlink("../gone", root.join("etc/baseline.d")).unwrap();
    for at in ["gone", "etc"] {
        assert!(read(at).unwrap_err().to_string().contains("leads nowhere"), "{at}");
    }
    assert!(read("round").unwrap_err().to_string().contains("Too many levels of symbolic links"));
    // Where it leads is there, and no baseline in it.
    fs::create_dir(root.join("away")).unwrap();
    assert_eq!(read("gone").unwrap(), None);
    assert_eq!(read("gone/further").unwrap(), None);
}

#[test]
fn a_new_file_is_known_by_its_whole_path() {
    let folder = folder();
    fs::create_dir(folder.path().join("there")).unwrap();
    symlink("there", folder.path().join("link")).unwrap();
    let file = LockedFile::open(&folder.path().join("link/new.toml"), own_uid(folder.path()), Duration::ZERO);
    let whole = fs::canonicalize(folder.path()).unwrap().join("there/new.toml");
    assert_eq!(file.unwrap().source().path, whole);
}
