use std::collections::BTreeMap;

use super::card::Card;

/// What is on the desktop, or was put away by whoever sits there.
#[derive(Debug, Default)]
pub(super) struct Shown(BTreeMap<String, Entry>);

#[derive(Debug)]
struct Entry {
    card: Card,
    put_away: bool,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// In place of the one with its key, where there is one.
    Show(Card),
    /// The one with this key.
    Close(String),
}

impl Shown {
    /// What leads from what is shown to `wanted`: what was put away comes back only when it is graver, or there again.
    pub(super) fn plan(&self, wanted: Vec<Card>) -> Vec<Step> {
        let is_wanted = |key: &String| wanted.iter().any(|card| card.key == *key);
        let over = self.0.keys().filter(|key| !is_wanted(key)).cloned().map(Step::Close);
        let mut steps: Vec<Step> = over.collect();
        let is_news = |card: &Card| self.0.get(&card.key).is_none_or(|entry| entry.differs(card));
        steps.extend(wanted.into_iter().filter(is_news).map(Step::Show));
        steps
    }

    /// The cards that are there, and one more.
    pub(super) fn with(&self, more: Option<Card>) -> Vec<Card> {
        let others =
            self.0.values().filter(|entry| more.as_ref().is_none_or(|more| more.key != entry.card.key));
        others.map(|entry| entry.card.clone()).chain(more.clone()).collect()
    }

    pub(super) fn show(&mut self, card: Card) {
        self.0.insert(card.key.clone(), Entry { card, put_away: false });
    }

    pub(super) fn close(&mut self, key: &str) {
        self.0.remove(key);
    }

    pub(super) fn put_away(&mut self, key: &str) {
        if let Some(entry) = self.0.get_mut(key) {
            entry.put_away = true;
        }
    }
}

impl Entry {
    fn differs(&self, card: &Card) -> bool {
        let is_back = self.card.is_gone && !card.is_gone;
        if self.put_away { card.severity > self.card.severity || is_back } else { self.card != *card }
    }
}

#[cfg(test)]
mod tests {
    use baseline::Severity;

    use super::*;

    fn card(key: &str) -> Card {
        Card {
            key: key.to_owned(),
            title: "t".to_owned(),
            lines: Vec::new(),
            severity: Severity::Warning,
            is_gone: false,
            page: "/".to_owned(),
        }
    }

    fn after(steps: Vec<Step>, mut shown: Shown) -> Shown {
        for step in steps {
            match step {
                Step::Show(card) => shown.show(card),
                Step::Close(key) => shown.close(&key),
            }
        }
        shown
    }

    #[test]
    fn each_is_shown_once_replaced_when_it_changes_and_closed_when_it_is_over() {
        let shown = Shown::default();
        let steps = shown.plan(vec![card("a"), card("b")]);
        assert_eq!(steps, [Step::Show(card("a")), Step::Show(card("b"))]);
        let shown = after(steps, shown);
        assert_eq!(shown.plan(vec![card("a"), card("b")]), []);
        let gone = Card { is_gone: true, ..card("a") };
        assert_eq!(shown.plan(vec![gone.clone()]), [Step::Close("b".to_owned()), Step::Show(gone)]);
    }

    #[test]
    fn what_was_put_away_stays_away_until_it_is_graver_or_back() {
        let mut shown = Shown::default();
        let gone = Card { is_gone: true, ..card("a") };
        shown.show(gone.clone());
        shown.put_away("a");
        let other = Card { title: "u".to_owned(), ..gone.clone() };
        assert_eq!(shown.plan(vec![other]), []);
        assert_eq!(shown.plan(vec![card("a")]), [Step::Show(card("a"))]);
        let graver = Card { severity: Severity::Critical, ..gone };
        assert_eq!(shown.plan(vec![graver.clone()]), [Step::Show(graver)]);
    }

    #[test]
    fn silence_takes_nothing_away() {
        let mut shown = Shown::default();
        shown.show(card("a"));
        assert_eq!(shown.plan(shown.with(None)), []);
        let silence = Card::silence("gone");
        let steps = shown.plan(shown.with(Some(silence.clone())));
        assert_eq!(steps, [Step::Show(silence)]);
        let shown = after(steps, shown);
        assert_eq!(shown.plan(vec![card("a")]), [Step::Close("silence".to_owned())]);
    }
}
