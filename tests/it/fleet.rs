//! Baselines for many hosts, as files: none of it looks at a host, but for where an inventory comes from.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::world::{Host, Told, finish};

/// A checkout with a baseline and inventories.
struct Checkout {
    folder: tempfile::TempDir,
}

impl Checkout {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("portledger-it-").tempdir().unwrap();
        fs::create_dir(folder.path().join("inv")).unwrap();
        let checkout = Checkout { folder };
        checkout.write("none/portledger.toml", "");
        checkout
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> &Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// What a host of these groups printed on which nginx listens.
    fn inventory(&self, name: &str, groups: &[&str], ports: &[u16]) -> &Self {
        self.write(&format!("inv/{name}.json"), inventory(name, groups, ports).to_string())
    }

    /// Runs `portledger` in the folder, where nothing is installed.
    fn run(&self, arguments: &[&str]) -> Told {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portledger"));
        command.current_dir(self.folder.path()).args(arguments);
        command.arg("--config").arg(self.path("none/portledger.toml"));
        command.arg("--state").arg(self.path("state"));
        finish(command)
    }

    #[track_caller]
    fn ends(&self, code: i32, arguments: &[&str]) -> Told {
        let told = self.run(arguments);
        assert_eq!(told.code, code, "{arguments:?}: {told:?}");
        told
    }

    fn json(&self, code: i32, arguments: &[&str]) -> Value {
        let told = self.ends(code, &[arguments, &["--format", "json"]].concat());
        serde_json::from_str(&told.stdout).unwrap()
    }
}

fn inventory(name: &str, groups: &[&str], ports: &[u16]) -> Value {
    let listeners: Vec<Value> = ports.iter().map(|port| listener(name, *port)).collect();
    json!({
        "schema": 1, "host": name, "name": name, "groups": groups, "taken_at": "2026-11-21T09:00:00.000Z",
        "filtered": false, "listeners": listeners, "members": {}, "gaps": [],
    })
}

fn listener(host: &str, port: u16) -> Value {
    let pid = 1000 + host.bytes().map(u32::from).sum::<u32>();
    json!({
        "protocol": "tcp", "address": "0.0.0.0", "port": port, "device": null, "cookie": port, "inode": port,
        "netns": { "kind": "host", "name": "host", "cookie": 1 }, "ipv6_only": null, "reuse_port": false,
        "backlog": 128, "socket_uid": 0, "reach": "public", "port_choice": "explicit", "peer": null, "published": [],
        "since": null, "unattributed": null,
        "holders": [{
            "pid": pid, "started_at": "2026-11-20T09:00:00.000Z", "program": "/usr/sbin/nginx", "file": "host",
            "sha256": null, "name": "nginx", "arguments": ["nginx"], "uid": 0, "user": "root",
            "workload": { "kind": "unit", "name": "nginx.service", "image": null, "service": null },
        }],
    })
}

const WEB: &str = "[[approval]]\nid = \"web\"\nlisten = \"tcp/*:80\"\nprogram = \"/usr/sbin/nginx\"\n\
                   reason = \"the shop\"\nby = \"alice\"\n";

/// Whoever made it could have any file of who works in it read, printed or written.
#[test]
fn no_link_of_a_checkout_is_followed() {
    use std::os::unix::fs::symlink;
    let checkout = Checkout::new();
    checkout.write("elsewhere/token", "the_secret_token\n").write("co/baseline.toml", WEB);
    checkout.inventory("web-1", &[], &[80]);
    let refused = |named: &str, verb: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portledger"));
        command.current_dir(checkout.path("co")).args(verb);
        command.arg("--config").arg(checkout.path("none/portledger.toml"));
        command.arg("--state").arg(checkout.path("state"));
        let told = finish(command);
        let text = format!("{}{}", told.stdout, told.stderr);
        assert_ne!(told.code, 0, "{verb:?}: {told:?}");
        assert!(text.contains(named) && text.contains("symbolic link"), "{verb:?}: {told:?}");
        assert!(!text.contains("secret"), "{verb:?}: {told:?}");
    };
    let verbs: [&[&str]; 6] = [
        &["baseline", "check"],
        &["baseline", "explain", "tcp/80", "--inventory", "../inv/web-1.json"],
        &["baseline", "plan", "--old", "../none", "--new", ".", "--inventory", "../inv/web-1.json"],
        &["baseline", "format"],
        &["learn", "--from", "../inv/web-1.json", "--stdout"],
        &["learn", "--from", "../inv/web-1.json", "--file", "baseline.d/new.toml"],
    ];
    fs::create_dir(checkout.path("co/baseline.d")).unwrap();
    symlink(checkout.path("elsewhere/token"), checkout.path("co/baseline.d/z.toml")).unwrap();
    verbs.iter().for_each(|verb| refused("baseline.d/z.toml", verb));
    refused("baseline.d/z.toml", &["baseline", "check", "baseline.d/z.toml"]);

    fs::remove_dir_all(checkout.path("co/baseline.d")).unwrap();
    let loose = WEB.replace(" = ", "   = ").replace("\"web\"", "\"other\"");
    checkout.write("elsewhere/d/v.toml", &loose);
    symlink(checkout.path("elsewhere/d"), checkout.path("co/baseline.d")).unwrap();
    verbs.iter().for_each(|verb| refused("baseline.d", verb));
    refused("baseline.d", &["baseline", "format", "baseline.d/v.toml"]);
    let new = ["--file", "baseline.d/new.toml", "--reason", "x"];
    let approve = ["approve", "s1-0", "--inventory", "../inv/web-1.json"];
    refused("baseline.d", &[&approve[..], &new].concat());
    assert_eq!(checkout.read("elsewhere/d/v.toml"), loose);
    assert_eq!(fs::read_dir(checkout.path("elsewhere/d")).unwrap().count(), 1);

    // What is installed may be kept elsewhere.
    fs::remove_file(checkout.path("co/baseline.d")).unwrap();
    symlink(checkout.path("co/baseline.toml"), checkout.path("none/baseline.toml")).unwrap();
    checkout.ends(0, &["baseline", "check"]);
}

#[test]
fn a_checkout_is_checked_without_a_host() {
    let checkout = Checkout::new();
    let told = checkout.ends(2, &["baseline", "check"]);
    assert!(told.stderr.contains("there is no baseline"), "{told:?}");
    checkout.write("baseline.toml", WEB).write("baseline.d/b.toml", WEB.replace("\"web\"", "\"web2\""));
    fs::set_permissions(checkout.path("baseline.toml"), fs::Permissions::from_mode(0o666)).unwrap();
    let told = checkout.ends(0, &["baseline", "check"]);
    assert!(told.stdout.contains("baseline.d/b.toml:2:6: warning: `web2` covers nothing"), "{told:?}");
    assert!(told.stdout.ends_with("2 approvals in 2 files: 0 mistakes, 1 warning\n"), "{told:?}");
    assert!(told.stderr.contains("others can write to baseline.toml"), "{told:?}");
    checkout.ends(1, &["baseline", "check", "--strict"]);
    checkout.ends(0, &["baseline", "check", "--strict", "baseline.toml"]);
    checkout.write("baseline.d/c.toml", "[[approval]]\nid = \"c\"\nlisten = \"tcp/*:99999\"\n");
    let told = checkout.ends(1, &["baseline", "check", "."]);
    assert!(told.stdout.contains("./baseline.d/c.toml:3:10: `listen`: `99999` is no port"), "{told:?}");
    let document = checkout.json(1, &["baseline", "check"]);
    let first = &document["diagnostics"][0];
    assert_eq!(
        (&first["severity"], &first["line"], &first["column"]),
        (&json!("error"), &json!(3), &json!(10))
    );
    checkout.ends(2, &["baseline", "check", "nowhere.toml"]);
    checkout.write("b\nad.toml", "\u{1b}");
    assert!(!checkout.ends(1, &["baseline", "check", "b\nad.toml"]).stdout.contains('\u{1b}'));
}

#[test]
fn files_are_brought_into_their_form_and_left_alone_where_that_would_lose_something() {
    let checkout = Checkout::new();
    let odd =
        "# about nginx\n[[approval]]\nreason='r' # kept\nlisten = [\n'tcp/*:80' ]\nid='a'\nuser=\"root\"\n";
    checkout.write("baseline.toml", odd).write("baseline.d/good.toml", WEB);
    let told = checkout.ends(1, &["baseline", "format", "--check"]);
    assert!(told.stdout.contains("baseline.toml") && !told.stdout.contains("good.toml"), "{told:?}");
    assert_eq!(checkout.read("baseline.toml"), odd);
    checkout.ends(0, &["baseline", "format"]);
    let expected = "# about nginx\n[[approval]]\nid = \"a\"\nlisten = \"tcp/*:80\"\nuser = \"root\"\nreason = \"r\" # kept\n";
    assert_eq!(checkout.read("baseline.toml"), expected);
    checkout.ends(0, &["baseline", "format", "--check"]);
    let broken = "[[approval]]\nid = \"b\"\n";
    checkout.write("baseline.d/broken.toml", broken).write("baseline.toml", odd);
    let told = checkout.ends(2, &["baseline", "format"]);
    assert!(told.stderr.contains("broken.toml:1:"), "{told:?}");
    assert_eq!(
        (checkout.read("baseline.toml"), checkout.read("baseline.d/broken.toml")),
        (odd.into(), broken.into())
    );
}

#[test]
fn a_change_is_told_by_the_hosts_that_it_changes() {
    let checkout = Checkout::new();
    for number in 1..=12 {
        checkout.inventory(&format!("web-{number:03}"), &["web"], &[80, 443]);
    }
    checkout.inventory("db-1", &["db"], &[80]);
    let tls = WEB.replace("\"web\"", "\"tls\"").replace("80", "443");
    checkout
        .write("old/baseline.toml", WEB)
        .write("new/baseline.toml", format!("{WEB}hosts = \"@web\"\n\n{tls}"));
    let plan = ["baseline", "plan", "--old", "old", "--new", "new", "--inventory", "inv/*.json"];
    let told = checkout.ends(1, &plan);
    let expected = "worse: approved by web -> drift unapproved, critical\n  \
                    tcp/*:80 by /usr/sbin/nginx as root, nginx.service\n      no approval speaks of it\n    on db-1\n\n\
                    better: drift unapproved, critical -> approved by tls\n  \
                    tcp/*:443 by /usr/sbin/nginx as root, nginx.service\n    on web-001..web-012 (12 hosts)\n\n\
                    1 worse, 0 otherwise, 12 better, 12 unchanged, of 25 services on 13 hosts\n";
    assert_eq!(told.stdout, expected);
    let document = checkout.json(1, &plan);
    assert_eq!(document["changes"][1]["services"][0]["hosts"].as_array().unwrap().len(), 12);
    checkout.ends(0, &["baseline", "plan", "--old", "old", "--new", "old", "--inventory", "inv/db-1.json"]);
    let mut gap = inventory("db-2", &["db"], &[]);
    gap["gaps"] = json!([{ "collector": "procfs", "scope": "holders", "protocol": null, "netns": null,
                           "netns_kind": null, "reason": "refused" }]);
    checkout.write("inv/db-2.json", gap.to_string());
    checkout.ends(3, &["baseline", "plan", "--old", "old", "--new", "old", "--inventory", "inv/db-*.json"]);
    let told =
        checkout.ends(2, &["baseline", "plan", "--old", "old", "--new", "gone", "--inventory", "inv/*"]);
    assert!(told.stderr.contains("gone/baseline.toml"), "{told:?}");
    for wrong in ["inv", "inv/*.yaml", "inv/nobody.json", "old/baseline.toml"] {
        let told =
            checkout.ends(2, &["baseline", "plan", "--old", "old", "--new", "new", "--inventory", wrong]);
        assert!(told.stderr.contains(wrong), "{told:?}");
    }
}

#[test]
fn why_a_host_judges_so_is_explained_elsewhere() {
    let checkout = Checkout::new();
    let narrow = format!("{WEB}reach = \"private\"\n\n{}hosts = \"@db\"\n", WEB.replace("\"web\"", "\"db\""));
    checkout.write("baseline.toml", narrow).inventory("web-001", &["web"], &[80]);
    let explain = |code, endpoint: &str| {
        checkout.ends(code, &["baseline", "explain", endpoint, "--inventory", "inv/web-001.json"]).stdout
    };
    let told = explain(0, "80");
    for line in [
        "tcp/0.0.0.0:80, public reach\n",
        "  verdict  drift widened, critical\n",
        "  web: speaks of it, and does not cover it\n    reach is public, approved up to private\n",
        "  db: not for this host: hosts = @db\n",
    ] {
        assert!(told.contains(line), "{line} in {told}");
    }
    let told = explain(1, "tcp/*:81");
    assert_eq!(told, "Nothing listens there.\nNo approval speaks of it.\n");
    let arguments = ["baseline", "explain", "80", "--inventory", "inv/web-001.json"];
    let document = checkout.json(0, &arguments);
    assert_eq!(document["services"][0]["approvals"][0]["regard"], "speaks");
    checkout.ends(2, &["baseline", "explain", "tcp/x", "--inventory", "inv/web-001.json"]);
    checkout.ends(2, &["baseline", "explain", "80", "--inventory", "inv/nobody.json"]);
}

#[test]
fn many_hosts_are_learned_from_as_one() {
    let checkout = Checkout::new();
    checkout.inventory("web-001", &["web"], &[80, 443]).inventory("web-002", &["web"], &[80, 443]);
    checkout.inventory("db-1", &["db"], &[80]).write("baseline.toml", WEB);
    let learn = ["learn", "--from", "inv/*.json", "--file", "baseline.d/learned.toml"];
    let told = checkout.ends(0, &learn);
    assert!(told.stdout.contains("1 approvals learned from 3 hosts"), "{told:?}");
    let learned = checkout.read("baseline.d/learned.toml");
    assert!(
        learned.contains("listen = \"tcp/0.0.0.0:443\"") && learned.contains("hosts = \"@web\""),
        "{learned}"
    );
    assert!(!learned.contains(":80"), "what the baseline covers is not learned: {learned}");
    checkout.ends(0, &["baseline", "format", "--check"]);
    let told = checkout.ends(2, &learn);
    assert!(told.stderr.contains("it is there already"), "{told:?}");
    let told = checkout.ends(0, &["learn", "--stdout", "--from", "inv/web-002.json", "inv/web-001.json"]);
    assert!(!told.stdout.contains("[[approval]]"), "{told:?}");
}

#[test]
fn two_hosts_of_one_name_are_refused_and_of_two_looks_the_newer_counts() {
    let checkout = Checkout::new();
    let mut later = inventory("web-001", &["web"], &[80, 443]);
    later["taken_at"] = json!("2026-11-22T09:00:00.000Z");
    checkout.inventory("web-001", &["web"], &[80]).write("inv/again.json", later.to_string());
    let learn = ["learn", "--stdout", "--from", "inv/*.json"];
    let told = checkout.ends(0, &learn);
    assert!(told.stdout.contains(":443") && told.stderr.contains("inv/web-001.json is left out"), "{told:?}");
    later["listeners"][0]["holders"][0]["pid"] = json!(7);
    later["listeners"][1]["holders"][0]["pid"] = json!(7);
    checkout.write("inv/again.json", later.to_string());
    let told = checkout.ends(2, &learn);
    assert!(
        told.stderr.contains("both of a host `web-001`") && told.stderr.contains("inv/again.json"),
        "{told:?}"
    );
}

/// What a host prints is all that its verdicts are made of.
#[test]
fn what_a_host_printed_is_judged_elsewhere_as_there() {
    let Some(host) = Host::new() else { return };
    host.write("etc/portledger.toml", "host = \"web-017\"\ngroups = [\"web\", \"dmz\"]\n");
    let _web = host.listen("tcp 0.0.0.0:80; tcp [::]:80 v6only; udp 127.0.0.1:53").user(101).by("web");
    let listing = host.list();
    assert_eq!(listing.document["groups"], json!(["dmz", "web"]));
    assert_eq!(listing.document["name"], "web-017");
    let checkout = Checkout::new();
    let printed = listing.document.to_string();
    checkout.write("inv/web-017.json", &printed);
    checkout.ends(0, &["learn", "--from", "inv/web-017.json", "--file", "baseline.toml"]);
    let learned = checkout.read("baseline.toml");
    assert!(learned.contains("hosts = \"@dmz\""), "{learned}");
    host.write("etc/baseline.toml", &learned);
    host.diff().is_clean();
    checkout.write("none/baseline.toml", "");
    let plan = ["baseline", "plan", "--old", "none", "--new", ".", "--inventory", "inv/*.json"];
    assert_eq!(checkout.json(0, &plan)["changes"].as_array().unwrap().len(), listing_programs(&learned));
    let told = host.run(&["list", "--format", "json", "--filter", "port=80"]);
    checkout.write("inv/web-017.json", &told.stdout);
    assert!(checkout.ends(2, &plan).stderr.contains("--filter"));
}

/// Each approval takes its own part of the drift.
fn listing_programs(learned: &str) -> usize {
    learned.matches("[[approval]]").count()
}
