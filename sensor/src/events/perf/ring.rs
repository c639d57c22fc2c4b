//! The ring that the kernel fills: a page about it (`struct perf_event_mmap_page` in include/uapi/linux/perf_event.h),
//! then the pages of records.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::BorrowedFd;

use crate::sys::mapping::Mapping;

/// Of `data_head` and `data_tail` in the first page.
const HEAD: usize = 1024;
const TAIL: usize = 1032;

/// `struct perf_event_header`: u32 kind, u16 misc, u16 size of all of it. Records begin at multiples of its size, so no
/// header wraps.
const HEADER: u64 = 8;

/// More than the largest record that comes, with the one that tells of losses before it.
const LARGEST: u64 = 512;

/// One ring; what is in it is given once.
#[derive(Debug)]
pub(super) struct Ring {
    mapping: Mapping,
    /// Bytes of records, a power of two.
    room: u64,
    /// Where the records begin in the mapping.
    start: u64,
    tail: u64,
    was_full: bool,
    record: Vec<u8>,
}

/// The ring said what no kernel writes; all that was in it is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Torn;

impl Ring {
    /// `pages` is a power of two.
    pub(super) fn map(event: BorrowedFd<'_>, pages: usize, page: usize) -> io::Result<Self> {
        let too_big = || io::Error::from(io::ErrorKind::InvalidInput);
        let length = pages.checked_add(1).and_then(|all| all.checked_mul(page)).ok_or_else(too_big)?;
        let mapping = Mapping::of(event, length, 0, true)?;
        let room = u64::try_from(length - page).map_err(io::Error::other)?;
        let start = u64::try_from(page).map_err(io::Error::other)?;
        Ok(Ring { mapping, room, start, tail: 0, was_full: false, record: Vec::new() })
    }

    /// Gives each record that is in the ring now, as its kind and what follows the header, until `each` breaks: that
    /// record and those behind it stay for the next time. What arrives meanwhile stays too, so one call gives at most
    /// what the ring has room for.
    pub(super) fn read(&mut self, mut each: impl FnMut(u32, &[u8]) -> ControlFlow<()>) -> Result<(), Torn> {
        let (before, head) = (self.tail, self.head()?);
        let read = self.read_to(head, &mut each);
        if read == Err(Torn) {
            self.tail = head;
        }
        self.mapping.store_u64(TAIL, self.tail);
        // Up to this store the kernel had no more room than it had before.
        self.was_full |= self.head()?.wrapping_sub(before) > self.room - LARGEST;
        read
    }

    /// Whether a record may have found no room since this was asked last.
    pub(super) fn was_full(&mut self) -> bool {
        std::mem::take(&mut self.was_full)
    }

    fn head(&self) -> Result<u64, Torn> {
        self.mapping.load_u64(HEAD).ok_or(Torn)
    }

    fn read_to(
        &mut self,
        head: u64,
        each: &mut impl FnMut(u32, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Torn> {
        if head.wrapping_sub(self.tail) > self.room {
            return Err(Torn);
        }
        while self.tail != head {
            let (kind, size) = self.next(head).ok_or(Torn)?;
            if each(kind, &self.record).is_break() {
                break;
            }
            self.tail = self.tail.wrapping_add(size);
        }
        Ok(())
    }

    /// Copies the body of the record at the tail into `record`; its kind and whole size.
    fn next(&mut self, head: u64) -> Option<(u32, u64)> {
        let kind = self.mapping.load_u32(self.place(self.tail)?)?;
        let sizes = self.mapping.load_u32(self.place(self.tail.wrapping_add(4))?)?;
        let [_, _, low, high] = sizes.to_ne_bytes();
        let size = u64::from(u16::from_ne_bytes([low, high]));
        let fits = size >= HEADER && size.is_multiple_of(HEADER) && size <= head.wrapping_sub(self.tail);
        if !fits {
            return None;
        }
        self.copy(self.tail.wrapping_add(HEADER), size - HEADER)?;
        Some((kind, size))
    }

    /// In two pieces where the ring ends within.
    fn copy(&mut self, from: u64, length: u64) -> Option<()> {
        let before_end = length.min(self.room - (from & (self.room - 1)));
        self.record.clear();
        for (from, length) in [(from, before_end), (from.wrapping_add(before_end), length - before_end)] {
            let (place, length) = (self.place(from)?, usize::try_from(length).ok()?);
            self.mapping.copy(place, length, &mut self.record)?;
        }
        Some(())
    }

    fn place(&self, position: u64) -> Option<usize> {
        usize::try_from(self.start + (position & (self.room - 1))).ok()
    }
}
