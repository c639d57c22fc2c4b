use std::path::Path;

use anyhow::Context;
use baseline::{LockedFile, SourceText, format, shown_path};

use super::Repository;
use crate::arguments::{FormatOptions, Shared};
use crate::editing::PATIENCE;
use crate::outcome::Outcome;
use crate::say;

/// Brings files into their one form. All are looked at before one is written.
pub(crate) fn run(shared: &Shared, options: &FormatOptions) -> anyhow::Result<Outcome> {
    let mut differing = Vec::new();
    let mut files = 0;
    for repository in Repository::named(shared, &options.paths)? {
        for source in repository.read()? {
            files += 1;
            let formatted = formatted(&source)?;
            if formatted != source.text {
                differing.push(source.path);
            }
        }
    }
    for path in &differing {
        let shown = shown_path(path);
        if options.check {
            say::out(format_args!("{shown}: not in its form: run `portledger baseline format {shown}`"))?;
        } else {
            write(path)?;
            say::out(format_args!("{shown}: written"))?;
        }
    }
    say::aside(format_args!("{} of {files} files in their form", files - differing.len()));
    Ok(if options.check && !differing.is_empty() { Outcome::Drift } else { Outcome::Clean })
}

fn formatted(source: &SourceText) -> anyhow::Result<String> {
    format(source).with_context(|| format!("{}: left as it is", shown_path(&source.path)))
}

/// As it is now: somebody may have written to it since it was looked at.
fn write(path: &Path) -> anyhow::Result<()> {
    let file = LockedFile::open_of_anybody(path, PATIENCE)?;
    let text = formatted(&file.source())?;
    file.replace(&text)?;
    Ok(())
}
