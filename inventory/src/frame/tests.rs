use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use proptest::prelude::{Strategy, any, proptest};

use super::*;
use crate::*;

const CLOSING: Closing = Closing {
    took: Duration::from_millis(3),
    lost: 0,
    discrepancies: Discrepancies { unannounced: 0, lingering: 0, altered: 0 },
};

fn holder(pid: u32) -> Arc<Holder> {
    Arc::new(Holder {
        id: ProcessId { pid, start_ticks: 7 },
        started_at: SystemTime::UNIX_EPOCH,
        program: None,
        name: RawText::from("a\nb"),
        arguments: vec![RawText::new(*b"\xff")],
        uid: 0,
        workload: Workload::None,
        parents: Vec::new(),
    })
}

fn listener(cookie: u64, holders: &[Arc<Holder>]) -> Listener {
    let id = NetNsId::Cookie(1);
    Listener {
        id: SocketId { netns: id, cookie, inode: cookie + 100 },
        endpoint: Endpoint {
            protocol: Protocol::Tcp,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 80,
            device: None,
        },
        netns: NetNs::host(id),
        uid: 0,
        ipv6_only: Some(false),
        reuse_port: None,
        backlog: Some(128),
        holders: Holders::Known(holders.to_vec()),
        reach: Reach::Loopback,
        port_choice: PortChoice::Unknown { ephemeral: false },
        peer: None,
        published: Vec::new(),
        since: None,
    }
}

fn inventory(listeners: Vec<Listener>) -> Inventory {
    let all = Share { seen: 1, of: 1 };
    let shares = Shares { sockets: all, holders: all, namespaces: all, addresses: all, events: all };
    let coverage = Coverage { gaps: Vec::new(), shares, events: EventSource::Polls };
    let listeners = listeners.into_iter().map(Arc::new).collect();
    Inventory { host: RawText::from("web"), taken_at: SystemTime::UNIX_EPOCH, listeners, coverage }
}

/// Sends messages through bytes and back.
fn deliver(
    assembler: &mut Assembler,
    messages: impl Iterator<Item = Message>,
) -> Result<Option<Pass>, BrokenPass> {
    let mut last = Ok(None);
    for message in messages {
        last = assembler.take(only(&encode(&message).unwrap()).unwrap());
        if last.is_err() {
            break;
        }
    }
    last
}

/// The message of a frame that holds one.
fn only(frame: &[u8]) -> Result<Message, BrokenFrame> {
    let mut messages = decode(frame)?;
    let message = messages.next().unwrap();
    assert!(messages.next().is_none());
    message
}

fn gap(reason: &[u8]) -> Message {
    Message::Gap(Gap {
        collector: "sock_diag".to_owned(),
        scope: Scope::Sockets,
        protocol: None,
        netns: None,
        reason: RawText::new(reason),
    })
}

fn told(pass: &Pass) -> Vec<String> {
    let word = |happening: &Happening| match happening {
        Happening::Opened(listener) => format!("opened {}", listener.id.cookie),
        Happening::Changed { after, .. } => format!("changed {}", after.id.cookie),
        Happening::Closed { listener, .. } => format!("closed {}", listener.id.cookie),
    };
    pass.happened.iter().map(word).collect()
}

#[test]
fn an_inventory_arrives_as_it_was_sent_and_holders_stay_shared() {
    let shared = holder(5);
    let sent = inventory(vec![listener(1, &[shared.clone(), holder(6)]), listener(2, &[shared])]);
    let mut assembler = Assembler::default();
    let pass = deliver(&mut assembler, messages_of_inventory(&sent, CLOSING)).unwrap().unwrap();
    let arrived = assembler.inventory().unwrap();
    assert_eq!(arrived, sent);
    assert!(pass.first && pass.happened.is_empty());
    let [first, second] = &arrived.listeners[..] else { panic!("two listeners") };
    assert!(Arc::ptr_eq(&first.holders.known()[0], &second.holders.known()[0]));
}

#[test]
fn changes_arrive_at_the_same_inventory() {
    let before = inventory(vec![listener(1, &[holder(5)]), listener(2, &[holder(5)])]);
    let after = inventory(vec![listener(2, &[holder(9)]), listener(3, &[holder(5)])]);
    let changes = Changes::between(&before.listeners, &after.listeners);
    let mut assembler = Assembler::default();
    deliver(&mut assembler, messages_of_inventory(&before, CLOSING)).unwrap();
    let pass = deliver(&mut assembler, messages_of_changes(&changes, &after, CLOSING)).unwrap().unwrap();
    assert_eq!(assembler.inventory().unwrap(), after);
    assert_eq!(told(&pass), ["closed 1", "opened 3", "changed 2"]);
    assert!(!pass.first && !pass.covers_otherwise);
}

#[test]
fn a_sensor_that_died_in_the_middle_leaves_the_last_pass_in_force() {
    let before = inventory(vec![listener(1, &[holder(5)])]);
    let after = inventory(vec![listener(4, &[holder(5)])]);
    let mut assembler = Assembler::default();
    deliver(&mut assembler, messages_of_inventory(&before, CLOSING)).unwrap();
    let torn = messages_of_inventory(&after, CLOSING).take(2);
    assert_eq!(deliver(&mut assembler, torn), Ok(None));
    let pass = deliver(&mut assembler, messages_of_inventory(&after, CLOSING)).unwrap().unwrap();
    assert_eq!(told(&pass), ["closed 1", "opened 4"]);
}

/// Its keeper has to wait for room and may tell of a restart when the next sensor tells already.
#[test]
fn a_restart_may_be_told_in_the_middle_of_a_pass() {
    let now = inventory(vec![listener(1, &[holder(5)])]);
    let mut messages: Vec<_> = messages_of_inventory(&now, CLOSING).collect();
    messages.insert(2, Message::StartedAgain(1));
    let mut assembler = Assembler::default();
    deliver(&mut assembler, messages.into_iter()).unwrap().unwrap();
    assert_eq!(assembler.inventory(), Some(now));
}

#[test]
fn changes_without_what_they_change_are_refused() {
    let now = inventory(vec![]);
    let none = Changes::default();
    let sent = messages_of_changes(&none, &now, CLOSING);
    assert_eq!(deliver(&mut Assembler::default(), sent), Err(BrokenPass::NoBase));
}

#[test]
fn a_count_that_does_not_agree_asks_for_a_whole_pass() {
    let mut assembler = Assembler::default();
    let sent = inventory(vec![listener(1, &[holder(5)])]);
    let lossy =
        messages_of_inventory(&sent, CLOSING).filter(|message| !matches!(message, Message::Opened(_)));
    assert_eq!(deliver(&mut assembler, lossy), Err(BrokenPass::Count { told: 1, have: 0 }));
    let none = Changes::default();
    let changes = messages_of_changes(&none, &sent, CLOSING);
    assert_eq!(deliver(&mut assembler, changes), Err(BrokenPass::NoBase));
}

#[test]
fn a_holder_that_was_not_told_is_refused() {
    let sent = inventory(vec![listener(1, &[holder(5)])]);
    let lossy =
        messages_of_inventory(&sent, CLOSING).filter(|message| !matches!(message, Message::Holder(_)));
    assert_eq!(deliver(&mut Assembler::default(), lossy), Err(BrokenPass::Holder(0)));
}

#[test]
fn each_broken_frame_is_named() {
    let good = encode(&gap(b"no")).unwrap();
    let broken = |frame: &[u8]| match decode(frame) {
        Ok(mut messages) => messages.find_map(Result::err),
        Err(broken) => Some(broken),
    };
    let changed = |at: usize, byte: u8| {
        let mut frame = good.clone();
        frame[at] = byte;
        broken(&frame)
    };
    assert_eq!(broken(&good[..5]), Some(BrokenFrame::Short(5)));
    assert_eq!(changed(0, b'x'), Some(BrokenFrame::Magic));
    assert_eq!(changed(4, 9), Some(BrokenFrame::Version(9)));
    assert!(matches!(broken(&good[..good.len() - 1]), Some(BrokenFrame::Length { .. })));
    assert!(matches!(changed(12, 99), Some(BrokenFrame::Content(_))));
    assert_eq!(broken(&vec![0; MAX_FRAME + 1]), Some(BrokenFrame::TooLarge(MAX_FRAME + 1)));
}

/// The frames that these messages make, and those that find no room in any.
fn pack(messages: &[Message]) -> (Vec<Vec<u8>>, Vec<BrokenFrame>) {
    let (mut frames, mut broken) = (Vec::new(), Vec::new());
    let mut packer = Packer::default();
    for message in messages {
        match packer.add(message) {
            Ok(frame) => frames.extend(frame),
            Err(error) => broken.push(error),
        }
    }
    frames.extend(packer.finish());
    (frames, broken)
}

#[test]
fn messages_come_out_of_frames_as_they_went_in() {
    // What is longer than a frame should be stands alone.
    let sent = [10, FULL / 2, FULL / 2, 20, FULL + 1, 30, 40].map(|length| gap(&vec![b'x'; length]));
    let (frames, broken) = pack(&sent);
    assert_eq!(broken, []);
    let got: Vec<Vec<Message>> =
        frames.iter().map(|frame| decode(frame).unwrap().map(Result::unwrap).collect()).collect();
    assert_eq!(got.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1, 2]);
    assert_eq!(got.concat(), sent);
    assert_eq!(pack(&[]), (vec![], vec![]));
}

#[test]
fn what_no_frame_holds_leaves_the_others_whole() {
    let sent = [gap(b"one"), gap(&vec![b'x'; MAX_FRAME]), gap(b"two")];
    let (frames, broken) = pack(&sent);
    assert!(matches!(broken[..], [BrokenFrame::TooLarge(_)]));
    let got: Vec<Message> =
        frames.iter().flat_map(|frame| decode(frame).unwrap().map(Result::unwrap)).collect();
    assert_eq!(got, [gap(b"one"), gap(b"two")]);
}

#[test]
fn what_opens_and_closes_in_one_batch_is_told_once_each() {
    let now = inventory(vec![listener(1, &[holder(5)])]);
    let mut assembler = Assembler::default();
    deliver(&mut assembler, messages_of_inventory(&now, CLOSING)).unwrap();
    let short = listener(2, &[holder(6)]);
    let at = SystemTime::UNIX_EPOCH;
    let events = [
        Event::Opened(short.clone()),
        Event::Opened(short.clone()),
        Event::Changed(listener(2, &[holder(7)])),
        Event::Closed(short.id, at),
        Event::Closed(short.id, at),
    ];
    let pass = deliver(&mut assembler, messages_of_events(&events, &now, CLOSING)).unwrap().unwrap();
    assert_eq!(told(&pass), ["opened 2", "changed 2", "closed 2"]);
    let Some(Happening::Closed { listener: last, .. }) = pass.happened.last() else { panic!("closed") };
    assert_eq!(last.holders.known()[0].id.pid, 7, "as it was last known");
    assert_eq!(assembler.inventory().unwrap(), now);
}

#[test]
fn a_batch_that_does_not_arrive_where_it_should_changes_nothing() {
    let now = inventory(vec![listener(1, &[holder(5)]), listener(2, &[holder(5)])]);
    let mut assembler = Assembler::default();
    deliver(&mut assembler, messages_of_inventory(&now, CLOSING)).unwrap();
    let events = [
        Event::Opened(listener(3, &[holder(6)])),
        Event::Changed(listener(1, &[holder(7)])),
        Event::Closed(listener(2, &[]).id, SystemTime::UNIX_EPOCH),
        Event::Closed(listener(3, &[]).id, SystemTime::UNIX_EPOCH),
    ];
    let broken = deliver(&mut assembler, messages_of_events(&events, &now, CLOSING));
    assert_eq!(broken, Err(BrokenPass::Count { told: 2, have: 1 }));
    assert_eq!(assembler.inventory().unwrap(), now);
    let pass = deliver(&mut assembler, messages_of_inventory(&now, CLOSING)).unwrap().unwrap();
    assert_eq!(told(&pass), [""; 0], "the whole look finds all as it was");
}

#[test]
fn events_leave_the_gaps_of_the_look_in_force() {
    let mut now = inventory(vec![]);
    let (collector, reason) = ("procfs".to_owned(), RawText::from("no"));
    now.coverage.gaps.push(Gap { collector, scope: Scope::Holders, protocol: None, netns: None, reason });
    let mut assembler = Assembler::default();
    deliver(&mut assembler, messages_of_inventory(&now, CLOSING)).unwrap();
    let heartbeat = deliver(&mut assembler, messages_of_events(&[], &now, CLOSING)).unwrap().unwrap();
    assert!(!heartbeat.covers_otherwise && heartbeat.happened.is_empty());
    assert_eq!(assembler.inventory().unwrap(), now);
    now.coverage.events = EventSource::Bpf;
    assert!(
        deliver(&mut assembler, messages_of_events(&[], &now, CLOSING)).unwrap().unwrap().covers_otherwise
    );
}

/// Opens, closes and changes of a few sockets, in any order, also such as make no sense.
fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = (1_u64..6, 1_u32..4, 0_u8..3).prop_map(|(cookie, pid, what)| match what {
        0 => Event::Opened(listener(cookie, &[holder(pid)])),
        1 => Event::Changed(listener(cookie, &[holder(pid)])),
        _ => Event::Closed(listener(cookie, &[]).id, SystemTime::UNIX_EPOCH),
    });
    proptest::collection::vec(event, 0..24)
}

proptest! {
    #[test]
    fn it_matters_not_in_which_batches_events_come(events in events(), cuts in proptest::collection::vec(0_usize..24, 0..6)) {
        let start = inventory(vec![listener(1, &[holder(1)])]);
        let mut expected: std::collections::BTreeMap<SocketId, Listener> =
            start.listeners.iter().map(|listener| (listener.id, Listener::clone(listener))).collect();
        let mut assembler = Assembler::default();
        deliver(&mut assembler, messages_of_inventory(&start, CLOSING)).unwrap();
        let mut happened = Vec::new();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(events.len())).collect();
        cuts.extend([0, events.len()]);
        cuts.sort_unstable();
        for (from, to) in cuts.iter().zip(&cuts[1..]) {
            for event in &events[*from..*to] {
                match event {
                    Event::Opened(listener) | Event::Changed(listener) => drop(expected.insert(listener.id, listener.clone())),
                    Event::Closed(id, _) => drop(expected.remove(id)),
                }
            }
            let now = inventory(expected.values().cloned().collect());
            let messages = messages_of_events(&events[*from..*to], &now, CLOSING);
            happened.extend(deliver(&mut assembler, messages).unwrap().unwrap().happened);
            proptest::prop_assert_eq!(assembler.inventory().unwrap(), now);
        }
        let opened = happened.iter().filter(|happening| matches!(happening, Happening::Opened(_))).count();
        let closed = happened.iter().filter(|happening| matches!(happening, Happening::Closed { .. })).count();
        proptest::prop_assert_eq!(start.listeners.len() + opened - closed, expected.len(), "each once");
    }

    #[test]
    fn no_bytes_make_the_reader_panic(content in any::<Vec<u8>>()) {
        let mut frame = [&MAGIC[..], &[VERSION, 0, 0, 0]].concat();
        frame.extend(u32::try_from(content.len()).unwrap().to_be_bytes());
        frame.extend(content);
        let first = decode(&frame).unwrap().map_while(Result::ok).next();
        if let Some(message) = first {
            let outside_a_pass = matches!(message, Message::Begin { .. } | Message::StartedAgain(_));
            assert!(Assembler::default().take(message).is_err() || outside_a_pass);
        }
    }
    /// From a sensor that lies: whole messages in any order, cut and changed anywhere.
    #[test]
    fn no_lies_break_what_comes_after(
        order in proptest::collection::vec(0_usize..12, 0..24),
        flips in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let whole = inventory(vec![listener(1, &[holder(1)]), listener(2, &[holder(1), holder(2)])]);
        let honest: Vec<Message> = messages_of_inventory(&whole, CLOSING)
            .chain(messages_of_events(&[Event::Closed(listener(1, &[]).id, whole.taken_at)], &whole, CLOSING))
            .collect();
        let mut assembler = Assembler::default();
        for place in order {
            let mut frame = encode(&honest[place % honest.len()]).unwrap();
            for (at, with) in &flips {
                let at = at.index(frame.len());
                frame[at] ^= with;
            }
            for message in decode(&frame).into_iter().flatten().map_while(Result::ok) {
                drop(assembler.take(message));
            }
        }
        deliver(&mut assembler, messages_of_inventory(&whole, CLOSING)).unwrap();
        proptest::prop_assert_eq!(assembler.inventory().unwrap(), whole);
    }
}

/// Each is small, and each names as many holders as a frame has room for.
#[test]
fn a_sensor_that_lies_fills_no_memory() {
    let honest = inventory(vec![listener(1, &[holder(1)])]);
    let mut assembler = Assembler::default();
    deliver(&mut assembler, messages_of_inventory(&honest, CLOSING)).unwrap();
    let mut messages = messages_of_inventory(&honest, CLOSING);
    for _ in 0..2 {
        assembler.take(messages.next().unwrap()).unwrap();
    }
    let many = |id| {
        let one = listener(id, &[]);
        one.with_holders(crate::Holders::Known(vec![0_u32; 100_000]))
    };
    let refused = (2..).find_map(|id| assembler.take(Message::Opened(many(id))).err());
    assert_eq!(refused, Some(BrokenPass::TooMany(64 << 20, "bytes")));
    assert_eq!(assembler.inventory().unwrap(), honest, "what was known stays");
    // Pass by pass, each within its bound.
    deliver(&mut assembler, messages_of_inventory(&honest, CLOSING)).unwrap();
    let large = |id| {
        let large = Holder {
            name: RawText::new(vec![b'x'; 100_000]),
            ..Holder::clone(&holder(u32::try_from(id).unwrap()))
        };
        listener(id, &[Arc::new(large)])
    };
    let mut now = honest.clone();
    let refused = (2..4_000).find_map(|id| {
        let opened = Event::Opened(large(id));
        now.listeners.push(large(id).into());
        deliver(&mut assembler, messages_of_events(&[opened], &now, CLOSING)).err()
    });
    assert_eq!(refused, Some(BrokenPass::TooMany(128 << 20, "bytes")));
}

/// The first look of the next sensor says what nobody saw, and the one after does not.
#[test]
fn another_sensor_is_told_apart() {
    let seen = inventory(vec![listener(1, &[holder(1)])]);
    let mut assembler = Assembler::default();
    deliver(&mut assembler, messages_of_inventory(&seen, CLOSING)).unwrap();
    assembler.resume();
    let events = messages_of_events(&[], &seen, CLOSING);
    assert_eq!(deliver(&mut assembler, events), Err(BrokenPass::NoBase), "it has not said what it builds on");
    let pass = deliver(&mut assembler, messages_of_inventory(&seen, CLOSING)).unwrap().unwrap();
    assert!(pass.happened.is_empty() && pass.covers_otherwise);
    let coverage = assembler.inventory().unwrap().coverage;
    assert!(coverage.gaps.contains(&crate::Gap::of_restart()) && coverage.shares.events.seen == 0);
    deliver(&mut assembler, messages_of_inventory(&seen, CLOSING)).unwrap();
    assert_eq!(assembler.inventory().unwrap(), seen);
}
