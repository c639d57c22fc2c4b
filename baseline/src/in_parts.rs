use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, available_parallelism, scope};

/// What is worth a thread.
const PART: usize = 1000;
/// A server has other work.
const THREADS: usize = 4;

/// What `work` makes of these, in their order: by several threads where they are many.
pub(crate) fn in_parts<T: Send, R: Send>(items: Vec<T>, work: impl Fn(Vec<T>) -> Vec<R> + Sync) -> Vec<R> {
    let threads = available_parallelism().map_or(1, NonZero::get).min(THREADS);
    if threads < 2 || items.len() < 2 * PART {
        return work(items);
    }
    let parts = Mutex::new(split(items).into_iter().enumerate());
    let next = || parts.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work_on = || {
        let mut done = Vec::new();
        while let Some((at, part)) = next() {
            done.push((at, work(part)));
        }
        done
    };
    let mut done = scope(|scope| {
        // Where no thread can be started, this one does it all.
        let start = |_| Builder::new().spawn_scoped(scope, work_on).ok();
        let others: Vec<_> = (1..threads).filter_map(start).collect();
        let mut done = work_on();
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().flat_map(|(_, made)| made).collect()
}

fn split<T>(items: Vec<T>) -> Vec<Vec<T>> {
    let mut items = items.into_iter();
    let parts = items.len().div_ceil(PART);
    (0..parts).map(|_| items.by_ref().take(PART).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_done_once_and_in_order() {
        for count in [0, 1, PART, 2 * PART - 1, 2 * PART, 2 * PART + 1, 10 * PART + 7] {
            let items: Vec<usize> = (0..count).collect();
            let made = in_parts(items.clone(), |part| part.into_iter().map(|item| item * 2).collect());
            assert!(made.into_iter().eq(items.into_iter().map(|item| item * 2)), "{count}");
        }
    }

    #[test]
    fn no_part_is_larger_than_a_thread_is_worth() {
        assert!(split((0..3 * PART + 1).collect::<Vec<_>>()).iter().all(|part| part.len() <= PART));
    }
}
