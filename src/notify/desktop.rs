use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::Context;
use baseline::Severity;
use notify_rust::{Notification, NotificationHandle, NotificationResponse, Timeout, Urgency};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::card::Card;
use crate::say::aside;

/// What was done with a notification: its key, the number by which it was shown, and whether it was clicked.
type Answer = (String, u32, bool);
/// What a click on it does, by the Desktop Notifications Specification.
const CLICK: &str = "default";
const OPEN: &str = "open";
/// Answers that wait. There are fewer notifications.
const WAITING: usize = 64;

/// The notification service of the session that this process is in (org.freedesktop.Notifications).
pub(super) struct Desktop {
    /// The address of the daemon's pages, without a `/` at its end.
    url: String,
    /// It takes bodies for markup, so that names have to be escaped.
    markup: bool,
    open: BTreeMap<String, Open>,
    answer: mpsc::Sender<Answer>,
    answers: mpsc::Receiver<Answer>,
}

struct Open {
    handle: Arc<NotificationHandle>,
    page: String,
    /// Waits for what is done with it.
    task: JoinHandle<()>,
}

impl Desktop {
    pub(super) async fn find(url: &str) -> anyhow::Result<Self> {
        // It has its own runtime, which must not be started within ours.
        let asked = tokio::task::spawn_blocking(notify_rust::get_capabilities).await?;
        let capabilities = asked.context(
            "no notification service: run it as the user who is logged in on the desktop, within that session \
             (DBUS_SESSION_BUS_ADDRESS), where a notification daemon runs",
        )?;
        let (answer, answers) = mpsc::channel(WAITING);
        let markup = capabilities.iter().any(|capability| capability == "body-markup");
        Ok(Desktop { url: url.to_owned(), markup, open: BTreeMap::new(), answer, answers })
    }

    /// In place of the one with its key.
    pub(super) async fn show(&mut self, card: &Card) -> anyhow::Result<()> {
        let mut notification = Notification::new();
        notification.appname("Portledger").summary(&card.title).body(&self.body(card)).icon("network-server");
        notification.action(CLICK, "Open").action(OPEN, "Open its page").urgency(urgency(card.severity));
        if card.severity == Severity::Critical {
            notification.timeout(Timeout::Never);
        }
        if let Some(open) = self.open.get(&card.key) {
            notification.id(open.handle.id());
        }
        let handle = Arc::new(notification.show_async().await?);
        let (key, answer, waits) = (card.key.clone(), self.answer.clone(), handle.clone());
        let task = tokio::spawn(async move {
            let id = waits.id();
            let tell = |response: &NotificationResponse| {
                let clicked = !matches!(response, NotificationResponse::Closed(_));
                // Where there is no room, or nobody is left, nothing is lost but a click.
                answer.try_send((key, id, clicked)).unwrap_or_default();
            };
            waits.wait_for_action_async(tell).await;
        });
        let open = Open { handle, page: card.page.clone(), task };
        if let Some(before) = self.open.insert(card.key.clone(), open) {
            before.task.abort();
        }
        Ok(())
    }

    pub(super) async fn close(&mut self, key: &str) -> anyhow::Result<()> {
        if let Some(open) = self.open.remove(key) {
            open.task.abort();
            open.handle.close_async().await;
        }
        Ok(())
    }

    pub(super) async fn close_all(&mut self) {
        for open in std::mem::take(&mut self.open).into_values() {
            open.task.abort();
            open.handle.close_async().await;
        }
    }

    /// Waits until somebody puts one away, which opening its page does too; gives its key.
    pub(super) async fn put_away(&mut self) -> String {
        loop {
            let Some((key, id, clicked)) = self.answers.recv().await else {
                return std::future::pending().await;
            };
            let Some(open) = self.open.get(&key).filter(|open| open.handle.id() == id) else { continue };
            if clicked {
                browse(&address(&self.url, &open.page));
                // Not every service takes it away by itself.
                open.handle.close_async().await;
            }
            return key;
        }
    }

    fn body(&self, card: &Card) -> String {
        let text = card.lines.join("\n");
        if self.markup { escaped(&text) } else { text }
    }
}

fn urgency(severity: Severity) -> Urgency {
    match severity {
        Severity::Critical => Urgency::Critical,
        Severity::Warning => Urgency::Normal,
        Severity::Info => Urgency::Low,
    }
}

/// The markup of bodies is a part of XML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The daemon may know by which address it is reached, and else tells a path.
fn address(url: &str, page: &str) -> String {
    match page.starts_with("http://") || page.starts_with("https://") {
        true => page.to_owned(),
        false => format!("{url}/{}", page.trim_start_matches('/')),
    }
}

/// Without a shell, and only what is an address: no name of a process is in it but what its id was made of.
fn browse(address: &str) {
    let mut command = Command::new("xdg-open");
    command.arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let opened = command.spawn().map(|mut child| {
        // It may be the browser itself. How it ends is the browser's.
        std::thread::spawn(move || child.wait().map(drop).unwrap_or_default());
    });
    if let Err(error) = opened {
        aside(format_args!("portledger: xdg-open {address}: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_markup() {
        assert_eq!(escaped("<b>a</b> & <img src=x>"), "&lt;b&gt;a&lt;/b&gt; &amp; &lt;img src=x&gt;");
    }

    #[test]
    fn a_page_is_below_the_address_unless_it_has_its_own() {
        assert_eq!(address("http://h:1", "/drift/s1-0"), "http://h:1/drift/s1-0");
        assert_eq!(address("http://h:1", "https://web-17/drift/s1-0"), "https://web-17/drift/s1-0");
        assert_eq!(address("http://h:1", "javascript:alert(1)"), "http://h:1/javascript:alert(1)");
    }
}
