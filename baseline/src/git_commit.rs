use std::path::{Path, PathBuf};

use crate::store::read_plain;

/// Names of files of git are short, and `packed-refs` of a repository for baselines is not large.
const MAX: u64 = 1 << 20;
/// A folder that deep is no checkout.
const DEEPEST: usize = 32;

/// The commit that the checkout around this file stands at (gitrepository-layout(5)); `None` where there is none, where
/// it has no commit yet, or where it is not for us to read. Whether the file differs from it is not looked at.
pub fn git_commit(file: &Path) -> Option<String> {
    let git = git_folder(&git_around(file)?)?;
    let head = read(&git.join("HEAD"))?;
    match head.strip_prefix("ref: ") {
        Some(name) => resolve(&git, name.trim()),
        None => commit(head.trim()),
    }
}

/// What [`git_commit`] reads to tell it: files and folders of git, of the whole repository.
pub fn git_places(file: &Path) -> Vec<PathBuf> {
    let Some(around) = git_around(file) else { return Vec::new() };
    let git = git_folder(&around);
    let common = git.as_ref().and_then(|git| Some(git.join(read(&git.join("commondir"))?.trim_end())));
    [Some(around), git, common].into_iter().flatten().collect()
}

fn git_around(file: &Path) -> Option<PathBuf> {
    let folder = std::path::absolute(file).ok()?;
    let mut found = folder.ancestors().skip(1).take(DEEPEST).map(|folder| folder.join(".git"));
    found.find(|git| git.exists())
}

/// In a worktree or a submodule `.git` is a file that says where.
fn git_folder(git: &Path) -> Option<PathBuf> {
    if git.is_dir() {
        return Some(git.to_owned());
    }
    let text = read(git)?;
    let path = text.strip_prefix("gitdir: ")?.trim_end();
    Some(git.parent()?.join(path))
}

fn resolve(git: &Path, name: &str) -> Option<String> {
    let plain = name.starts_with("refs/") && !name.split('/').any(|part| part == "..");
    if !plain {
        return None;
    }
    // The branches of a worktree are those of the repository.
    let common = read(&git.join("commondir")).map(|path| git.join(path.trim_end()));
    [Some(git.to_owned()), common].into_iter().flatten().find_map(|git| {
        let loose = read(&git.join(name)).and_then(|text| commit(text.trim()));
        loose.or_else(|| packed(&git, name))
    })
}

fn packed(git: &Path, name: &str) -> Option<String> {
    packed_in(&read(&git.join("packed-refs"))?, name)
}

fn packed_in(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.split_once(' ').is_some_and(|(_, known)| known == name))?;
    commit(line.split_once(' ')?.0)
}

/// SHA-1 or SHA-256 in hexadecimal.
fn commit(text: &str) -> Option<String> {
    let hexadecimal = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (hexadecimal && matches!(text.len(), 40 | 64)).then(|| text.to_owned())
}

fn read(path: &Path) -> Option<String> {
    String::from_utf8(read_plain(path, MAX).ok()?).ok()
}

/// A file of git, of either kind that a commit is looked for in.
#[cfg(any(test, fuzzing))]
pub fn fuzzed(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    for found in [commit(text.trim()), packed_in(text, "refs/heads/main")].into_iter().flatten() {
        assert!(
            matches!(found.len(), 40 | 64) && found.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{found}"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn git(folder: &Path, arguments: &[&str]) -> String {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]);
        let output = git.args(arguments).current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    #[test]
    fn tells_what_git_tells() {
        if Command::new("git").arg("--version").output().is_err() {
            return eprintln!("SKIP tells_what_git_tells: no git (package git)");
        }
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("checkout");
        std::fs::create_dir_all(folder.join("baseline.d")).unwrap();
        let file = folder.join("baseline.d/web.toml");
        assert_eq!(git_commit(&file), None, "no repository");
        git(&folder, &["init", "--quiet"]);
        assert_eq!(git_commit(&file), None, "no commit yet");
        git(&folder, &["commit", "--quiet", "--allow-empty", "-m", "one"]);
        let told = || Some(git(&folder, &["rev-parse", "HEAD"]));
        assert_eq!(git_commit(&file), told(), "a branch");
        git(&folder, &["pack-refs", "--all"]);
        assert_eq!(git_commit(&file), told(), "packed");
        git(&folder, &["checkout", "--quiet", "--detach"]);
        assert_eq!(git_commit(&file), told(), "detached");
        git(&folder, &["worktree", "add", "--quiet", "-b", "other", "../tree"]);
        git(&above.path().join("tree"), &["commit", "--quiet", "--allow-empty", "-m", "two"]);
        let other = git(&above.path().join("tree"), &["rev-parse", "HEAD"]);
        assert_eq!(git_commit(&above.path().join("tree/baseline.toml")), Some(other), "a worktree");
    }
}
