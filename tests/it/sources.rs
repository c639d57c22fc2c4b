//! Who tells the sensor what opens and closes, and what it costs.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::world::{Host, Serve, eventually, finish, installed, status, within};

/// What `doctor` says of events.
fn doctor(mut command: std::process::Command) -> serde_json::Value {
    command.args(["--format", "json"]);
    let told = finish(command);
    let document: serde_json::Value =
        serde_json::from_str(&told.stdout).unwrap_or_else(|error| panic!("{error}: {told:?}"));
    document["events"].clone()
}

/// The kinds of news that are polled for.
fn events_coverage(serve: &Serve<'_>) -> f64 {
    serve.metric("portledger_coverage{scope=\"events\"}").unwrap()
}

#[test]
fn where_all_is_told_doctor_and_serve_say_so() {
    let Some(host) = Host::new() else { return };
    let serve = host.serve();
    if !serve.follows_events() {
        return;
    }
    assert_eq!(events_coverage(&serve), 1.0);
    let gaps = serve.json("/api/v1/listeners")["gaps"].clone();
    assert!(gaps.as_array().unwrap().iter().all(|gap| gap["scope"] != "events"), "{gaps:#}");
    let events = doctor(host.portledger(&["doctor"]));
    assert_eq!(events["source"], "bpf", "{events:#}");
    assert!(events["hooks"].as_array().unwrap().iter().all(|hook| hook["refused"].is_null()), "{events:#}");
}

#[test]
fn a_kernel_without_btf_is_listened_to_by_perf() {
    let Some(host) = Host::new() else { return };
    host.hides_btf();
    host.learn();
    let events = doctor(host.portledger(&["doctor"]));
    let refused = events["hooks"][0]["refused"].as_str().unwrap_or_default().to_owned();
    assert!(refused.contains("/sys/kernel/btf/vmlinux"), "{events:#}");
    let serve = host.serve();
    assert_eq!(events["source"], serve.source(), "{events:#}");
    assert!(["perf", "polls"].contains(&serve.source()));
    assert_eq!(events_coverage(&serve), 0.0);
    let document = serve.json("/api/v1/listeners");
    let gap = document["gaps"].as_array().unwrap().iter().find(|gap| gap["scope"] == "events");
    let reason = gap.expect("what is polled for is a gap")["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("UDP sockets") && reason.contains(&refused), "{reason}");
    if serve.source() == "perf" {
        let Some(other) = Host::new() else { return };
        other.listen("tcp 0.0.0.0:8081").for_a_moment_by("theirs");
        let pid = host.listen("tcp 0.0.0.0:8080").for_a_moment_by("mayfly");
        eventually("it is gone", || serve.drifts().find(8080).filter(|row| *row.get("state") == "gone"));
        let open = eventually("its opening is logged", || serve.logged("open", 8080).pop());
        // Of a process that is gone perf has told no more than a pid, which another one may have by now.
        let is_named = open.pids() == [u64::from(pid)];
        assert!(is_named || *open.get("unattributed") == "exited", "{open:?}");
        assert!(serve.logged("open", 8081).is_empty(), "another host's: {}", serve.log());
    }
}

/// What root may do in a container, unless somebody allows it more.
const OF_CONTAINERS: &str = "--bounding-set=-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,\
    +net_bind_service,+net_raw,+sys_chroot,+mknod,+audit_write,+setfcap";

#[test]
fn without_the_capabilities_for_more_it_polls_and_says_so() {
    let Some(host) = Host::new() else { return };
    let bare = |verb: &str| {
        let mut command = host.command("setpriv");
        command.args(["--inh-caps=-all", OF_CONTAINERS, "--"]);
        let whole = host.portledger(&[verb]);
        let ours: Vec<_> = whole.get_args().collect();
        let program = ours.iter().position(|word| *word == env!("CARGO_BIN_EXE_portledger")).unwrap();
        command.args(&ours[program..]);
        command
    };
    let events = doctor(bare("doctor"));
    assert_eq!(events["source"], "polls", "{events:#}");
    let hooks = events["hooks"].as_array().unwrap();
    assert!(!hooks.is_empty() && hooks.iter().all(|hook| hook["refused"].is_string()), "{events:#}");
    let serve = Serve::run(&host, bare("serve"));
    assert_eq!(serve.source(), "polls");
    assert_eq!(events_coverage(&serve), 0.0);
    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    eventually("it is found", || serve.listeners_on(8080).pop());
}

/// What stands in /proc/PID/fdinfo of the descriptors that are links to BPF programs.
fn links(pid: u32) -> Vec<String> {
    let infos = fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap();
    let infos = infos.filter_map(|info| fs::read_to_string(info.ok()?.path()).ok());
    infos.filter(|info| info.contains("link_id:")).collect()
}

fn field<'a>(info: &'a str, name: &str) -> &'a str {
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {info}")).trim()
}

fn bpftool(arguments: &[&str]) -> bool {
    let output = std::process::Command::new("bpftool").args(arguments).output().unwrap();
    output.status.success()
}

#[test]
fn loading_leaves_no_trace() {
    if !installed(&["bpftool"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let mut serve = host.serve();
    if !serve.follows_events() {
        return;
    }
    let sensor = serve.sensor();
    // Less what is mapped of the file itself, which is large in a test build.
    let kib = |field: &str| status(sensor, field).trim_end_matches(" kB").parse::<u64>().unwrap();
    let peak = kib("VmHWM") - kib("RssFile");
    assert!(peak < 12 << 10, "{peak} kB: did the sensor load the programs by itself?");
    assert!(serve.child("loader").is_none());
    let programs: Vec<String> = links(sensor).iter().map(|info| field(info, "prog_id").to_owned()).collect();
    assert!(programs.len() > 3, "{programs:?}");
    assert!(programs.iter().all(|id| bpftool(&["prog", "show", "id", id])));
    serve.running.signal(rustix::process::Signal::TERM);
    assert_eq!(serve.running.ends_with(), Some(0));
    eventually("the programs are gone", || {
        programs.iter().all(|id| !bpftool(&["prog", "show", "id", id])).then_some(())
    });
}

#[test]
fn what_somebody_detached_is_attached_again() {
    if !installed(&["bpftool"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    host.write("etc/portledger.toml", "[sensor]\nreconcile = \"1s\"\n");
    let serve = host.serve();
    if !serve.follows_events() {
        return;
    }
    let sensor = serve.sensor();
    let links = links(sensor);
    let link = links.iter().find(|info| field(info, "link_type") == "cgroup").expect("a cgroup's link");
    assert!(bpftool(&["link", "detach", "id", field(link, "link_id")]));
    eventually("there is another sensor", || {
        serve
            .child("sensor")
            .filter(|pid| *pid != sensor && Path::new("/proc").join(pid.to_string()).exists())
    });
    assert!(serve.log().contains("was detached by somebody else"), "{}", serve.log());
    eventually("events are told again", || {
        host.listen("udp 0.0.0.0:5353").for_a_moment_by("mayfly");
        serve.logged("close", 5353).pop()
    });
    assert_eq!(serve.source(), "bpf");
}

/// How many reads the sensor has called: a look makes hundreds, what the kernel tells stands in memory.
fn reads(sensor: u32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{sensor}/io")).unwrap();
    field(&io, "syscr").parse().unwrap()
}

#[test]
fn idle_means_idle() {
    let Some(host) = Host::new() else { return };
    let _sshd = host.listen("tcp 0.0.0.0:22; udp 0.0.0.0:5353").by("sshd");
    let serve = host.serve();
    if !serve.follows_events() {
        return;
    }
    serve.settles();
    let sensor = serve.sensor();
    let looked = || serve.metric("portledger_reconcile_last_success_timestamp_seconds").unwrap();
    // What has just started is looked at again a few times.
    within(Duration::from_secs(60), "five seconds without a look, and without any read", || {
        let before = (reads(sensor), looked());
        std::thread::sleep(Duration::from_secs(5));
        ((reads(sensor), looked()) == before).then_some(())
    });
    let before = reads(sensor);
    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    eventually("it is told", || serve.logged("open", 8080).pop());
    assert!(reads(sensor) > before, "reads are not counted");
}
