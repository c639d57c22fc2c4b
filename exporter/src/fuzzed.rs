//! What strangers write and this crate reads, each as a function of bytes that panics where something does not hold.
#![allow(clippy::expect_used)]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use baseline::{Host, HostInventory, Policy, Trust, assess};
use inventory::frame::{Assembler, VERSION, decode};
use inventory::{RawText, is_seen};
use jiff::tz::TimeZone;
use serde::Serialize;

pub use crate::http::fuzzed as requests;
use crate::snapshot::SensorStatus;
pub use crate::web_config::fuzzed as web_config;
use crate::{
    Follower, Listed, daemon, dismissals, gaps_document, history, http, listeners_document, matched, outbox,
    read_listeners, witnessed_document,
};

/// Every input by the name of its target.
#[cfg(test)]
const ALL: &[short::Input] = &[
    ("exporter_passes", passes),
    ("exporter_inventories", inventories),
    ("exporter_web_config", web_config),
    ("exporter_records", records),
    ("exporter_requests", requests),
    ("exporter_connections", connections),
];

/// All that a client sends over a connection, and how: the first two bytes say who may read what, whether it is HTTP/2, in
/// pieces of what length it comes, and whether the client is slow, reads and hangs up.
pub fn connections(bytes: &[u8]) {
    http::connections(bytes);
}

/// What a frame of a sensor that lies holds: followed, judged, and told in documents that are harmless.
pub fn passes(content: &[u8]) {
    let Ok(length) = u32::try_from(content.len()) else { return };
    let packet = [b"PLGR", &[VERSION, 0, 0, 0][..], &length.to_be_bytes(), content].concat();
    let (mut assembler, mut status) = (Assembler::default(), SensorStatus::default());
    let mut follower = Follower::new(policy(&Host::default()));
    // A sensor that says the same twice.
    for _ in 0..2 {
        if let Err(broken) = follower.take(&packet) {
            harmless(&broken.to_string());
        }
        let messages = decode(&packet).into_iter().flatten().map_while(Result::ok);
        for pass in messages.filter_map(|message| assembler.take(message).ok().flatten()) {
            status.note(&pass, pass.taken_at);
        }
        let Some(news) = follower.news(now()) else { continue };
        assert!(news.happened.len() <= 2 * content.len());
        for witnessed in &news.happened {
            harmless(&written(witnessed_document(witnessed)));
        }
    }
    let Some((inventory, assessment, accounts)) = follower.present() else { return };
    assert_eq!(assessment.service_of.len(), inventory.listeners.len());
    harmless(&written(gaps_document(&inventory.coverage)));
    let host = Host { name: RawText::from("web"), ..Host::default() };
    let listed = Listed {
        inventory,
        assessment,
        register: None,
        accounts,
        host: &host,
        lost: None,
        filtered: false,
        command_lines: true,
    };
    let document = written(listeners_document(listed));
    harmless(&document);
    let read = read_listeners(document.as_bytes()).expect("what was told can be read");
    assert_eq!(read.inventory.listeners.len(), inventory.listeners.len());
}

/// What `list --format json` may have printed elsewhere: what is read is judged and told anew, and read the same.
pub fn inventories(bytes: &[u8]) {
    let read = match read_listeners(bytes) {
        Ok(read) => read,
        Err(wrong) => return harmless(&wrong.to_string()),
    };
    assert!(read.inventory.listeners.len() <= bytes.len());
    let told = told(&read);
    let mut again = read_listeners(told.as_bytes()).expect("what was told can be read");
    for (again, read) in again.inventory.coverage.gaps.iter_mut().zip(&read.inventory.coverage.gaps) {
        // Of which namespace a gap is, its kind and name tell.
        if let (Some(again), Some(read)) = (&mut again.netns, &read.netns) {
            again.id = read.id;
        }
    }
    assert_eq!(again.inventory, read.inventory);
    assert_eq!(again.host, read.host);
}

/// A record of a log, and files of the state folder. What goes out of a record is one message, whatever stands in it.
pub fn records(bytes: &[u8]) {
    outbox::fuzzed(bytes);
    dismissals::fuzzed(bytes);
    daemon::fuzzed(bytes);
    history::fuzzed(bytes);
    matched::fuzzed(bytes);
}

fn told(whole: &HostInventory) -> String {
    let HostInventory { host, inventory, accounts } = whole;
    let assessment = assess(inventory, &policy(host), accounts, now());
    let lost = None;
    let listed = Listed {
        inventory,
        assessment: &assessment,
        register: None,
        accounts,
        host,
        lost,
        filtered: false,
        command_lines: true,
    };
    written(listeners_document(listed))
}

fn policy(host: &Host) -> Policy {
    Policy::new(None, host.clone(), Arc::new(Trust::in_everybody(TimeZone::UTC)))
}

/// 2026-11-21T09:00:00Z.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_251_600)
}

fn written(document: impl Serialize) -> String {
    serde_json::to_string(&document).expect("a document can be written")
}

fn harmless(text: &str) {
    assert!(text.chars().all(|one| one == '\n' || is_seen(one)), "{text:?} would be obeyed");
}

#[cfg(test)]
#[path = "../../fuzz/short.rs"]
mod short;

#[test]
fn what_strangers_write_is_survived() {
    short::run(ALL, 1_000);
}
