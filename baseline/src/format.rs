mod layout;

use toml_parser::Source;
use toml_parser::lexer::TokenKind;

use self::layout::Layout;
use crate::{Baseline, Diagnostic, SourceText, Trust, parse};

/// Why a file was not brought into its form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// It cannot be read as a baseline.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Broken(Vec<Diagnostic>),
    /// It says a table in another way than `[defaults]`, `[[approval]]`, `[[scope]]` or `[[revoked]]`.
    #[error(
        "{place}: write each as a table of its own, `[defaults]`, `[[approval]]`, `[[scope]]` or `[[revoked]]`, with plain keys"
    )]
    Unusual {
        /// `path:line:column`.
        place: String,
    },
    /// It would mean something else afterwards, or lack a comment: a fault of this program.
    #[error(
        "{path}: it is left alone, for in its form it would not mean the same; please report it with the file"
    )]
    Changed {
        /// The file.
        path: String,
    },
}

/// A file in the one form that all files are to have: keys in the order of [`crate::edit::render`], lists, quotes and
/// blanks as there, one blank line between tables. Comments stay with what they stand at, tables in their order.
pub fn format(file: &SourceText) -> Result<String, FormatError> {
    // What signatures are worth is of no interest.
    let trust = Trust::in_everybody(jiff::tz::TimeZone::UTC);
    let before = parse(std::slice::from_ref(file), &trust).map_err(FormatError::Broken)?;
    let layout = Layout::of(file).map_err(|at| FormatError::Unusual { place: at.place() })?;
    let formatted = SourceText { path: file.path.clone(), text: layout.to_string() };
    let changed = || FormatError::Changed { path: crate::shown_path(&file.path).escaped() };
    let after = parse(std::slice::from_ref(&formatted), &trust).map_err(|_| changed())?;
    let all = |baseline: &Baseline| {
        (baseline.approvals().to_vec(), baseline.scopes().to_vec(), baseline.revocations().to_vec())
    };
    let same = all(&before) == all(&after);
    match same && comments(&file.text) == comments(&formatted.text) {
        true => Ok(formatted.text),
        false => Err(changed()),
    }
}

/// All comments, in no order: keys take theirs along.
fn comments(text: &str) -> Vec<&str> {
    let tokens = Source::new(text).lex().filter(|token| token.kind() == TokenKind::Comment);
    let comments = tokens.filter_map(|token| text.get(token.span().start()..token.span().end()));
    let mut comments: Vec<&str> = comments.map(str::trim_end).collect();
    comments.sort_unstable();
    comments
}
