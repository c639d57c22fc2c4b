use std::net::TcpListener;
use std::process::Command;

use crate::world::{Drifts, Host, Listing, Serve};

const STRANGER: u32 = 65534;

fn told_to_stranger(host: &Host, arguments: &[&str]) -> crate::world::Told {
    crate::world::finish(host.portledger_as(STRANGER, arguments))
}

#[test]
fn an_ordinary_user_sees_less_and_is_told_so() {
    let Some(host) = Host::new() else { return };
    host.write("etc/baseline.toml", "# nothing is approved\n");
    let _sshd = host.listen("tcp 0.0.0.0:22").by("sshd");
    let _own = host.listen("tcp 127.0.0.1:8080").user(STRANGER).by("own");
    let told = told_to_stranger(&host, &["list", "--format", "json"]);
    assert_eq!(told.code, 0, "{told:?}");
    let listing = Listing::new(&told.stdout);
    listing.on(22).has("unattributed", "denied");
    listing.on(8080).has("holders/0/name", "own");
    let holders: Vec<_> = listing.gaps().iter().filter(|gap| gap["scope"] == "holders").collect();
    assert!(!holders.is_empty(), "{:#?}", listing.gaps());
    assert!(
        holders.iter().any(|gap| gap["reason"].as_str().unwrap().contains("CAP_SYS_PTRACE")),
        "{holders:#?}"
    );
}

#[test]
fn no_drift_in_a_part_of_the_host_is_not_no_drift() {
    let Some(host) = Host::new() else { return };
    host.write("etc/baseline.toml", "# nothing is approved\n");
    host.diff().is_clean();
    let told = told_to_stranger(&host, &["diff", "--format", "json"]);
    let drifts = Drifts::new(told);
    assert_eq!(drifts.code, 3, "{:#}", drifts.document);
    let told = told_to_stranger(&host, &["doctor"]);
    assert_eq!(told.code, 3, "{told:?}");
    assert!(told.stdout.contains("CAP_SYS_PTRACE"), "{told:?}");
}

#[test]
fn hidden_processes_are_a_gap() {
    let Some(host) = Host::new() else { return };
    let _sshd = host.listen("tcp 0.0.0.0:22").by("sshd");
    host.sh("mount -o remount,hidepid=2 /proc");
    let told = told_to_stranger(&host, &["list", "--format", "json"]);
    let listing = Listing::new(&told.stdout);
    listing.on(22).has("unattributed", "denied");
    let told_of = |gap: &serde_json::Value| gap["reason"].as_str().unwrap().contains("hidepid");
    assert!(listing.gaps().iter().any(told_of), "{:#?}", listing.gaps());
}

/// The process that speaks HTTP holds nothing that would let it look or change anything.
#[test]
fn serve_gives_its_privileges_away() {
    use crate::world::status;
    let Some(host) = Host::new() else { return };
    let serve = host.serve();
    let exporter = serve.running.outer;
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status(exporter, set), "0000000000000000", "{set}");
    }
    assert_eq!(status(exporter, "NoNewPrivs"), "1");
    assert_eq!(status(exporter, "Groups"), "");
    let uids = status(exporter, "Uid");
    let mut uids = uids.split_whitespace();
    let uid = uids.next().unwrap();
    assert!(uid != "0" && uid != "65534" && uids.all(|other| other == uid), "{uid}");
    assert_eq!(status(serve.sensor(), "Uid").split_whitespace().next(), Some("0"));
}

/// Each of the processes is in its box, all of its threads, while it works.
#[test]
fn what_serve_starts_is_confined() {
    use crate::world::{status, statuses};
    let Some(host) = Host::new() else { return };
    let serve = host.serve();
    let of_core = |pid: u32| {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let line = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
        line.split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    // CAP_DAC_READ_SEARCH, CAP_NET_ADMIN, CAP_SYS_PTRACE and CAP_SYS_ADMIN.
    let of_sensor = 1 << 2 | 1 << 12 | 1 << 19 | 1 << 21;
    for (process, capabilities) in
        [(serve.running.outer, 0_u64), (serve.keeper(), 0), (serve.sensor(), of_sensor)]
    {
        for task in std::fs::read_dir(format!("/proc/{process}/task")).unwrap() {
            let task: u32 = task.unwrap().file_name().to_str().unwrap().parse().unwrap();
            let Some([seccomp, no_new, effective]) = statuses(task, ["Seccomp", "NoNewPrivs", "CapEff"])
            else {
                // Threads come and go, but for the first.
                assert_ne!(task, process);
                continue;
            };
            assert_eq!((&*seccomp, &*no_new), ("2", "1"), "{process}");
            let effective = u64::from_str_radix(&effective, 16).unwrap();
            assert_eq!(effective & !capabilities, 0, "{process}: {effective:x}");
        }
        assert_eq!(of_core(process), ["0", "0"], "{process}");
    }
    // What is deadly, absent, and not allowed; then, as all doors are open, that there are more of them. Linux 5.9 counts.
    let filters = std::fs::read_to_string(format!("/proc/{}/status", serve.running.outer)).unwrap();
    let filters = filters.lines().find_map(|line| line.strip_prefix("Seccomp_filters:\t"));
    assert!(filters.is_none_or(|filters| filters.parse::<u32>().unwrap() >= 4), "{filters:?}");
    assert_eq!(status(serve.sensor(), "CapBnd"), "0000000000000000");
    let told = host.run(&["doctor", "--format", "json"]);
    let document: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    let processes = document["confinement"]["processes"].as_array().unwrap();
    let verbs: Vec<&str> = processes.iter().map(|one| one["process"].as_str().unwrap()).collect();
    assert_eq!(verbs, ["serve", "keeper", "sensor"], "{document:#}");
    for process in processes {
        assert_eq!(process["seccomp"], true, "{process}");
        assert_eq!(process["no_new_privs"], true, "{process}");
        assert_eq!(process["core_limit"], "0", "{process}");
    }
    assert_eq!(processes[0]["capabilities"].as_array().unwrap().len(), 0, "{document:#}");
}

/// Without root all of it runs as the one user.
#[test]
fn an_ordinary_user_can_serve_too() {
    let Some(host) = Host::new() else { return };
    host.sh(&format!("install -d -o {STRANGER} -m 750 {}", host.path("state").display()));
    let command = host.portledger_as(STRANGER, &["serve"]);
    let serve = crate::world::Serve::run(&host, command);
    let coverage = serve.metric("portledger_coverage{scope=\"holders\"}").unwrap();
    assert!(coverage < 1.0, "{coverage}");
}

/// As in a container that was given no capability: it is told what failed, on what, and what to do.
#[test]
fn root_without_powers_is_told_which_to_give() {
    let Some(host) = Host::new() else { return };
    let serve = ["serve", "--web.listen-address", "127.0.0.1:0"];
    let told = crate::world::finish(host.portledger_with(&[], &serve));
    assert_eq!(told.code, 2, "{told:?}");
    let state = host.path("state").display().to_string();
    let lacks = "root without CAP_CHOWN, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_SETGID, CAP_SETUID";
    for part in [&*state, "chown failed", lacks, "as an ordinary user"] {
        assert!(told.stderr.contains(part), "{part}: {told:?}");
    }
    let told = crate::world::finish(host.portledger_with(&["chown", "dac_read_search", "fowner"], &serve));
    assert_eq!(told.code, 2, "{told:?}");
    assert!(told.stderr.contains("setgroups: Operation not permitted"), "{told:?}");
    assert!(told.stderr.contains("root without CAP_SETGID, CAP_SETUID: "), "{told:?}");
}

/// What it is told to give is enough, also for a folder that it gave away before.
#[test]
fn root_with_the_powers_that_are_named_serves() {
    let Some(host) = Host::new() else { return };
    for _ in 0..2 {
        let named = ["chown", "dac_read_search", "fowner", "setgid", "setuid"];
        let serve = crate::world::Serve::run(&host, host.portledger_with(&named, &["serve"]));
        assert_eq!(serve.get("/-/healthy").0, 200);
        serve.running.kill();
    }
}

/// Needs no privilege and no namespace: what anybody sees of this machine.
#[test]
fn anybody_sees_their_own_listener() {
    let folder = tempfile::tempdir().unwrap();
    let own = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_portledger"));
    command.args(["list", "--format", "json", "--state"]).arg(folder.path());
    let output = command.env("XDG_CONFIG_HOME", folder.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let listing = Listing::new(std::str::from_utf8(&output.stdout).unwrap());
    let rows = listing.all_on(own.local_addr().unwrap().port());
    let ours = u64::from(std::process::id());
    assert!(rows.iter().any(|row| row.pids().contains(&ours)), "{rows:#?}");
}

/// A shell or a cron job may hold open what the exporter's user must not read.
#[test]
fn what_serve_was_started_with_is_closed() {
    let Some(host) = Host::new() else { return };
    host.write("secret", "of root");
    let serve = host.portledger(&["serve"]);
    let words: Vec<_> = serve.get_args().map(ToOwned::to_owned).collect();
    let program = words.iter().position(|word| word == env!("CARGO_BIN_EXE_portledger")).unwrap();
    let mut command = std::process::Command::new(serve.get_program());
    command.args(&words[..program]).args(["sh", "-c", "exec 9<\"$0\"; exec \"$@\""]);
    command.arg(host.path("secret")).args(&words[program..]);
    let serve = Serve::run(&host, command);
    for process in [serve.running.outer, serve.keeper(), serve.sensor()] {
        let folder = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap();
        let held = folder.map(|fd| std::fs::read_link(fd.unwrap().path()).unwrap_or_default());
        let held: Vec<_> = held.filter(|path| path.ends_with("secret")).collect();
        assert!(held.is_empty(), "{process}: {held:?}");
    }
}
