use crate::Pattern;

/// Programs that do what a file or an argument tells them, without the version that may follow the name.
const INTERPRETERS: [&str; 32] = [
    "ash", "awk", "bash", "beam.smp", "bun", "busybox", "csh", "dash", "deno", "dotnet", "fish", "gawk",
    "gjs", "guile", "java", "jruby", "jsvc", "ksh", "lua", "luajit", "mono", "node", "nodejs", "perl", "php",
    "pypy", "python", "ruby", "sh", "tclsh", "tcsh", "zsh",
];
/// What is tried against a glob to see whether it takes in a versioned name.
const VERSIONS: [&str; 6] = ["", "3", "3.11", "3.13", "5.4", "8.2"];

/// Whether a program of this path is an interpreter.
pub(crate) fn is_interpreter(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let plain = name.trim_end_matches(|last: char| last.is_ascii_digit() || last == '.' || last == '-');
    INTERPRETERS.contains(&name) || INTERPRETERS.contains(&plain)
}

/// Whether some interpreter's path would match.
pub(crate) fn takes_in_interpreter(pattern: &Pattern) -> bool {
    if let Some(literal) = pattern.literal() {
        return is_interpreter(literal);
    }
    let name = pattern.as_str().rsplit('/').next().unwrap_or_default();
    let Ok(name) = Pattern::new(name) else { return false };
    let mut names = INTERPRETERS.iter().flat_map(|name| VERSIONS.map(|version| format!("{name}{version}")));
    names.any(|candidate| name.matches(&candidate))
}
