use std::process::Stdio;

use super::child;

fn report(role: &str) -> String {
    let above = child::passable_folder();
    let state = above.path().join("state");
    let output = child::start(role, &state, Stdio::null(), 0).wait_with_output().unwrap();
    assert!(output.status.success(), "{role}: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn field<'a>(report: &'a str, name: &str) -> Vec<&'a str> {
    let line = report.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').split_whitespace().collect()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub(crate) fn drops_for_good() {
    if !is_root() {
        return eprintln!("SKIP drops_for_good: there is nothing to give up without root");
    }
    let report = report("drop");
    let chosen = field(&report, "Chosen");
    let (uid, gid) = (chosen[0], chosen[1]);
    assert!(uid != "0" && uid != "65534" && gid != "0", "{uid} {gid}");
    assert_eq!(field(&report, "Uid"), [uid; 4]);
    assert_eq!(field(&report, "Gid"), [gid; 4]);
    assert_eq!(field(&report, "Groups"), [""; 0]);
    assert_eq!(field(&report, "NoNewPrivs"), ["1"]);
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(&report, set), ["0000000000000000"], "{set}");
    }
    if chosen[2] == "Dynamic" {
        assert!((61_184..=65_519).contains(&uid.parse::<u32>().unwrap()), "{uid}");
    }
}

pub(crate) fn stays_as_it_is_without_root() {
    if is_root() {
        return eprintln!("SKIP stays_as_it_is_without_root: this is root");
    }
    let report = report("drop");
    let own = rustix::process::geteuid().as_raw().to_string();
    assert_eq!(field(&report, "Uid"), [own.as_str(); 4]);
    assert_eq!(field(&report, "CapEff"), ["0000000000000000"]);
}

pub(crate) fn refuses_to_drop_with_two_threads() {
    assert!(report("drop_in_two_threads").contains("2 threads run already"));
}

pub(crate) fn takes_a_folder_that_root_prepared() {
    if !is_root() {
        return eprintln!("SKIP takes_a_folder_that_root_prepared: this is not root");
    }
    assert_eq!(report("drop_and_find_it_prepared"), "Started\n");
}
