//! Monitoring of others runs `portledger check` as it runs any plugin of its own.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::checking::seconds;
use crate::world::{Host, Puppet, Running, Serve, Told, eventually, finish, installed, within};

const NOBODY: u32 = 65_534;
const PORTLEDGER: &str = env!("CARGO_BIN_EXE_portledger");
const CENTREON: &str = "/usr/lib/nagios/plugins/centreon_plugins.pl";

/// What wants to be more than a name: figures, a line, a macro, the end of CDATA, a column, a format, a terminal's command.
const HOSTILE: &str = "a;b|c='1'$HOSTNAME$]]><x>\n%s\x1b[2J\"é\\";

/// A program of another on this host, as nobody.
fn as_nobody(host: &Host, program: &str) -> Command {
    let mut command = host.command("setpriv");
    let id = NOBODY.to_string();
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--", program]);
    command.current_dir("/");
    command
}

fn start(host: &Host, mut command: Command, log: &str) -> Running {
    let log = fs::File::create(host.path(log)).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    Running::start(command)
}

/// A folder that nobody may write to.
fn folder(host: &Host, name: &str) -> String {
    let path = host.path(name).display().to_string();
    host.sh(&format!("mkdir -p {path} && chown {NOBODY}:{NOBODY} {path}"));
    path
}

/// One that learned, and then has a drift of a hostile name at port 8080.
fn attacked(host: &Host) -> (Serve<'_>, Puppet) {
    let serve = host.serve();
    serve.settles();
    host.learn();
    within(Duration::from_secs(30), "it learned", || (check(host, &[]).code == 0).then_some(()));
    let puppet = host.listen("tcp 0.0.0.0:8080").argument(HOSTILE).by(HOSTILE);
    eventually("it drifts", || serve.drifts().find(8080));
    (serve, puppet)
}

fn check(host: &Host, arguments: &[&str]) -> Told {
    let words: Vec<&str> = std::iter::once("check").chain(arguments.iter().copied()).collect();
    finish(host.portledger_as(NOBODY, &words))
}

/// What Nagios 4 knows of its one service.
struct Nagios<'a> {
    host: &'a Host,
    folder: String,
    _running: Running,
}

impl<'a> Nagios<'a> {
    /// It checks each second.
    fn start(host: &'a Host, command: &str) -> Self {
        let folder = folder(host, "nagios");
        let nagios = format!(
            "log_file={folder}/nagios.log\ncfg_file={folder}/objects.cfg\nobject_cache_file={folder}/objects.cache\n\
             precached_object_file={folder}/objects.precache\nstatus_file={folder}/status.dat\nstatus_update_interval=1\n\
             check_external_commands=0\ncommand_file={folder}/nagios.cmd\nlock_file={folder}/nagios.pid\n\
             query_socket={folder}/nagios.qh\ntemp_file={folder}/nagios.tmp\ntemp_path={folder}\n\
             check_result_path={folder}\nstate_retention_file={folder}/retention.dat\nlog_archive_path={folder}\n\
             use_syslog=0\ninterval_length=1\ncheck_for_updates=0\nenable_notifications=0\nexecute_host_checks=0\n\
             illegal_macro_output_chars=`~$&|'\"<>\n"
        );
        let objects = format!(
            "define contact {{\n contact_name nobody\n host_notifications_enabled 0\n service_notifications_enabled 0\n \
             host_notification_period always\n service_notification_period always\n \
             host_notification_commands portledger\n service_notification_commands portledger\n}}\n\
             define timeperiod {{\n timeperiod_name always\n alias always\n sunday 00:00-24:00\n monday 00:00-24:00\n \
             tuesday 00:00-24:00\n wednesday 00:00-24:00\n thursday 00:00-24:00\n friday 00:00-24:00\n saturday 00:00-24:00\n}}\n\
             define command {{\n command_name portledger\n command_line {command}\n}}\n\
             define host {{\n host_name web-17\n address 127.0.0.1\n max_check_attempts 1\n check_period always\n \
             contacts nobody\n notification_period always\n check_command portledger\n}}\n\
             define service {{\n host_name web-17\n service_description Listeners\n check_command portledger\n \
             contacts nobody\n notification_period always\n max_check_attempts 1\n check_interval 1\n retry_interval 1\n check_period always\n}}\n"
        );
        host.write("nagios/nagios.cfg", nagios);
        host.write("nagios/objects.cfg", objects);
        let mut command = as_nobody(host, "/usr/sbin/nagios4");
        command.arg(format!("{folder}/nagios.cfg"));
        let running = start(host, command, "log/nagios");
        Nagios { host, folder, _running: running }
    }

    /// The service as `status.dat` has it.
    fn service(&self) -> BTreeMap<String, String> {
        let status = fs::read_to_string(format!("{}/status.dat", self.folder)).unwrap_or_default();
        let block = status.split("servicestatus {").nth(1).and_then(|rest| rest.split("\n\t}").next());
        let pairs = block.unwrap_or_default().lines().filter_map(|line| line.trim().split_once('='));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    fn comes_to(&self, state: &str) -> BTreeMap<String, String> {
        eventually(&format!("Nagios has the state {state}"), || {
            let service = self.service();
            let is_checked = service.get("has_been_checked").is_some_and(|checked| checked == "1");
            (is_checked && service["current_state"] == state).then_some(service)
        })
    }

    fn log(&self) -> String {
        fs::read_to_string(self.host.path("nagios/nagios.log")).unwrap()
    }
}

#[test]
fn nagios_runs_it() {
    if !installed(&["setpriv", "nagios4"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let (serve, puppet) = attacked(&host);
    let nagios = Nagios::start(&host, &format!("{PORTLEDGER} check"));
    let service = nagios.comes_to("2");
    let output = &service["plugin_output"];
    assert!(
        output.starts_with("PORTLEDGER CRITICAL: 1 critical drift: unapproved tcp *:8080 "),
        "{service:#?}"
    );
    let figures = &service["performance_data"];
    assert!(
        figures.starts_with("'critical'=1;0;0;0 'warning'=0;0;;0 'info'=0;;;0 'gone'=0;;;0 "),
        "{figures}"
    );
    for label in ["'listeners'=", "'age'=", "'coverage_sockets'=100%;;;0;100"] {
        assert!(figures.contains(label), "{label}: {figures}");
    }
    assert!(seconds(figures) >= Some(0.0), "{figures}");
    // No name added one.
    assert_eq!(figures.split(' ').count(), 13, "{figures}");
    let long = &service["long_plugin_output"];
    assert!(long.contains("\\n  id       s1-") && !long.contains('\x1b'), "{long}");
    assert!(nagios.log().contains("SERVICE ALERT: web-17;Listeners;CRITICAL;HARD;1;PORTLEDGER CRITICAL: "));

    // What is gone stays CRITICAL until somebody lets it be.
    let drift = serve.drifts().on(8080).id();
    puppet.ends();
    eventually("it is gone", || serve.drifts().find(8080).filter(|row| row.get("state") == "gone"));
    eventually("Nagios knows that", || nagios.service()["plugin_output"].contains("(1 gone)").then_some(()));
    assert_eq!(nagios.service()["current_state"], "2");
    host.does(&["dismiss", &drift, "--reason", "it was a test"]);
    let service = nagios.comes_to("0");
    // Nagios makes colons of semicolons.
    assert!(service["plugin_output"].starts_with("PORTLEDGER OK: no drift: "), "{service:#?}");
    serve.running.kill();
    let service = nagios.comes_to("3");
    assert!(
        service["plugin_output"].starts_with("PORTLEDGER UNKNOWN: /run/portledger/api.sock: "),
        "{service:#?}"
    );
}

/// NRPE on loopback, with one command; `flags` as `-n`, without TLS.
fn start_nrpe(host: &Host, check: &str, flags: &[&str]) -> Running {
    let folder = folder(host, "nrpe");
    host.write(
        "nrpe/nrpe.cfg",
        format!(
            "server_address=127.0.0.1\nserver_port=5666\nallowed_hosts=127.0.0.1\npid_file={folder}/pid\n\
             log_file={folder}/log\ndont_blame_nrpe=0\ncommand_timeout=30\ncommand[portledger]={check}\n"
        ),
    );
    let mut command = as_nobody(host, "/usr/sbin/nrpe");
    command.args(["-f", "-c", &format!("{folder}/nrpe.cfg")]).args(flags);
    let running = start(host, command, "log/nrpe");
    eventually("NRPE listens", || {
        host.within(|| std::net::TcpStream::connect(("127.0.0.1", 5666)).ok()).map(drop)
    });
    running
}

#[test]
fn nrpe_hands_it_on() {
    if !installed(&["setpriv", "nrpe", "check_nrpe"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let _nrpe = start_nrpe(&host, &format!("{PORTLEDGER} check --filter port=8080"), &[]);
    let (serve, _puppet) = attacked(&host);
    let ask = || {
        let mut command = host.command("/usr/lib/nagios/plugins/check_nrpe");
        command.args(["-H", "127.0.0.1", "-c", "portledger", "-t", "30"]);
        finish(command)
    };
    let told = ask();
    let first = told.stdout.lines().next().unwrap();
    assert_eq!(told.code, 2, "{told:?}");
    assert!(first.starts_with("PORTLEDGER CRITICAL: 1 critical drift of port=8080: "), "{told:?}");
    assert_eq!((first.matches('|').count(), told.stdout.matches('|').count()), (1, 1), "{told:?}");
    assert!(first.contains("'listeners'=1;;;0 "), "{told:?}");
    assert!(told.stdout.contains("\n  id       s1-"), "{told:?}");
    drop(serve);
    assert_eq!(ask().code, 3);
}

/// Centreon's own programs ask NRPE, and read what stands behind `|`; its discovery has the form that ours has.
#[test]
fn centreon_reads_it() {
    if !installed(&["setpriv", "nrpe", "python3", "centreon_plugins.pl"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let _nrpe = start_nrpe(&host, &format!("{PORTLEDGER} check --as centreon"), &["-n"]);
    let (_serve, _puppet) = attacked(&host);
    let said = check(
        &host,
        &["--as", "centreon", "--filter-port", "8080", "--filter-program", "", "--warning-drift-info", ""],
    );
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.stdout.starts_with("CRITICAL: 1 critical drift of port=8080: "), "{said:?}");
    for figure in [
        "'drift.critical.count'=1;0;0;0 ",
        "'portledger.listeners.count'=1;;;0 ",
        "'sockets#portledger.coverage.percentage'=100%;;;0;100",
    ] {
        assert!(said.stdout.contains(figure), "{figure}: {said:?}");
    }

    let format = labels(&host, &check(&host, &["--disco-format"]).stdout);
    let shown = labels(&host, &check(&host, &["--disco-show"]).stdout);
    let theirs = |option: &str| {
        let mut command = host.command(CENTREON);
        command.args(["--plugin=os::linux::local::plugin", "--mode=list-storages", option]);
        finish(command)
    };
    let (their_format, their_shown) = (theirs("--disco-format"), theirs("--disco-show"));
    if their_format.code == 0 && their_format.stdout.starts_with("<?xml") {
        let names = |of: &[Value]| {
            of.iter().map(|entry| entry["tag"].clone()).collect::<std::collections::HashSet<_>>().len()
        };
        assert_eq!(format[0]["tag"], labels(&host, &their_format.stdout)[0]["tag"]);
        assert_eq!(shown[0]["tag"], labels(&host, &their_shown.stdout)[0]["tag"]);
        assert_eq!((names(&format), names(&shown)), (1, 1));
    }
    let keys: Vec<&str> = format.iter().map(|element| element["text"].as_str().unwrap()).collect();
    for label in &shown {
        let attributes = label["attributes"].as_object().unwrap();
        assert!(keys.iter().all(|key| attributes.contains_key(*key)), "{label}");
        assert_eq!(attributes.len(), keys.len(), "{label}");
    }
    let hostile = shown.iter().find(|label| label["attributes"]["port"] == "8080").unwrap();
    let program = hostile["attributes"]["program"].as_str().unwrap();
    assert!(program.ends_with("/a;b|c='1'$HOSTNAME$]]><x>\\x0a%s\\x1b[2J\"\\u{e9}\\x5c"), "{program}");

    let mut ask = host.command(CENTREON);
    ask.args([
        "--plugin=apps::protocols::nrpe::plugin",
        "--custommode=nrpe",
        "--mode=query",
        "--hostname=127.0.0.1",
    ]);
    ask.args(["--command=portledger", "--nrpe-parse-output", "--nrpe-version=4", "--nrpe-payload=8192"]);
    let told = finish(ask);
    if (told.stdout.clone() + &told.stderr).contains("you may need to install") {
        return crate::world::skip("Centreon's NRPE has not all of its Perl modules");
    }
    assert_eq!(told.code, 2, "{told:?}");
    assert!(told.stdout.starts_with("CRITICAL: 1 critical drift: unapproved tcp *:8080 "), "{told:?}");
    for figure in [
        "'drift.critical.count'=1",
        "'sockets#portledger.coverage.percentage'=100%",
        "'portledger.sensor.age.seconds'=",
    ] {
        assert!(told.stdout.contains(figure), "{figure}: {told:?}");
    }
}

/// What stands below the root of a document, as Python reads it.
fn labels(host: &Host, xml: &str) -> Vec<Value> {
    let path = host.path("log/parsed.xml");
    fs::write(&path, xml).unwrap();
    parsed(host, &path.display().to_string(), "list(root)")
}

fn parsed(host: &Host, path: &str, elements: &str) -> Vec<Value> {
    let mut python = host.command("python3");
    python.args([
        "-c",
        "import sys, json, xml.etree.ElementTree as x\n\
         def told(e): return dict(tag=e.tag, text=e.text, attributes=e.attrib, parts={c.tag: c.text for c in e})\n\
         root = x.parse(sys.argv[1]).getroot()\n\
         print(json.dumps([told(e) for e in eval(sys.argv[2])]))",
        path,
        elements,
    ]);
    let told = finish(python);
    assert_eq!(told.code, 0, "{told:?} {}", fs::read_to_string(path).unwrap_or_default());
    serde_json::from_str(&told.stdout).unwrap()
}

/// What the agent of Pandora FMS writes for its server.
fn pandora_writes(host: &Host, name: &str) -> String {
    let folder = folder(host, name);
    fs::write(
        host.path(name).join("pandora_agent.conf"),
        format!(
            "server_ip 127.0.0.1\nserver_path {folder}\ntemporal {folder}\nlogfile {folder}/pandora_agent.log\ninterval 300\n\
             debug 1\nagent_name web-17\ntransfer_mode local\nmodule_plugin {PORTLEDGER} check --as pandora\n"
        ),
    )
    .unwrap();
    let mut agent = as_nobody(host, "/usr/sbin/pandora_agent");
    agent.arg(&folder);
    let told = finish(agent);
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let data = files.filter(|path| path.extension().is_some_and(|name| name == "data")).collect::<Vec<_>>();
    assert_eq!(data.len(), 1, "{told:?}");
    data[0].display().to_string()
}

/// The modules of a file of data, by name: type, value, and from where on it is critical.
fn modules(host: &Host, data: &str) -> BTreeMap<String, [String; 3]> {
    let of = |module: &Value, part: &str| module["parts"][part].as_str().unwrap_or_default().to_owned();
    parsed(host, data, "root.iter('module')")
        .iter()
        .map(|module| (of(module, "name"), ["type", "data", "min_critical"].map(|part| of(module, part))))
        .collect()
}

#[test]
fn pandora_runs_it() {
    if !installed(&["setpriv", "pandora_agent", "python3"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let (serve, puppet) = attacked(&host);
    let data = pandora_writes(&host, "pandora");
    let told = modules(&host, &data);
    let module = |name: &str| {
        told.get(name).unwrap_or_else(|| panic!("{name}: {told:#?}")).each_ref().map(String::as_str)
    };
    assert_eq!(module("Portledger known"), ["generic_proc", "1", ""]);
    assert_eq!(module("Portledger approved"), ["generic_proc", "0", ""]);
    assert_eq!(module("Portledger drift critical"), ["generic_data", "1", "1"]);
    assert_eq!(module("Portledger coverage sockets"), ["generic_data", "100", ""]);
    assert!(
        module("Portledger verdict")[1].starts_with("CRITICAL: 1 critical drift: unapproved tcp *:8080 "),
        "{told:#?}"
    );
    let inventory = parsed(&host, &data, "root.iter('inventory_module')");
    assert_eq!(inventory[0]["parts"]["name"], "Portledger listeners");
    let rows = parsed(&host, &data, "root.findall('inventory/inventory_module/datalist/data')");
    let texts: Vec<&str> = rows.iter().map(|row| row["text"].as_str().unwrap()).collect();
    assert!(texts.iter().all(|text| text.split(';').count() == 9), "{texts:?}");
    let hostile = texts.iter().find(|text| text.starts_with("tcp;0.0.0.0;8080;host;")).unwrap();
    assert!(
        hostile.contains("/a\\x3bb|c='1'$HOSTNAME$]]><x>\\x0a%s\\x1b[2J\"\\u{e9}\\x5c;root;"),
        "{hostile}"
    );

    drop((puppet, serve));
    let told = modules(&host, &pandora_writes(&host, "pandora-later"));
    assert_eq!(told["Portledger known"][1], "0", "{told:#?}");
    assert!(told["Portledger verdict"][1].starts_with("UNKNOWN: /run/portledger/api.sock: "), "{told:#?}");
    // The server takes for unknown what has no value.
    assert_eq!(told.len(), 2, "{told:#?}");

    let wrong = check(&host, &["--nonsense", "--as", "pandora"]);
    assert_eq!(wrong.code, 0);
    assert!(wrong.stdout.starts_with("<module>") && wrong.stdout.contains("UNKNOWN: error: "), "{wrong:?}");
}

#[test]
fn one_look_says_what_it_did_not_see() {
    if !installed(&["setpriv"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let look = || host.run(&["check", "--one-shot", "--timeout", "60"]);
    let told = look();
    assert!(told.code == 3 && told.stdout.contains("no baseline is in force"), "{told:?}");
    let _sshd = host.listen("tcp 0.0.0.0:22").by("sshd");
    host.learn();
    let told = look();
    let nothing =
        "PORTLEDGER OK: no drift; looked once, what is gone is not known: no `serve` keeps it here | ";
    assert!(told.code == 0 && told.stdout.starts_with(nothing), "{told:?}");
    let filtered = ["check", "--one-shot", "--timeout", "60", "--filter", "port=23"];
    let powerless = finish(host.portledger_with(&[], &filtered));
    assert_eq!(powerless.code, 3, "{powerless:?}");
    assert!(powerless.stdout.contains("no drift in what was seen of port=23, but"), "{powerless:?}");
    let nobody = finish(host.portledger_as(NOBODY, &filtered));
    assert_eq!(nobody.code, 3, "{nobody:?}");
    assert!(nobody.stdout.contains(": this host could not be looked at: "), "{nobody:?}");
}

#[test]
fn one_look_tells_what_the_daemon_would() {
    if !installed(&["setpriv"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let look =
        |arguments: &[&str]| host.run(&[&["check", "--one-shot", "--timeout", "60"], arguments].concat());
    let (serve, puppet) = attacked(&host);
    for arguments in [&[][..], &["--filter", "port=8080"], &["--as", "centreon"]] {
        let (once, daemon) = (look(arguments), check(&host, arguments));
        assert_eq!((once.code, daemon.code), (2, 2), "{once:?} {daemon:?}");
        let lines = [&once, &daemon].map(|told| told.stdout.split_once("; ").unwrap().0.to_owned());
        assert_eq!(lines[0], lines[1]);
    }
    assert_eq!(look(&["--filter", "port=8081"]).code, 0);
    assert_eq!(check(&host, &["--filter", "port=8081"]).code, 0);
    let drift = serve.drifts().on(8080).id();
    puppet.ends();
    eventually("it is gone", || serve.drifts().find(8080).filter(|row| row.get("state") == "gone"));
    let gone = eventually("that is written down", || {
        Some(look(&[])).filter(|told| told.stdout.contains("(1 gone)"))
    });
    assert_eq!(gone.code, 2, "{gone:?}");
    serve.running.kill();
    // Whoever lets it be is heard without a daemon.
    assert_eq!(look(&[]).code, 2);
    host.does(&["dismiss", &drift, "--reason", "it was a test"]);
    let told = look(&[]);
    assert!(told.code == 0 && told.stdout.starts_with("PORTLEDGER OK: no drift; looked once | "), "{told:?}");
}
