use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::book::Book;
use super::turn::{Step, Turn};

/// How many turns wait at most that cannot be written down. Of those beyond, the oldest are known no more but for what fires.
const ROOM: usize = 16_384;
/// How many stay at hand that are written down: whoever is not far behind need not read them.
const AT_HAND: usize = 1_024;

/// The book and its last turns, for those who write them down and those who send them. Senders wait for no disk.
pub(crate) struct Turns {
    inner: Mutex<Inner>,
    more: Condvar,
}

struct Inner {
    book: Arc<Book>,
    /// In their order, without a hole, up to the book's last.
    recent: VecDeque<Arc<Turn>>,
    /// Up to this number they are written down.
    logged: u64,
    /// The last try to write some down failed, or takes long.
    torn: bool,
    ends: bool,
}

impl Default for Turns {
    fn default() -> Self {
        Turns::new(Book::default())
    }
}

impl Turns {
    /// Those of the book are written down already.
    pub(crate) fn new(book: Book) -> Self {
        let logged = book.seq;
        let inner = Inner { book: Arc::new(book), recent: VecDeque::new(), logged, torn: false, ends: false };
        Turns { inner: Mutex::new(inner), more: Condvar::new() }
    }

    pub(crate) fn book(&self) -> Arc<Book> {
        self.lock().book.clone()
    }

    /// Takes what is new. Returns how many found no room and were never written down.
    pub(crate) fn add(&self, book: Arc<Book>, turns: &[Arc<Turn>]) -> u64 {
        let mut inner = self.lock();
        inner.book = book;
        inner.recent.extend(turns.iter().cloned());
        let lost = inner.shorten();
        drop(inner);
        if !turns.is_empty() {
            self.more.notify_all();
        }
        lost
    }

    /// At most so many of those after this number; the number of the first at hand where some before are not.
    pub(crate) fn after(&self, seq: u64, most: usize) -> Result<Vec<Arc<Turn>>, u64> {
        let inner = self.lock();
        let first = inner.recent.front().map_or(inner.book.seq + 1, |turn| turn.seq);
        if seq + 1 < first {
            return Err(first);
        }
        let known = usize::try_from(seq + 1 - first).unwrap_or(usize::MAX);
        Ok(inner.recent.iter().skip(known).take(most).cloned().collect())
    }

    /// The first of those that are not written down, up to this number.
    pub(crate) fn unlogged(&self, most: usize, up_to: u64) -> Vec<Arc<Turn>> {
        let inner = self.lock();
        let is_logged = |turn: &&Arc<Turn>| turn.seq <= inner.logged;
        let unlogged = inner.recent.iter().skip_while(is_logged).take_while(|turn| turn.seq <= up_to);
        unlogged.take(most).cloned().collect()
    }

    /// Among those that are not written down some say that an alert fires.
    pub(crate) fn fire_unlogged(&self) -> bool {
        let inner = self.lock();
        let unlogged = inner.recent.iter().rev().take_while(|turn| turn.seq > inner.logged);
        unlogged.into_iter().any(|turn| turn.event == Step::Firing)
    }

    /// Up to here they are written down.
    pub(crate) fn are_logged(&self, seq: u64) {
        let mut inner = self.lock();
        inner.logged = inner.logged.max(seq);
        inner.torn = false;
        inner.shorten();
        drop(inner);
        self.more.notify_all();
    }

    /// Those that are not written down cannot be now.
    pub(crate) fn are_not_logged(&self) {
        self.lock().torn = true;
        self.more.notify_all();
    }

    /// Waits until that of this number is written down, at most so long, and not where none can be: a disk that hangs holds
    /// up one batch, not each.
    pub(crate) fn wait_until_logged(&self, seq: u64, most: Duration) {
        let is_to_come = |inner: &mut Inner| inner.logged < seq && !inner.torn && !inner.ends;
        let waited = self.more.wait_timeout_while(self.lock(), most, is_to_come);
        let (mut inner, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        inner.torn |= waited.timed_out();
    }

    /// Waits until there is one after this number, at most so long.
    pub(crate) fn wait(&self, seq: u64, most: Duration) {
        let inner = self.lock();
        let nothing = |inner: &mut Inner| inner.book.seq <= seq && !inner.ends;
        drop(self.more.wait_timeout_while(inner, most, nothing).unwrap_or_else(PoisonError::into_inner));
    }

    /// Nobody waits any longer.
    pub(crate) fn end(&self) {
        self.lock().ends = true;
        self.more.notify_all();
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.lock().ends
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that is done under the lock can leave it half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn shorten(&mut self) -> u64 {
        let mut lost = 0;
        while let Some(first) = self.recent.front() {
            let is_logged = first.seq <= self.logged;
            if self.recent.len() <= if is_logged { AT_HAND } else { ROOM } {
                break;
            }
            lost += u64::from(!is_logged);
            self.recent.pop_front();
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::super::turn::{About, OfHost};
    use super::*;

    fn add(turns: &Turns, many: u64) -> u64 {
        let mut book = Book::clone(&turns.book());
        let new: Vec<Arc<Turn>> = (0..many)
            .map(|_| {
                book.seq += 1;
                let at = SystemTime::UNIX_EPOCH;
                Arc::new(Turn::firing(book.seq, About::Sensor(OfHost::silent("web", at)), at))
            })
            .collect();
        turns.add(Arc::new(book), &new)
    }

    fn numbers(turns: Result<Vec<Arc<Turn>>, u64>) -> Result<(u64, u64), u64> {
        turns.map(|turns| (turns.first().map_or(0, |turn| turn.seq), turns.last().map_or(0, |turn| turn.seq)))
    }

    #[test]
    fn what_is_written_down_makes_room_and_what_is_not_stays() {
        let turns = Turns::new(Book { seq: 7, ..Book::default() });
        assert_eq!(numbers(turns.after(7, 9)), Ok((0, 0)));
        assert_eq!(numbers(turns.after(3, 9)), Err(8), "an earlier process had them");
        assert_eq!(add(&turns, 10_000), 0);
        assert_eq!(numbers(turns.after(7, 64)), Ok((8, 71)));
        assert_eq!(turns.unlogged(64, u64::MAX).len(), 64);
        turns.are_logged(9_007);
        assert_eq!(numbers(turns.after(7, 64)), Err(10_007 - 1_023));
        assert_eq!(turns.unlogged(1, u64::MAX)[0].seq, 9_008);
        assert_eq!(numbers(turns.after(10_000, 64)), Ok((10_001, 10_007)));
    }

    #[test]
    fn who_waits_for_the_log_goes_on_once_it_has_it_or_cannot() {
        let turns = Turns::default();
        add(&turns, 2);
        let forever = Duration::from_secs(3_600);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| {
                turns.wait_until_logged(1, forever);
                turns.unlogged(1, u64::MAX)[0].seq
            });
            turns.are_logged(1);
            assert_eq!(waits.join().unwrap(), 2);
            let waits = scope.spawn(|| turns.wait_until_logged(2, forever));
            turns.are_not_logged();
            waits.join().unwrap();
        });
        turns.are_logged(2);
        add(&turns, 1);
        turns.wait_until_logged(2, forever);
        turns.wait_until_logged(3, Duration::ZERO);
        turns.wait_until_logged(3, forever);
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let turns = Turns::new(Book::default());
        assert_eq!(add(&turns, 16_384), 0);
        assert_eq!(add(&turns, 10), 10);
        assert_eq!(numbers(turns.after(0, 1)), Err(11));
    }
}
