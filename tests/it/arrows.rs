use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The table of ARCHITECTURE.md: which member imports which.
const ARROWS: [(&str, &[&str]); 8] = [
    ("inventory", &[]),
    ("confine", &[]),
    ("sensor", &["confine", "inventory"]),
    ("signing", &[]),
    ("ledger", &[]),
    ("baseline", &["inventory", "signing"]),
    ("exporter", &["baseline", "confine", "inventory", "ledger"]),
    ("portledger", &["baseline", "confine", "exporter", "inventory", "ledger", "sensor", "signing"]),
];

/// Where `unsafe` may stand: the calls that no safe wrapper offers.
fn may_be_unsafe(name: &str) -> bool {
    name == "sensor/src/sys.rs" || name.starts_with("sensor/src/sys/")
}

/// The crates that have no such place.
const ROOTS: [&str; 8] = [
    "confine/src/lib.rs",
    "inventory/src/lib.rs",
    "signing/src/lib.rs",
    "ledger/src/lib.rs",
    "baseline/src/lib.rs",
    "exporter/src/lib.rs",
    "src/main.rs",
    "tests/it/main.rs",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--format-version", "1", "--no-deps", "--offline"]).current_dir(root());
    let output = command.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn members_import_what_the_table_allows() {
    let metadata = metadata();
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        ARROWS.iter().map(|(name, imports)| (*name, imports.iter().copied().collect())).collect();
    let mut found = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let dependencies = package["dependencies"].as_array().unwrap();
        let ours = dependencies.iter().filter(|one| one["path"].is_string());
        let names: BTreeSet<&str> = ours.map(|one| one["name"].as_str().unwrap()).collect();
        found.insert(package["name"].as_str().unwrap(), names);
    }
    assert_eq!(found, allowed);
}

/// Whoever serves HTTP opens no kernel interface, whoever looks at the kernel speaks no HTTP, and deciding does neither.
#[test]
fn members_use_no_crate_of_another_ones_trade() {
    let metadata = metadata();
    for (member, foreign) in [
        ("inventory", &["rustix", "libc", "tokio", "hyper", "procfs", "netstat2"][..]),
        (
            "sensor",
            &["tokio", "hyper", "axum", "nix", "toml", "toml_edit", "prometheus", "rustls", "socket2"],
        ),
        ("confine", &["tokio", "hyper", "axum", "procfs", "netstat2", "nix"]),
        ("signing", &["tokio", "hyper", "axum", "procfs", "netstat2", "pnet_datalink", "nix"]),
        ("ledger", &["tokio", "hyper", "axum", "procfs", "netstat2", "pnet_datalink", "nix"]),
        ("baseline", &["tokio", "hyper", "axum", "procfs", "netstat2", "pnet_datalink", "nix"]),
        ("exporter", &["netstat2", "pnet_datalink"]),
    ] {
        let packages = metadata["packages"].as_array().unwrap();
        let package = packages.iter().find(|package| package["name"] == member).unwrap();
        for dependency in package["dependencies"].as_array().unwrap() {
            let name = dependency["name"].as_str().unwrap();
            assert!(!foreign.contains(&name), "{member} imports {name}");
        }
    }
}

#[test]
fn unsafe_stands_in_the_one_place_for_it() {
    let mut sources = Vec::new();
    for folder in
        ["src", "tests", "inventory", "confine", "sensor", "signing", "ledger", "baseline", "exporter"]
    {
        gather(&root().join(folder), &mut sources);
    }
    assert!(sources.len() > 20, "{sources:?}");
    for path in sources {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        if ROOTS.contains(&name) {
            assert!(text.contains("#![forbid(unsafe_code)]"), "{name} does not forbid unsafe code");
        }
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let used = code.filter(|line| {
            line.contains(concat!("unsafe", " {")) || line.contains(concat!("allow(", "unsafe_code"))
        });
        let used: Vec<&str> = used.collect();
        // Its module line is where the lint is relaxed.
        let relaxed =
            name == "sensor/src/lib.rs" && used.len() <= 1 && !text.contains(concat!("unsafe", " {"));
        assert!(used.is_empty() || may_be_unsafe(name) || relaxed, "{name}: {used:?}");
    }
}

fn gather(folder: &Path, sources: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            gather(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(path);
        }
    }
}
