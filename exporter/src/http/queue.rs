//! Whose password is verified next: one at a time, a hash takes a tenth of a second by intent.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::seats::Standing;
use super::who::Peer;

/// How many wait.
const MAX_WAITING: usize = 16;

/// Those who wait for their turn.
#[derive(Default)]
pub(super) struct Queue {
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    has_turn: bool,
    next: u64,
    waiting: Vec<Waiting>,
}

struct Waiting {
    place: Place,
    crowd: Peer,
    call: oneshot::Sender<Turn>,
}

/// Who is called first: the smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    standing: Standing,
    /// How many of its crowd were before it: the first of each goes before the second of any.
    of_crowd: usize,
    number: u64,
}

/// Dropped, it is the next one's.
pub(super) struct Turn {
    queue: Arc<Queue>,
}

impl Queue {
    /// Waits; returns `None` to whoever has to go, or has gone for somebody who stands better, since too many wait.
    pub(super) async fn turn(self: Arc<Self>, peer: Peer, standing: Standing) -> Option<Turn> {
        let called = {
            let mut line = self.lock();
            if !line.has_turn {
                line.has_turn = true;
                drop(line);
                return Some(Turn { queue: self });
            }
            line.wait(peer.crowd(), standing)?
        };
        called.await.ok()
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn wait(&mut self, crowd: Peer, standing: Standing) -> Option<oneshot::Receiver<Turn>> {
        // Whoever hung up waits no more.
        self.waiting.retain(|waiting| !waiting.call.is_closed());
        let of_crowd = self.waiting.iter().filter(|waiting| waiting.crowd == crowd).count();
        let place = Place { standing, of_crowd, number: self.next };
        if self.waiting.len() >= MAX_WAITING {
            let worst = (0..self.waiting.len()).max_by_key(|index| self.waiting[*index].place)?;
            if self.waiting[worst].place < place {
                return None;
            }
            self.waiting.swap_remove(worst);
        }
        self.next += 1;
        let (call, called) = oneshot::channel();
        self.waiting.push(Waiting { place, crowd, call });
        Some(called)
    }

    fn call(&mut self) -> Option<Waiting> {
        let first = (0..self.waiting.len()).min_by_key(|index| self.waiting[*index].place);
        self.has_turn = first.is_some();
        first.map(|first| self.waiting.swap_remove(first))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = self.queue.lock().call();
        if let Some(next) = next {
            // Whoever hung up does not take it, and so it is the next one's but one.
            drop(next.call.send(Turn { queue: self.queue.clone() }));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::Standing::{LetIn, Stranger};
    use super::*;

    type Waits = Pin<Box<dyn Future<Output = Option<Turn>>>>;

    fn peer(number: u8) -> Peer {
        Peer::at(std::net::IpAddr::from([192, 0, 2, number]))
    }

    fn look(waits: &mut Waits) -> Poll<Option<Turn>> {
        waits.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    /// They come one after the other, while somebody has the turn; told is who is called in which order. The others have to
    /// go.
    fn order(come: &[(u8, Standing)]) -> Vec<u8> {
        let queue = Arc::new(Queue::default());
        let first = takes_the_turn(&queue);
        let mut waiting: Vec<(u8, Waits)> = Vec::new();
        for (number, standing) in come {
            let mut waits: Waits = Box::pin(queue.clone().turn(peer(*number), *standing));
            if look(&mut waits).is_pending() {
                waiting.push((*number, waits));
            }
        }
        drop(first);
        let mut called = Vec::new();
        loop {
            let mut turn = None;
            waiting.retain_mut(|(number, waits)| match look(waits) {
                Poll::Ready(Some(theirs)) => {
                    called.push(*number);
                    turn = Some(theirs);
                    false
                }
                Poll::Ready(None) => false,
                Poll::Pending => true,
            });
            if turn.is_none() {
                assert!(waiting.is_empty() && !queue.lock().has_turn);
                return called;
            }
        }
    }

    fn takes_the_turn(queue: &Arc<Queue>) -> Turn {
        let mut waits: Waits = Box::pin(queue.clone().turn(peer(0), Stranger(0)));
        let Poll::Ready(Some(turn)) = look(&mut waits) else { panic!("nobody waits") };
        turn
    }

    #[test]
    fn the_first_of_each_goes_before_the_second_of_any_and_who_failed_behind() {
        let new = Stranger(0);
        for (come, expected) in [
            (&[(1, new), (2, new), (3, new)][..], &[1, 2, 3][..]),
            (&[(1, new), (1, new), (1, new), (2, new)], &[1, 2, 1, 1]),
            (&[(1, Stranger(9)), (2, Stranger(1)), (3, new), (4, LetIn)], &[4, 3, 2, 1]),
        ] {
            assert_eq!(order(come), expected, "{come:?}");
        }
    }

    #[test]
    fn a_full_queue_has_room_for_who_stands_better() {
        let crowd: Vec<_> = (1..=100).map(|number| (number, Stranger(1))).collect();
        let with = |more: &[(u8, Standing)]| order(&[&crowd, more].concat());
        assert_eq!(with(&[]), (1..=16).collect::<Vec<_>>());
        assert_eq!(with(&[(200, Stranger(2))]), (1..=16).collect::<Vec<_>>());
        let expected: Vec<u8> = [200].into_iter().chain(1..=15).collect();
        assert_eq!(with(&[(200, Stranger(0))]), expected);
        // One that comes a hundred times has no more than what nobody else wants.
        let greedy = [[(1, Stranger(0)); 100].as_slice(), &[(2, Stranger(0)), (3, Stranger(0))]].concat();
        let expected: Vec<u8> = [1, 2, 3].into_iter().chain([1; 13]).collect();
        assert_eq!(order(&greedy), expected);
    }

    #[test]
    fn whoever_hangs_up_keeps_nobody_waiting() {
        let queue = Arc::new(Queue::default());
        let first = takes_the_turn(&queue);
        let mut waits: Vec<Waits> =
            (1..=16).map(|number| Box::pin(queue.clone().turn(peer(number), LetIn)) as Waits).collect();
        assert!(waits.iter_mut().all(|waits| look(waits).is_pending()));
        waits.clear();
        let mut other: Waits = Box::pin(queue.clone().turn(peer(20), Stranger(9)));
        assert!(look(&mut other).is_pending());
        let mut gone: Waits = Box::pin(queue.clone().turn(peer(21), LetIn));
        assert!(look(&mut gone).is_pending());
        drop(gone);
        drop(first);
        assert!(matches!(look(&mut other), Poll::Ready(Some(_))));
        assert!(!queue.lock().has_turn);
    }
}
