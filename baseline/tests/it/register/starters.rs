//! Who started what drifts.

use inventory::{Parent, Session, Workload};

use super::*;
use crate::world::Process;

fn below(parents: &[(u32, &str)]) -> Process {
    let mut process = program("/usr/bin/nc");
    let parent = |(pid, name): &(u32, &str)| Parent {
        pid: *pid,
        name: RawText::from(*name),
        program: Some(RawText::from("/usr/bin/parent")),
    };
    process.0.parents = parents.iter().map(parent).collect();
    process
}

fn logged_in(mut process: Process) -> Process {
    let from = Some(RawText::from("203.0.113.7"));
    process.0.workload = Workload::Session(Session { id: RawText::from("3"), uid: 1000, from });
    process
}

fn listening(process: Process) -> Watched {
    let mut watched = Watched::new();
    watched.world.baseline("").listen("tcp/0.0.0.0:4444").by(process);
    assert_eq!(watched.look(), ["opened unapproved"]);
    watched
}

fn become_held_by(watched: &mut Watched, process: Process) {
    let mut now = World::new();
    now.listen("tcp/0.0.0.0:4444").by(process);
    watched.world.listeners[0].become_like(now.listeners.remove(0));
}

/// `bash[911] sshd[812]; 3 of 1000 from 203.0.113.7`.
fn told(watched: &Watched) -> Option<String> {
    let started_by = watched.register.drifts().next().unwrap().started_by()?;
    let parents = started_by.parents.iter().map(|parent| format!("{}[{}]", parent.name, parent.pid));
    let parents: Vec<String> = parents.collect();
    let session = started_by.session.as_ref().map(|session| {
        let from = session.from.as_ref().map(|from| format!(" from {from}")).unwrap_or_default();
        format!("; {} of {}{from}", session.id, session.uid)
    });
    Some(parents.join(" ") + &session.unwrap_or_default())
}

#[test]
fn stays_as_it_was_when_the_drift_was_first_seen() {
    const FIRST: &str = "bash[911] sshd[812]; 3 of 1000 from 203.0.113.7";
    let mut watched = listening(logged_in(below(&[(911, "bash"), (812, "sshd")])));
    assert_eq!(told(&watched).as_deref(), Some(FIRST));
    assert!(
        watched.register.drifts().all(|drift| drift.listeners()[0].holders.known()[0].parents.is_empty())
    );
    // Its parents ended.
    become_held_by(&mut watched, logged_in(below(&[])));
    assert_eq!(watched.after(1), [""; 0]);
    assert_eq!(told(&watched).as_deref(), Some(FIRST));
    watched.world.listeners.clear();
    assert_eq!(watched.after(1), ["gone unapproved"]);
    watched.world.listen("tcp/0.0.0.0:4444").by(logged_in(below(&[(7, "zsh")])));
    assert_eq!(watched.after(1), ["returned unapproved"]);
    assert_eq!(told(&watched).as_deref(), Some(FIRST));
    assert_eq!(told(&watched.restarted()).as_deref(), Some(FIRST));
}

#[test]
fn is_filled_in_where_the_first_look_could_not_tell() {
    let mut watched = listening(below(&[]));
    assert_eq!(told(&watched), None);
    become_held_by(&mut watched, below(&[(911, "bash")]));
    assert_eq!(watched.after(1), [""; 0]);
    assert_eq!(told(&watched).as_deref(), Some("bash[911]"));
}

#[test]
fn is_told_of_the_farthest_reaching_and_of_a_socket_that_came_and_went() {
    let mut watched = Watched::new();
    watched.world.baseline("");
    let mut passed = World::new();
    passed.baseline("");
    passed.listen("tcp/0.0.0.0:4444").by(below(&[(1000, "near")])).reach(Reach::Loopback);
    passed.listen("tcp/0.0.0.0:4444").by(below(&[(2000, "far")])).reach(Reach::Public);
    assert_eq!(watched.look_after(&passed), ["opened unapproved", "gone unapproved"]);
    assert_eq!(told(&watched).as_deref(), Some("far[2000]"));
}

#[test]
fn is_bounded() {
    let name = "n".repeat(500);
    let parents: Vec<(u32, &str)> = (2..40).map(|pid| (pid, name.as_str())).collect();
    let watched = listening(logged_in(below(&parents)));
    let drift = watched.register.drifts().next().unwrap();
    let started_by = drift.started_by().unwrap();
    assert_eq!(
        started_by.parents.iter().map(|parent| parent.pid).collect::<Vec<_>>(),
        (2..10).collect::<Vec<_>>()
    );
    assert!(started_by.parents.iter().all(|parent| parent.name.as_bytes().len() == 64));
}

#[test]
fn what_an_older_release_wrote_is_read() {
    let watched = listening(below(&[(911, "bash")]));
    let mut json = Vec::new();
    watched.register.write_json(WRITTEN, &mut json).unwrap();
    let mut written: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert!(written["drifts"][0].as_object_mut().unwrap().remove("started_by").is_some());
    let read = Register::from_json(&written.to_string()).unwrap();
    assert_eq!(read.drifts().next().unwrap().started_by(), None);
    assert_eq!(read.len(), 1);
}

#[test]
fn whoever_takes_a_socket_over_was_started_by_whom_it_was_taken_from() {
    let mut watched = listening(below(&[(911, "bash"), (812, "sshd")]));
    // A child of it executes another program, and what started it ends.
    become_held_by(&mut watched, program("/usr/bin/sleep"));
    assert_eq!(watched.after(1), ["gone unapproved", "opened unapproved"]);
    let starters = |watched: &Watched, program: &str| {
        let is_its = |drift: &&baseline::Drift| drift.finding.subject.programs[0] == RawText::from(program);
        let started_by = watched.register.drifts().find(is_its).unwrap().started_by()?;
        Some(started_by.parents.iter().map(|parent| parent.pid).collect::<Vec<_>>())
    };
    assert_eq!(starters(&watched, "/usr/bin/sleep"), Some(vec![911, 812]));

    watched.world.listen("tcp/0.0.0.0:4445").by(program("/usr/bin/socat"));
    assert_eq!(watched.after(1), ["opened unapproved"]);
    assert_eq!(starters(&watched, "/usr/bin/socat"), None, "another socket is another matter");
}
