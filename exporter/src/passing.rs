use std::collections::BTreeMap;
use std::sync::Arc;

use inventory::{Happening, Holders, Listener, SocketId, Unattributed};

/// What became known of one socket between two judgements.
#[derive(Default)]
struct Life {
    /// It was there before, and then it was known who holds it.
    was_attributed: bool,
    /// As it was, one after the other.
    as_it_was: Vec<Arc<Listener>>,
    /// It is there still, as the last of them.
    lives: bool,
}

/// Sockets as they were for a while within what happened, and are not any more: closed by now, or changed. Whoever
/// judges by what is there at the end would miss them. Ordered by socket; one that changed may be there more than once.
///
/// A socket of which it was known at some moment who holds it is not told as held by nobody: it was only just opened, or
/// about to be closed.
pub(crate) fn passing(happened: &[Happening]) -> Vec<Arc<Listener>> {
    let mut lives: BTreeMap<SocketId, Life> = BTreeMap::new();
    for happening in happened {
        let life = lives.entry(happening.id()).or_default();
        let is_first = life.as_it_was.is_empty();
        match happening {
            Happening::Opened(listener) => life.goes_on_as(listener),
            Happening::Changed { before, after } => {
                life.was_attributed |= is_first && is_attributed(before);
                life.goes_on_as(after);
            }
            Happening::Closed { listener, .. } => {
                life.was_attributed |= is_first && is_attributed(listener);
                life.lives = false;
            }
        }
    }
    lives.into_values().flat_map(Life::past).collect()
}

impl Life {
    fn goes_on_as(&mut self, listener: &Arc<Listener>) {
        self.as_it_was.push(listener.clone());
        self.lives = true;
    }

    fn past(mut self) -> impl Iterator<Item = Arc<Listener>> {
        let attributed = self.was_attributed || self.as_it_was.iter().any(|listener| is_attributed(listener));
        if self.lives {
            self.as_it_was.pop();
        }
        self.as_it_was.into_iter().filter(move |listener| !attributed || is_attributed(listener))
    }
}

fn is_attributed(listener: &Listener) -> bool {
    matches!(listener.holders, Holders::Known(_) | Holders::Unattributed(Unattributed::Kernel))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::SystemTime;

    use inventory::Protocol;

    use super::*;
    use crate::fixtures;

    fn socket(holders: Holders) -> Arc<Listener> {
        fixtures::listener(1, Protocol::Udp, Ipv4Addr::LOCALHOST, 53, holders).into()
    }

    fn held_by(program: &str) -> Arc<Listener> {
        socket(Holders::Known(vec![fixtures::holder(program.as_bytes())]))
    }

    /// By program, `?` where nobody is known.
    fn told(happened: &[Happening]) -> Vec<String> {
        let program = |listener: &Arc<Listener>| match listener.holders.known() {
            [holder, ..] => holder.program.as_ref().unwrap().path.to_string(),
            [] => "?".to_owned(),
        };
        passing(happened).iter().map(program).collect()
    }

    #[test]
    fn tells_what_no_inventory_has() {
        let unknown = || socket(Holders::Unattributed(Unattributed::Exited));
        let opened = Happening::Opened;
        let changed = |before, after| Happening::Changed { before, after };
        let closed = |listener| Happening::Closed { listener, at: SystemTime::UNIX_EPOCH };
        let (a, b) = (|| held_by("a"), || held_by("b"));
        let cases: [(&str, Vec<Happening>, &[&str]); 9] = [
            ("it is there", vec![opened(a())], &[]),
            ("it was there, and judged then", vec![closed(a())], &[]),
            ("it came and went", vec![opened(a()), closed(a())], &["a"]),
            ("nobody saw by whom", vec![opened(unknown()), closed(unknown())], &["?"]),
            ("it was handed on", vec![opened(a()), changed(a(), b())], &["a"]),
            ("it was found who holds it", vec![opened(unknown()), changed(unknown(), a())], &[]),
            ("and then it went", vec![opened(unknown()), changed(unknown(), a()), closed(a())], &["a"]),
            ("its holder let go first", vec![changed(a(), unknown()), closed(unknown())], &[]),
            ("its holder had let go before", vec![changed(unknown(), b()), changed(b(), a())], &["b"]),
        ];
        for (what, happened, expected) in cases {
            assert_eq!(told(&happened), expected, "{what}");
        }
    }
}
