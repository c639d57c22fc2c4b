//! What is seen, told in frames to whoever reads them.

mod unheard;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use inventory::frame::{
    BrokenFrame, Closing, Message, Packer, messages_of_changes, messages_of_events, messages_of_inventory,
};
use inventory::{Changes, Event, Gap, Inventory, RawText, Scope};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use unheard::Unheard;

/// How long a reader that takes nothing holds up the next look.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long one that takes a little now and then does.
const MOST_PATIENCE: Duration = Duration::from_secs(30);

/// The sensor's end of a packet socket, where somebody reads. A reader that hangs delays nothing but what it reads: what it
/// does not take is left out, and when it takes frames again it is told everything.
#[derive(Debug)]
pub(crate) struct Telling {
    reader: Option<OwnedFd>,
    /// The reader has all that was told.
    in_step: bool,
    unheard: Unheard,
}

/// What became of what was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Whole,
    /// The reader took only a part of it, or has to be told everything before.
    Torn,
    NobodyReads,
}

impl Telling {
    /// To a reader who knows nothing yet, or to nobody until one comes.
    pub(crate) fn new(reader: Option<OwnedFd>) -> Self {
        Telling { reader, in_step: false, unheard: Unheard::default() }
    }

    /// The socket, which is readable only when its other end is closed.
    pub(crate) fn reader(&self) -> Option<BorrowedFd<'_>> {
        self.reader.as_ref().map(AsFd::as_fd)
    }

    /// A look: what differs from `before`, or everything.
    pub(crate) fn look(
        &mut self,
        before: Option<&Inventory>,
        now: &Inventory,
        closing: Closing,
    ) -> Result<Told, Errno> {
        if self.reader.is_none() {
            return Ok(Told::Whole);
        }
        let told = match before.filter(|_| self.in_step) {
            Some(before) => {
                let changes = Changes::between(&before.listeners, &now.listeners);
                self.send(messages_of_changes(&changes, now, closing))?
            }
            None => self.send(messages_of_inventory(now, closing))?,
        };
        self.in_step = told == Told::Whole;
        if self.in_step {
            self.unheard = Unheard::default();
        }
        Ok(told)
    }

    /// What happened since; `now` is what it arrives at.
    pub(crate) fn events(
        &mut self,
        events: &[Event],
        now: &Inventory,
        closing: Closing,
    ) -> Result<Told, Errno> {
        // Who comes later is told what is there then; nothing is lost to nobody.
        if self.reader.is_none() {
            return Ok(Told::Whole);
        }
        if !self.in_step {
            return Ok(Told::Torn);
        }
        let told = self.send(messages_of_events(events, now, closing))?;
        self.in_step = told == Told::Whole;
        Ok(told)
    }

    /// Events that were [`Told::Torn`]. Returns how many of all that were since a look no look will tell.
    pub(crate) fn leave_out(&mut self, events: &[Event]) -> u64 {
        self.unheard.take_in(events)
    }

    fn send(&self, messages: impl Iterator<Item = Message>) -> Result<Told, Errno> {
        let end = Instant::now() + MOST_PATIENCE;
        let mut packer = Packer::default();
        for message in messages {
            let added = packer.add(&message).or_else(|error| packer.add(&smaller(message, error)?));
            let told = match added {
                Ok(None) => Told::Whole,
                Ok(Some(frame)) => self.send_packet(&frame, end)?,
                Err(error) => {
                    tracing::error!("what does not fit a frame cannot be told: {error}");
                    Told::Torn
                }
            };
            if told != Told::Whole {
                return Ok(told);
            }
        }
        packer.finish().map_or(Ok(Told::Whole), |frame| self.send_packet(&frame, end))
    }

    fn send_packet(&self, packet: &[u8], end: Instant) -> Result<Told, Errno> {
        let Some(reader) = &self.reader else { return Ok(Told::NobodyReads) };
        let deadline = end.min(Instant::now() + PATIENCE);
        loop {
            match send(reader, packet, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(Told::Whole),
                Err(Errno::PIPE | Errno::CONNRESET) => return Ok(Told::NobodyReads),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(Told::Torn);
                    }
                    wait_for_room(reader, left)?;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn wait_for_room(reader: &OwnedFd, at_most: Duration) -> Result<(), Errno> {
    let mut polled = [PollFd::new(reader, PollFlags::OUT)];
    let at_most = Timespec::try_from(at_most).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
    match poll(&mut polled, Some(&at_most)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A message that no frame holds is said to be missing, where it is one that may be.
fn smaller(message: Message, error: BrokenFrame) -> Result<Message, BrokenFrame> {
    let Message::Gap(gap) = message else { return Err(error) };
    let reason = RawText::from("a gap whose reason does not fit a frame");
    Ok(Message::Gap(Gap { scope: Scope::Sockets, reason, ..gap }))
}
