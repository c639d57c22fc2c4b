//! `portledger notify`: drift on the desktop of an ordinary user, shown by a real notification daemon.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::Command;

use crate::world::{Host, Running, eventually, finish, installed};

const NOBODY: u32 = 65_534;

/// The session of a user who is logged in: a display that nobody sees, a bus, and dunst, which writes down what it shows.
struct Desktop<'a> {
    host: &'a Host,
    home: PathBuf,
    _session: Running,
}

/// What dunst was given.
#[derive(Debug)]
struct Shown {
    id: String,
    urgency: String,
    title: String,
    body: String,
}

impl<'a> Desktop<'a> {
    fn of(host: &'a Host) -> Self {
        let home = host.path("home");
        fs::create_dir(&home).unwrap();
        chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
        let at = home.display();
        let script = |name: &str, text: String| {
            fs::write(home.join(name), text).unwrap();
            fs::set_permissions(home.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        };
        script(
            "record",
            format!(
                "#!/bin/sh\nprintf '%s\\037' \"$DUNST_ID\" \"$DUNST_URGENCY\" \"$DUNST_SUMMARY\" \"$DUNST_BODY\" >>{at}/shown\nprintf '\\036' >>{at}/shown\n"
            ),
        );
        script("xdg-open", format!("#!/bin/sh\nprintf '%s\\n' \"$*\" >>{at}/opened\n"));
        script(
            "dunstrc",
            format!("[global]\nnotification_limit = 20\nmarkup = full\n[record]\nscript = {at}/record\n"),
        );
        let start = format!(
            "exec 3>{at}/display; Xvfb -displayfd 3 -screen 0 800x600x24 -nolisten tcp 2>{at}/xvfb.log &
             until [ -s {at}/display ]; do sleep 0.05; done
             export DISPLAY=:$(cat {at}/display)
             exec dbus-run-session -- sh -c 'echo $DBUS_SESSION_BUS_ADDRESS >{at}/bus; exec dunst -conf {at}/dunstrc'"
        );
        let mut session = Self::as_user(host, "sh");
        session.args(["-c", &start]).env("HOME", &home);
        let session = Running::start(session);
        let desktop = Desktop { host, home, _session: session };
        eventually("dunst answers", || (desktop.dunst(&["count", "displayed"])?.trim() == "0").then_some(()));
        desktop
    }

    fn as_user(host: &Host, program: &str) -> Command {
        let mut command = host.command("setpriv");
        let id = NOBODY.to_string();
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--", program]);
        command
    }

    fn bus(&self) -> String {
        fs::read_to_string(self.home.join("bus")).unwrap_or_default().trim().to_owned()
    }

    fn dunst(&self, words: &[&str]) -> Option<String> {
        let mut command = Self::as_user(self.host, "dunstctl");
        command.args(words).env("DBUS_SESSION_BUS_ADDRESS", self.bus());
        let told = finish(command);
        (told.code == 0).then_some(told.stdout)
    }

    fn is_showing(&self, count: usize) -> Option<()> {
        (self.dunst(&["count", "displayed"])?.trim() == count.to_string()).then_some(())
    }

    fn notify(&self) -> Running {
        let mut command = self.host.portledger_as(NOBODY, &["notify"]);
        let path = format!("{}:{}", self.home.display(), std::env::var("PATH").unwrap());
        command.env("DBUS_SESSION_BUS_ADDRESS", self.bus()).env("PATH", path);
        Running::start(command)
    }

    /// All that was shown, in its order.
    fn shown(&self) -> Vec<Shown> {
        let text = fs::read_to_string(self.home.join("shown")).unwrap_or_default();
        let each = text.split_terminator('\u{1e}').map(|one| {
            let mut fields = one.split('\u{1f}').map(str::to_owned);
            let mut next = || fields.next().unwrap_or_default();
            Shown { id: next(), urgency: next(), title: next(), body: next() }
        });
        each.collect()
    }

    fn last_of(&self, title: &str) -> Option<Shown> {
        self.shown().into_iter().rfind(|shown| shown.title.contains(title))
    }
}

fn can_show() -> bool {
    installed(&["setpriv", "Xvfb", "dunst", "dunstctl", "dbus-run-session"])
}

#[test]
fn drift_is_on_the_desktop_until_it_is_over() {
    if !can_show() {
        return;
    }
    let Some(host) = Host::new() else { return };
    let serve = host.serve();
    serve.settles();
    host.learn();
    let desktop = Desktop::of(&host);
    let notify = desktop.notify();

    let nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    let title = "web-17: unapproved tcp/*:8080 open to everyone, nc as root";
    let shown = eventually("it is shown", || desktop.last_of(title));
    assert_eq!(shown.urgency, "CRITICAL", "{shown:?}");
    assert!(shown.body.contains("no approval speaks of it"), "{shown:?}");
    let drift = serve.drifts().find(8080).unwrap().id();
    assert!(shown.body.contains(&format!("sudo portledger show {drift}")), "{shown:?}");

    // In place of it, not beside it.
    nc.ends();
    let gone = eventually("it is told to be gone", || {
        desktop.last_of(title).filter(|last| last.body.contains("Gone since "))
    });
    assert_eq!(gone.id, shown.id);
    eventually("one is there", || desktop.is_showing(1));

    desktop.dunst(&["action", "0"]).unwrap();
    let page = format!("http://127.0.0.1:10433/drift/{drift}\n");
    eventually("its page is opened", || {
        (fs::read_to_string(desktop.home.join("opened")).ok()? == page).then_some(())
    });
    eventually("it is put away", || desktop.is_showing(0));

    let _nc = host.listen("tcp 0.0.0.0:8081").by("nc");
    eventually("another is shown", || desktop.last_of("tcp/*:8081"));
    eventually("and the first is not", || desktop.is_showing(1));
    let drift = serve.drifts().find(8081).unwrap().id();
    assert_eq!(host.approve(&drift, "wanted").code, 0);
    eventually("what is over is closed", || desktop.is_showing(0));

    let _nc = host.listen("tcp 0.0.0.0:8082").by("nc");
    eventually("a third is shown", || desktop.is_showing(1));
    notify.signal(rustix::process::Signal::TERM);
    eventually("nothing is left behind", || desktop.is_showing(0));
}

#[test]
fn a_hostile_name_is_shown_as_it_is() {
    if !can_show() {
        return;
    }
    let Some(host) = Host::new() else { return };
    let serve = host.serve();
    serve.settles();
    host.learn();
    let desktop = Desktop::of(&host);
    let _notify = desktop.notify();
    let _hostile = host.listen("tcp 0.0.0.0:8080").by("<b>x<b>&amp;\n%b\u{1b}[2J");
    let shown = eventually("it is shown", || desktop.last_of("tcp/*:8080"));
    assert!(shown.title.contains(r"'b'x'b'&amp;\x0a%b\x1b["), "{shown:?}");
    assert!(!shown.title.contains(['\n', '\u{1b}']) && !shown.body.contains('\u{1b}'), "{shown:?}");
    assert!(!shown.body.contains("<b>"), "{shown:?}");
}

#[test]
fn without_a_session_it_says_what_is_missing() {
    let Some(host) = Host::new() else { return };
    let mut command = host.portledger(&["notify"]);
    command.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere");
    let told = finish(command);
    assert_eq!(told.code, 2, "{told:?}");
    assert!(told.stderr.contains("no notification service"), "{told:?}");
}
