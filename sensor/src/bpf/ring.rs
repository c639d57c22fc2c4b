use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::record::EventRecord;
use crate::sys::mapping::Mapping;

/// Bits in the length of a record (include/uapi/linux/bpf.h).
pub(super) const BUSY: u32 = 1 << 31;
pub(super) const DISCARDED: u32 = 1 << 30;
const HEADER: usize = 8;
/// Bytes of the ring in portledger.bpf.c.
pub(super) const SIZE: usize = 1 << 19;

/// The ring that the programs write events into (Documentation/bpf/ringbuf.rst of the kernel).
#[derive(Debug)]
pub(crate) struct Ring {
    ring: OwnedFd,
    consumer: Mapping,
    /// The producer's position in the first page, then the data, twice one after the other.
    producer: Mapping,
    page: usize,
    /// The page in which the programs count what found no room.
    lost: Mapping,
    told_lost: u64,
    /// Records that could not be read since the last call of [`Ring::lost`].
    unreadable: u64,
    buffer: Vec<u8>,
}

impl Ring {
    /// Maps the ring and the counter.
    pub(crate) fn open(ring: OwnedFd, lost: &OwnedFd) -> io::Result<Self> {
        let page = rustix::param::page_size();
        let offset = u64::try_from(page).map_err(io::Error::other)?;
        let consumer = Mapping::of(ring.as_fd(), page, 0, true)?;
        let producer = Mapping::of(ring.as_fd(), page + 2 * SIZE, offset, false)?;
        let lost = Mapping::of(lost.as_fd(), page, 0, false)?;
        Ok(Ring { ring, consumer, producer, page, lost, told_lost: 0, unreadable: 0, buffer: Vec::new() })
    }

    /// Readable when something waits that was written after everything before it was taken.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }

    /// Takes what waits, at most so many events.
    pub(crate) fn take(&mut self, most: usize) -> Vec<EventRecord> {
        let mut events = Vec::new();
        let Some(mut position) = self.consumer.load_u64(0) else { return events };
        while events.len() < most
            && let Some(end) = self.producer.load_u64(0).filter(|end| position < *end)
        {
            let Some(length) = self.length_at(position) else { break };
            if length & BUSY != 0 {
                break;
            }
            let size = (length & !(BUSY | DISCARDED)) as usize;
            let next = position.saturating_add((HEADER + size).next_multiple_of(8) as u64);
            if next > end || end - position > SIZE as u64 {
                // No kernel writes such a ring; to go on at its end is all that can be done.
                self.unreadable += 1;
                self.consumer.store_u64(0, end);
                break;
            }
            if length & DISCARDED == 0 {
                let record = self.record_at(position, size);
                self.unreadable += u64::from(record.is_none());
                events.extend(record);
            }
            position = next;
            self.consumer.store_u64(0, position);
        }
        events
    }

    /// How many events found no room, or could not be read, since the last call.
    pub(crate) fn lost(&mut self) -> u64 {
        let all = self.lost.load_u64(0).unwrap_or(0);
        let new = all.saturating_sub(self.told_lost);
        self.told_lost = all;
        new.saturating_add(std::mem::take(&mut self.unreadable))
    }

    fn length_at(&self, position: u64) -> Option<u32> {
        self.producer.load_u32(self.place(position)?)
    }

    fn record_at(&mut self, position: u64, size: usize) -> Option<EventRecord> {
        let at = self.place(position)? + HEADER;
        self.buffer.clear();
        self.producer.copy(at, size, &mut self.buffer)?;
        EventRecord::parse(&self.buffer)
    }

    fn place(&self, position: u64) -> Option<usize> {
        let offset = usize::try_from(position % (SIZE as u64)).ok()?;
        Some(self.page + offset)
    }
}
