//! Drift on the desktop of whoever sits before this host: asked of the running daemon, shown by the notification service
//! of the session. Root cannot reach the session of another user, so it runs as that user.

mod card;
mod desktop;
mod plan;

use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::time::sleep;

use self::card::{Card, cards};
use self::desktop::Desktop;
use self::plan::{Shown, Step};
use crate::arguments::NotifyOptions;
use crate::asking::{Asked, ask_all};
use crate::outcome::Outcome;
use crate::say::aside;
use crate::signals::{Signals, Wanted};

/// How often the daemon is asked. It answers from what it has written once.
const PAUSE: Duration = Duration::from_secs(3);
/// How long it may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// For how long it may be away, as it is while it is restarted or updated, before that is shown.
const PATIENCE: Duration = Duration::from_secs(60);

/// Shows drift until Ctrl-C, or the end of the session.
pub(crate) fn run(options: &NotifyOptions) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(until_it_ends(options))
}

async fn until_it_ends(options: &NotifyOptions) -> anyhow::Result<Outcome> {
    let mut signals = Signals::catch().context("cannot catch signals")?;
    let mut notifier = Notifier {
        options,
        desktop: Desktop::find(&options.url).await?,
        shown: Shown::default(),
        answered_at: Instant::now(),
        failure: None,
    };
    loop {
        tokio::select! {
            () = notifier.turn() => {}
            wanted = signals.next() => if wanted == Wanted::End { break },
        }
    }
    // Nobody would close them afterwards.
    notifier.desktop.close_all().await;
    Ok(Outcome::Clean)
}

struct Notifier<'a> {
    options: &'a NotifyOptions,
    desktop: Desktop,
    shown: Shown,
    /// When the daemon last told how the host stands.
    answered_at: Instant,
    /// What was last said of why it does not: once each.
    failure: Option<String>,
}

impl Notifier<'_> {
    /// Asks, shows what is new, and waits.
    async fn turn(&mut self) {
        let asked = ask_all(&self.options.socket, ANSWER_WITHIN, false).await;
        let wanted = match cards(&asked, self.options.severity) {
            Ok(cards) => {
                self.answered_at = Instant::now();
                self.failure = None;
                cards
            }
            Err(why) => {
                self.tell_failure(&why);
                // What is not known is no reason to take away what was.
                let silent = (self.answered_at.elapsed() >= PATIENCE).then(|| Card::silence(&why));
                self.shown.with(silent)
            }
        };
        for step in self.shown.plan(wanted) {
            self.take(step).await;
        }
        self.wait().await;
    }

    fn tell_failure(&mut self, why: &str) {
        if self.failure.as_deref() != Some(why) {
            aside(format_args!("portledger: how the host stands is not known: {why}"));
            self.failure = Some(why.to_owned());
        }
    }

    async fn take(&mut self, step: Step) {
        let taken = match step {
            Step::Show(card) => self.desktop.show(&card).await.map(|()| self.shown.show(card)),
            Step::Close(key) => self.desktop.close(&key).await.map(|()| self.shown.close(&key)),
        };
        if let Err(error) = taken {
            // It is tried again at the next turn.
            aside(format_args!("portledger: the notification service does not take it: {error:#}"));
        }
    }

    /// What is put away meanwhile stays away.
    async fn wait(&mut self) {
        let pause = sleep(PAUSE);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => return,
                key = self.desktop.put_away() => self.shown.put_away(&key),
            }
        }
    }
}

/// Why nothing is known: of the first question that was not answered.
fn failure(asked: &Asked) -> Option<String> {
    asked.failure().map(|failure| failure.what.clone())
}
