use jiff::Timestamp;

use super::history::Source;
use super::records::{Entry, Record, Records};
use super::told::Span;

/// A log that is read record by record, beside others.
pub(super) struct Stream<'a> {
    pub(super) source: Source,
    records: Records<'a>,
    next: Option<Record>,
    /// The latest time so far: a clock that was set back does not tear the order.
    time: Timestamp,
    pub(super) span: Span,
    /// Lines that are no records.
    pub(super) damaged: u64,
}

impl<'a> Stream<'a> {
    pub(super) fn of(source: Source, records: Records<'a>) -> anyhow::Result<Self> {
        let (next, span, damaged) = Default::default();
        let mut stream = Stream { source, records, next, time: Timestamp::MIN, span, damaged };
        stream.advance()?;
        Ok(stream)
    }

    fn advance(&mut self) -> anyhow::Result<()> {
        self.next = None;
        for entry in self.records.by_ref() {
            match entry? {
                Entry::Record(record) => {
                    self.span.take(&record);
                    self.time = self.time.max(record.time().unwrap_or(self.time));
                    self.next = Some(record);
                    break;
                }
                Entry::Damaged => self.damaged += 1,
            }
        }
        Ok(())
    }
}

/// The next record of all. Of two at the same second the act comes first.
pub(super) fn next(streams: &mut [Stream<'_>]) -> anyhow::Result<Option<(Source, Record)>> {
    let waiting = streams.iter_mut().filter(|stream| stream.next.is_some());
    let Some(stream) = waiting.min_by_key(|stream| (stream.time, stream.source)) else { return Ok(None) };
    let record = stream.next.take();
    stream.advance()?;
    Ok(record.map(|record| (stream.source, record)))
}
