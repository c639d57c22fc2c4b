//! Events of the real kernel, followed.

mod holders;
mod opens;
mod storms;

use inventory::{Event, Listener};

use crate::testing::of;

/// The events of a namespace in short: `+ tcp/0.0.0.0:80`, `~` for a change, and `-` with the socket's cookie.
fn told(events: &[Event], netns: u64) -> Vec<String> {
    let listener = |sign: &str, listener: &Listener| format!("{sign} {}", listener.endpoint);
    let tell = |event: &&Event| match event {
        Event::Opened(opened) => listener("+", opened),
        Event::Changed(changed) => listener("~", changed),
        Event::Closed(id, _) => format!("- {}", id.cookie),
    };
    of(events, netns).iter().map(tell).collect()
}

fn opened(events: &[Event], cookie: u64) -> Option<&Listener> {
    events.iter().find_map(|event| match event {
        Event::Opened(listener) if listener.id.cookie == cookie => Some(listener),
        _ => None,
    })
}

fn is_closed(events: &[Event], cookie: u64) -> bool {
    events.iter().any(|event| matches!(event, Event::Closed(id, _) if id.cookie == cookie))
}

fn pids(listener: &Listener) -> Vec<u32> {
    listener.holders.known().iter().map(|holder| holder.id.pid).collect()
}
