use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use inventory::{Holder, Program, ProgramFile, RawText};
use tempfile::TempDir;

use super::{Describer, Hashing, ProcRoot, Redaction, Unreadable};
use crate::testing::{Actor, Host, PRELUDE, copy, is_root, real};

fn describe(pid: u32) -> Holder {
    let (proc, mut describer) = real();
    describer.describe(&proc, &proc.process(pid).unwrap()).unwrap()
}

fn program(pid: u32) -> Program {
    describe(pid).program.unwrap()
}

/// A copy of sleep(1) that runs.
fn sleeper(folder: &TempDir, name: &str) -> (Actor, std::path::PathBuf) {
    let path = folder.path().join(name);
    copy("/bin/sleep", &path);
    (started(Command::new(&path).arg("60")), path)
}

/// Runs it, and waits until it executes the program.
fn started(command: &mut Command) -> Actor {
    let own = fs::read_link("/proc/self/exe").unwrap();
    let actor = Actor::start(command);
    let executes = |pid| {
        let is_other = fs::read_link(format!("/proc/{pid}/exe")).unwrap() != own;
        is_other && !fs::read(format!("/proc/{pid}/cmdline")).unwrap().is_empty()
    };
    while !executes(actor.pid()) {
        std::thread::sleep(Duration::from_millis(1));
    }
    actor
}

fn text(path: &Path) -> RawText {
    RawText::new(path.as_os_str().as_encoded_bytes())
}

#[test]
fn describes_a_process() {
    let before = SystemTime::now();
    let mut command = Command::new("/bin/sleep");
    let actor = started(command.arg("60").arg0("--password=hunter2\n"));
    let holder = describe(actor.pid());
    assert_eq!(holder.id.pid, actor.pid());
    assert_eq!(holder.name, RawText::from("sleep"));
    assert_eq!(holder.arguments, [RawText::from("--password=[redacted]"), RawText::from("60")]);
    assert_eq!(holder.uid, rustix::process::geteuid().as_raw());
    assert_eq!(holder.parents[0].pid, std::process::id());
    assert!(holder.parents.iter().all(|parent| parent.pid > 1));
    let path = fs::canonicalize("/bin/sleep").unwrap();
    assert_eq!(holder.program, Some(Program { path: text(&path), file: ProgramFile::Host, sha256: None }));
    // The kernel says in whole seconds when it was booted.
    let difference = holder.started_at.duration_since(before).unwrap_or_else(|error| error.duration());
    assert!(difference < Duration::from_secs(3), "{difference:?}");
}

#[test]
fn tells_a_deleted_program_from_a_replaced_one_and_from_a_name_that_says_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let (actor, path) = sleeper(&folder, "server");
    fs::remove_file(&path).unwrap();
    let deleted =
        |replaced| Program { path: text(&path), file: ProgramFile::Deleted { replaced }, sha256: None };
    assert_eq!(program(actor.pid()), deleted(false));
    fs::create_dir(&path).unwrap();
    assert_eq!(program(actor.pid()), deleted(false), "a folder is no program");
    fs::remove_dir(&path).unwrap();
    fs::write(&path, "another").unwrap();
    assert_eq!(program(actor.pid()), deleted(rustix::process::geteuid().is_root()));

    let (actor, path) = sleeper(&folder, "server (deleted)");
    assert_eq!(program(actor.pid()), Program { path: text(&path), file: ProgramFile::Host, sha256: None });
    fs::remove_file(&path).unwrap();
    assert_eq!(program(actor.pid()).path, text(&path));
    assert_eq!(program(actor.pid()).file, ProgramFile::Deleted { replaced: false });
}

#[test]
fn takes_a_deleted_program_for_replaced_only_where_both_files_are_roots() {
    if !is_root("takes_a_deleted_program_for_replaced_only_where_both_files_are_roots") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        (0, 0o755, 0, true),
        (65534, 0o755, 0, false),
        (65534, 0o755, 65534, false),
        (0, 0o755, 65534, false),
        (0, 0o775, 0, false),
        (0, 0o757, 0, false),
    ];
    for (owner, mode, owner_of_next, replaced) in cases {
        let (actor, path) = sleeper(&folder, "server");
        chown(&path, Some(owner), None).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "another").unwrap();
        chown(&path, Some(owner_of_next), None).unwrap();
        let case = format!("{owner} {mode:o} {owner_of_next}");
        assert_eq!(program(actor.pid()).file, ProgramFile::Deleted { replaced }, "{case}");
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn knows_a_program_that_never_was_a_file() {
    let (actor, _) = Actor::python(&format!(
        "{PRELUDE}
fd = os.memfd_create('sshd')
os.write(fd, open('/bin/sleep', 'rb').read())
say(0)
os.execv(f'/proc/self/fd/{{fd}}', ['sshd', '60'])"
    ));
    let exe = format!("/proc/{}/exe", actor.pid());
    while !fs::read_link(&exe).unwrap().starts_with("/memfd:sshd (deleted)") {
        std::thread::sleep(Duration::from_millis(1));
    }
    let program = program(actor.pid());
    assert_eq!(program.path, RawText::from("/memfd:sshd"));
    assert!(program.is_memfd(), "{program:?}");
}

#[test]
fn is_not_deceived_by_a_mount_namespace() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("backdoor");
    copy("/bin/sleep", &path);
    let script = format!("mount --bind {} /usr/bin/true && echo 0 && exec /usr/bin/true 60", path.display());
    let mut command = Command::new("unshare");
    if !Command::new("unshare").args(["-Urm", "true"]).status().unwrap().success() {
        eprintln!("SKIP is_not_deceived_by_a_mount_namespace: this machine refuses user namespaces");
        return;
    }
    let mut actor = Actor::start(command.args(["-Urm", "sh", "-c", &script]));
    actor.says();
    let shown = || fs::read_link(format!("/proc/{}/exe", actor.pid())).unwrap();
    while !shown().ends_with("true") {
        std::thread::sleep(Duration::from_millis(1));
    }
    let expected = |file| Program { path: RawText::from("/usr/bin/true"), file, sha256: None };
    assert_eq!(program(actor.pid()), expected(ProgramFile::Foreign));
    // Nor once its file is gone, though a regular file of the same file system may stand at the path.
    fs::remove_file(&path).unwrap();
    let gone = program(actor.pid());
    assert!(matches!(gone.file, ProgramFile::Deleted { replaced: false } | ProgramFile::Foreign), "{gone:?}");
}

#[test]
fn describes_what_the_threads_run_after_the_first_has_exited() {
    let (actor, _) = Actor::python(&format!(
        "{PRELUDE}
def rest():
    while ') Z ' not in open(f'/proc/{{os.getpid()}}/stat').read(): time.sleep(0.01)
    say(0)
    forever()
threading.Thread(target=rest).start()
libc.syscall(60, 0)"
    ));
    assert!(fs::read_link(format!("/proc/{}/exe", actor.pid())).is_err());
    let proc = ProcRoot::open(Path::new("/proc")).unwrap();
    let mut describer = Describer::new(&proc, Path::new("/"), Redaction::default(), Hashing::On).unwrap();
    let process = proc.process(actor.pid()).unwrap();
    let holder = describer.describe(&proc, &process).unwrap();
    let program = holder.program.unwrap();
    assert_eq!(program.file, ProgramFile::Host);
    assert!(program.path.escaped().contains("python3"), "{program:?}");
    assert!(program.sha256.is_some());
    assert_eq!(holder.arguments[1], RawText::from("-c"));
    let namespace = process.user_namespace();
    // The clock by which files are dated goes on in steps of at most 10 ms.
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(namespace, proc.process(std::process::id()).unwrap().user_namespace());
    actor.end();
    assert_eq!(process.program_path(), Err(Unreadable::Gone));
}

#[test]
fn hashes_the_file_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (actor, path) = sleeper(&folder, "server");
    let expected = Command::new("sha256sum").arg(&path).output().unwrap().stdout;
    let proc = ProcRoot::open(Path::new("/proc")).unwrap();
    let mut describer = Describer::new(&proc, Path::new("/"), Redaction::default(), Hashing::On).unwrap();
    let process = proc.process(actor.pid()).unwrap();
    let mut hash = || {
        let holder = describer.describe(&proc, &process).unwrap();
        let hash = holder.program.unwrap().sha256.unwrap();
        hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    assert_eq!(hash().as_bytes(), &expected[..64]);
    fs::remove_file(&path).unwrap();
    fs::write(&path, "another").unwrap();
    assert_eq!(hash().as_bytes(), &expected[..64], "not the file that stands there now");
}

#[test]
fn says_that_a_process_is_gone_though_its_pid_lives_on() {
    let name = "says_that_a_process_is_gone_though_its_pid_lives_on";
    if !is_root(name) {
        return;
    }
    let (proc, mut describer) = real();
    for _ in 0..50 {
        let first = started(Command::new("/bin/sleep").arg("60"));
        let pid = first.pid();
        let process = proc.process(pid).unwrap();
        first.end();
        if fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).is_err() {
            break;
        }
        let second = Actor::start(Command::new("/bin/sleep").arg("60"));
        if second.pid() == pid {
            assert_eq!(describer.describe(&proc, &process), Err(Unreadable::Gone));
            assert!(describer.describe(&proc, &proc.process(pid).unwrap()).is_ok());
            return;
        }
    }
    eprintln!("SKIP {name}: this machine gives no pid twice when asked to");
}

#[test]
fn reads_what_a_folder_says() {
    let host = Host::new();
    host.process(7, 8, b"evil) R 9", &[]);
    // A chain of parents that closes to a ring.
    host.process(8, 9, b"up", &[]);
    host.process(9, 8, b"upper", &[]);
    host.write("proc/7/cmdline", b"srv\0--token\0abc\0\xff\n\0");
    host.write("proc/7/cgroup", b"0::/system.slice/srv.service\n");
    host.write("usr/bin/srv", b"#!");
    symlink(host.path("usr/bin/srv"), host.path("proc/7/exe")).unwrap();
    let (proc, mut describer) = host.open();
    let holder = describer.describe(&proc, &proc.process(7).unwrap()).unwrap();
    assert_eq!(holder.name, RawText::from("evil) R 9"));
    assert_eq!(holder.id.start_ticks, 700);
    assert_eq!(holder.workload.stable_name(), Some(RawText::from("srv.service")));
    assert_eq!(holder.parents.iter().map(|parent| parent.pid).collect::<Vec<_>>(), [8, 9]);
    let arguments: Vec<String> = holder.arguments.iter().map(RawText::escaped).collect();
    assert_eq!(arguments, ["srv", "--token", "[redacted]", "\\xff\\x0a"]);
    // 1,795,238,000 s after the epoch, and 700 ticks of a hundredth of a second.
    let started = holder.started_at.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(started.as_secs(), 1_795_238_007);
    // The link leads to a file, but not at that path beneath this host's root.
    assert_eq!(holder.program.unwrap().file, ProgramFile::Foreign);
}

#[test]
fn refuses_a_stat_line_that_is_none() {
    for line in ["", "7", "7 (", "7 ()", "(a) S 1", " (a) S", "7 (a)\n", "7 (a) \u{e9}", ")(", "7 ) ( S 1"] {
        let host = Host::new();
        host.process(7, 1, b"a", &[]);
        host.write("proc/7/stat", line.as_bytes());
        let (proc, _) = host.open();
        let failed = matches!(proc.process(7).unwrap().id(), Err(Unreadable::Failed { file: "stat", .. }));
        assert!(failed, "{line:?}");
    }
}

#[test]
fn names_the_option_that_hides_processes() {
    let mounts = b"22 27 0:21 / /proc rw,relatime - proc proc rw\n\
        90 22 0:40 / /proc rw,nosuid shared:5 - proc proc rw,gid=7,hidepid=invisible\n\
        91 22 0:41 / /proc/sys ro - proc proc rw,hidepid=2\n";
    let option = |path: &str| super::root::hidepid_option(mounts, path.as_bytes());
    assert_eq!(option("/proc").as_deref(), Some("hidepid=invisible"));
    assert_eq!(option("/elsewhere"), None);
}
