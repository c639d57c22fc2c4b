use std::path::{Path, PathBuf};
use std::sync::Arc;

use ledger::Head;

use super::book::Book;
use super::kept::History;
use super::turn::{Step, Turn};
use super::turns::Turns;

/// The turns in their order, for one receiver: those at hand, before them those of the log, and where both lack some, what
/// the book has of these.
pub(crate) struct Feed {
    turns: Arc<Turns>,
    folder: PathBuf,
    /// While it is behind what is at hand, with the number of the last that was read.
    history: Option<(History, u64)>,
}

/// What is sent next.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) turns: Vec<Arc<Turn>>,
    /// Once they have arrived nothing up to here is left.
    pub(crate) up_to: u64,
}

impl Feed {
    pub(crate) fn new(turns: Arc<Turns>, folder: &Path) -> Self {
        Feed { turns, folder: folder.to_owned(), history: None }
    }

    /// At most so many after this number, unless more are left of what was missed. A receiver that is new (`None`) is told what
    /// fires.
    pub(crate) fn next(&mut self, after: Option<u64>, most: usize) -> Batch {
        let Some(after) = after else {
            let book = self.turns.book();
            let mut turns = book.between(0, book.seq);
            turns.retain(|turn| turn.event != Step::Resolved);
            return Batch { turns, up_to: book.seq };
        };
        match self.turns.after(after, most) {
            Ok(turns) => {
                self.history = None;
                let up_to = turns.last().map_or(after, |turn| turn.seq);
                Batch { turns, up_to }
            }
            Err(first) => self.older(after, first, most),
        }
    }

    fn older(&mut self, after: u64, first: u64, most: usize) -> Batch {
        // What did not arrive is read again.
        let read_on = self.history.take().filter(|(_, read)| *read == after);
        let mut history =
            read_on.map_or_else(|| History::new(&self.folder, Head::default()), |(history, _)| history);
        let mut batch = Batch { turns: Vec::new(), up_to: after };
        while batch.turns.len() < most {
            match history.next() {
                Some(turn) if turn.seq <= batch.up_to => {}
                Some(turn) if turn.seq < first => {
                    batch.fill(&self.turns.book(), turn.seq);
                    batch.up_to = turn.seq;
                    batch.turns.push(Arc::new(turn));
                }
                // What follows is at hand, or there is nothing more.
                Some(_) | None => {
                    batch.fill(&self.turns.book(), first);
                    batch.up_to = first - 1;
                    return batch;
                }
            }
        }
        self.history = Some((history, batch.up_to));
        batch
    }
}

impl Batch {
    /// With what is known of those that are missing before this number.
    fn fill(&mut self, book: &Book, before: u64) {
        if self.up_to + 1 < before {
            self.turns.extend(book.between(self.up_to + 1, before - 1));
        }
    }
}

#[cfg(test)]
mod tests;
