use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use inventory::frame::{self, BrokenFrame, Closing, Message, messages_of_changes, messages_of_inventory};
use inventory::{Changes, Gap, Inventory, RawText, Scope};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use crate::Sensor;

/// Nothing comes back by which a reader that is out of step could ask: everything is told again so often.
const WHOLE_EVERY: Duration = Duration::from_secs(60);
/// How long a reader that takes nothing holds up the next look.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long one that takes a little now and then does.
const MOST_PATIENCE: Duration = Duration::from_secs(30);

/// Why the sensor ended although somebody may still read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum RunError {
    #[error("a frame could not be sent: {0}")]
    Send(#[from] Errno),
}

/// What became of a pass that was told.
enum Told {
    Whole,
    /// The reader took only a part of it: it has to be told everything at the next pass.
    Torn,
    NobodyReads,
}

/// Looks at the interval and tells each pass to `output`, a packet socket, until nobody reads there. A reader that
/// hangs delays nothing but what it reads: passes that it does not take are left out, and what listens when it takes
/// frames again is told whole.
pub fn run(mut sensor: Sensor, interval: Duration, output: &impl AsFd) -> Result<(), RunError> {
    let mut known: Option<Inventory> = None;
    let mut told_whole = Instant::now();
    loop {
        let began = Instant::now();
        let now = sensor.pass();
        let closing = Closing { took: began.elapsed(), ..Closing::default() };
        if began.saturating_duration_since(told_whole) >= WHOLE_EVERY {
            known = None;
        }
        let told = match &known {
            Some(before) => {
                let changes = Changes::between(&before.listeners, &now.listeners);
                tell(output, messages_of_changes(&changes, &now, closing))?
            }
            None => {
                told_whole = began;
                tell(output, messages_of_inventory(&now, closing))?
            }
        };
        known = match told {
            Told::Whole => Some(now),
            Told::Torn => None,
            Told::NobodyReads => return Ok(()),
        };
        if !somebody_reads(output, interval.saturating_sub(began.elapsed()))? {
            return Ok(());
        }
    }
}

fn tell(output: &impl AsFd, messages: impl Iterator<Item = Message>) -> Result<Told, Errno> {
    let end = Instant::now() + MOST_PATIENCE;
    for message in messages {
        let frame = match frame::encode(&message) {
            Ok(frame) => frame,
            Err(error) => match smaller(message, &error) {
                Some(frame) => frame,
                None => return Ok(Told::Torn),
            },
        };
        match send_packet(output, &frame, end.min(Instant::now() + PATIENCE))? {
            Told::Whole => {}
            other => return Ok(other),
        }
    }
    Ok(Told::Whole)
}

/// A message that no frame holds is said to be missing, where it is one that may be.
fn smaller(message: Message, error: &BrokenFrame) -> Option<Vec<u8>> {
    let Message::Gap(gap) = message else {
        tracing::error!("what does not fit a frame cannot be told: {error}");
        return None;
    };
    let reason = RawText::from("a gap whose reason does not fit a frame");
    frame::encode(&Message::Gap(Gap { scope: Scope::Sockets, reason, ..gap })).ok()
}

fn send_packet(output: &impl AsFd, packet: &[u8], deadline: Instant) -> Result<Told, Errno> {
    loop {
        match send(output, packet, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(Told::Whole),
            Err(Errno::PIPE | Errno::CONNRESET) => return Ok(Told::NobodyReads),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Ok(Told::Torn);
                }
                wait(output, PollFlags::OUT, left)?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Sleeps for so long, unless the other end is closed before.
fn somebody_reads(output: &impl AsFd, rest: Duration) -> Result<bool, Errno> {
    let deadline = Instant::now() + rest;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if wait(output, PollFlags::empty(), left)?.intersects(PollFlags::HUP | PollFlags::ERR) {
            return Ok(false);
        }
        if left.is_zero() {
            return Ok(true);
        }
    }
}

fn wait(output: &impl AsFd, for_what: PollFlags, at_most: Duration) -> Result<PollFlags, Errno> {
    let mut polled = [PollFd::new(output, for_what)];
    let at_most = Timespec::try_from(at_most).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
    match poll(&mut polled, Some(&at_most)) {
        Ok(_) => Ok(polled[0].revents()),
        Err(Errno::INTR) => Ok(PollFlags::empty()),
        Err(error) => Err(error),
    }
}
