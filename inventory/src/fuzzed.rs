//! What strangers write and this crate reads, each as a function of bytes that panics where something does not hold.
#![allow(clippy::expect_used)]

use crate::frame::{self, Assembler, Closing, Message};
use crate::{Holders, RawText};

/// Every input by the name of its target.
#[cfg(test)]
const ALL: &[short::Input] =
    &[("inventory_frames", frames), ("inventory_passes", passes), ("inventory_texts", texts)];

/// One packet of a sensor that lies. Whatever message comes out of it goes back into a frame, and comes out the same.
pub fn frames(packet: &[u8]) {
    let Ok(messages) = frame::decode(packet) else { return };
    let messages: Vec<Message> = messages.map_while(Result::ok).collect();
    assert!(messages.len() <= packet.len(), "a message takes a byte at least");
    for message in &messages {
        assert_eq!(only(&frame::encode(message).expect("it came in a frame")), *message);
    }
}

/// Messages of a sensor that lies, without their frames. What was put together is told anew, and arrives the same.
pub fn passes(content: &[u8]) {
    let mut assembler = Assembler::default();
    let told = frame::messages_in(content).map_while(Result::ok);
    for message in told {
        let pass = assembler.take(message);
        if let Ok(Some(pass)) = pass {
            assert!(pass.happened.len() <= content.len(), "what happened takes a byte at least");
        }
    }
    let Some(inventory) = assembler.inventory() else { return };
    assert!(inventory.listeners.len() <= content.len(), "a listener takes a byte at least");
    assert!(
        inventory.listeners.iter().all(|one| !matches!(&one.holders, Holders::Known(all) if all.is_empty()))
    );
    assert!(inventory.coverage.gaps.iter().all(|gap| gap.collector.chars().all(crate::is_seen)));
    let mut other = Assembler::default();
    for message in frame::messages_of_inventory(&inventory, Closing::default()) {
        other.take(message).expect("what is known can be told");
    }
    assert_eq!(other.inventory(), Some(inventory));
}

/// Bytes that somebody chose: their escape is harmless, and theirs alone.
pub fn texts(bytes: &[u8]) {
    let text = RawText::new(bytes);
    let escaped = text.escaped();
    assert!(escaped.chars().all(crate::is_seen), "{escaped:?} would be obeyed");
    assert!(escaped.len() <= 4 * bytes.len());
    assert_eq!(RawText::from_escaped(&escaped), Some(text));
    if let Ok(claimed) = str::from_utf8(bytes)
        && let Some(read) = RawText::from_escaped(claimed)
    {
        assert_eq!(read.escaped(), claimed);
    }
}

fn only(packet: &[u8]) -> Message {
    let mut messages = frame::decode(packet).expect("it was encoded");
    messages.next().expect("one was encoded").expect("it was encoded")
}

#[cfg(test)]
#[path = "../../fuzz/short.rs"]
mod short;

#[test]
fn what_strangers_write_is_survived() {
    short::run(ALL, 3_000);
}
