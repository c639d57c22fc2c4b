//! Less than everything: what is left, and how that is said.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use inventory::{EventSource, Gap, Scope, Share};

use super::source::Source;
use crate::Wanted;
use crate::testing::{alone, is_root, loader, loader_by, sensor};

fn only(gaps: &[Gap]) -> String {
    let [gap] = gaps else { panic!("{gaps:?}") };
    assert_eq!(gap.scope, Scope::Events);
    gap.reason.escaped()
}

#[test]
fn a_loader_of_another_process_hands_all_over() {
    let test = "a_loader_of_another_process_hands_all_over";
    let _alone = alone();
    let (source, files) = Source::find(loader);
    if source.word() != EventSource::Bpf {
        eprintln!("SKIP {test}: {:?}", source.gaps());
        return;
    }
    assert_eq!((source.share(), source.gaps()), (Share { seen: 4, of: 4 }, Vec::new()));
    source.check().unwrap();
    assert!(!files.unwrap().of_process(std::process::id()).unwrap().is_empty());
}

#[test]
fn a_loader_that_dies_is_no_loader() {
    let (source, files) = Source::find(|_| {
        let mut command = Command::new("sh");
        command.args(["-c", "exit 7"]);
        command
    });
    assert!(files.is_none());
    assert_ne!(source.word(), EventSource::Bpf);
    let reason = only(&source.gaps());
    assert!(reason.contains("exit status: 7"), "{reason}");
    let (source, _) = Source::find(|_| Command::new("/nonexistent"));
    let reason = only(&source.gaps());
    assert!(reason.contains("cannot be started"), "{reason}");
}

#[test]
fn without_the_root_cgroup_streams_are_told_and_the_rest_is_polled_for() {
    let test = "without_the_root_cgroup_streams_are_told_and_the_rest_is_polled_for";
    if !is_root(test) {
        return;
    }
    let _alone = alone();
    let Some(unified) = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
        .into_iter()
        .find(|place| fs::exists(format!("{place}/cgroup.controllers")).unwrap_or(false))
    else {
        eprintln!("SKIP {test}: the unified cgroup hierarchy is not mounted");
        return;
    };
    let folder = format!("{unified}/portledger-test-{}", std::process::id());
    if let Err(error) = fs::create_dir(&folder) {
        eprintln!("SKIP {test}: {folder}: {error}");
        return;
    }
    let (source, files) = Source::find(beneath);
    // Empty again, for the loader has ended.
    fs::remove_dir(&folder).unwrap();
    if source.word() != EventSource::Tracepoint {
        panic!("{:?} {:?}", source.word(), source.gaps());
    }
    assert!(files.is_some());
    assert_eq!(source.share(), Share { seen: 2, of: 4 });
    let reason = only(&source.gaps());
    assert!(reason.starts_with("news of UDP sockets, raw sockets are polled for"), "{reason}");
    assert!(reason.contains("out of reach in this cgroup namespace"), "{reason}");
}

fn beneath(wanted: Wanted) -> Command {
    let mut command = loader_by(
        "
for place in /sys/fs/cgroup/unified /sys/fs/cgroup; do
    test -d \"$place/$MINE\" && echo $$ > \"$place/$MINE/cgroup.procs\" && break
done
test \"$UNSHARED\" || UNSHARED=1 exec unshare --cgroup sh -c 'exec \"$@\" 3>&1 >/dev/null' sh \"$@\"",
        wanted,
    );
    command.env("MINE", format!("portledger-test-{}", std::process::id()));
    command
}

#[test]
fn without_privileges_everything_is_polled_for() {
    const INSIDE: &str = "PORTLEDGER_TEST_UNPRIVILEGED";
    let test = "without_privileges_everything_is_polled_for";
    if std::env::var(INSIDE).is_ok() {
        let (source, files) = Source::find(loader);
        assert!(files.is_none());
        assert_eq!((source.word(), source.share()), (EventSource::Polls, Share { seen: 0, of: 4 }));
        let reason = only(&source.gaps());
        for refused in ["BPF: ", "tracepoint"] {
            assert!(reason.contains(refused), "{reason}");
        }
        let own = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = own.local_addr().unwrap().port();
        let now = sensor().pass();
        let found = now.listeners.iter().find(|one| one.endpoint.port == port).unwrap();
        assert_eq!(found.holders.known()[0].id.pid, std::process::id());
        return;
    }
    if !is_root(test) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("tests");
    crate::testing::copy(std::env::current_exe().unwrap(), &copy);
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let ran = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(&copy)
        .args(["--exact", "events::tests::without_privileges_everything_is_polled_for", "--nocapture"])
        .env(INSIDE, "1")
        .current_dir("/")
        .output()
        .unwrap();
    assert!(
        ran.status.success(),
        "{}{}",
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr)
    );
}
