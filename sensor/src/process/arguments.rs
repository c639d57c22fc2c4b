use inventory::RawText;

use super::dir::{ProcessDir, Unreadable};
use super::redaction::Redaction;

/// What is read of a command line, which may have megabytes.
const READ: usize = 16 << 10;
/// What is kept.
const ARGUMENTS: usize = 64;
const BYTES: usize = 4 << 10;
const CUT: &str = "…";

/// The command line, secrets redacted and cut to a bound; empty for a kernel thread.
pub(super) fn of(process: &ProcessDir, redaction: &Redaction) -> Result<Vec<RawText>, Unreadable> {
    let bytes = process.command_line(READ as u64)?;
    let (arguments, cut) = split(&bytes, bytes.len() >= READ);
    Ok(bounded(redaction.redact(&arguments), cut))
}

/// The arguments, and whether there were more. One that was cut off is left out: whether it holds a secret can only be
/// told of the whole.
fn split(bytes: &[u8], truncated: bool) -> (Vec<&[u8]>, bool) {
    let mut arguments: Vec<&[u8]> = bytes.split(|byte| *byte == 0).collect();
    if truncated && !bytes.ends_with(b"\0") {
        arguments.pop();
    }
    // A program that wrote a title over its arguments leaves zeros where they were longer.
    while arguments.last().is_some_and(|last| last.is_empty()) {
        arguments.pop();
    }
    (arguments, truncated)
}

fn bounded(arguments: Vec<Vec<u8>>, mut cut: bool) -> Vec<RawText> {
    let mut kept = Vec::new();
    let mut left = BYTES - CUT.len();
    for mut argument in arguments {
        if kept.len() == ARGUMENTS - 1 || left == 0 {
            cut = true;
            break;
        }
        if argument.len() > left {
            argument.truncate(left);
            cut = true;
        }
        left -= argument.len();
        kept.push(RawText::new(argument));
    }
    if cut {
        kept.push(RawText::from(CUT));
    }
    kept
}

/// A command line, as long as it is read. What is kept of it is bounded, and no password of a URL is.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzzed(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(READ)];
    let (arguments, cut) = split(bytes, bytes.len() >= READ);
    let redaction = Redaction::with_names(["pin"]);
    let redacted = redaction.redact(&arguments);
    assert_eq!(redacted.len(), arguments.len());
    let kept = bounded(redacted, cut);
    assert!(kept.len() <= ARGUMENTS);
    assert!(kept.iter().map(|argument| argument.as_bytes().len()).sum::<usize>() <= BYTES);
    // In an argument of its own a secret is one whatever it holds.
    let secret = [b"--password=", bytes].concat();
    if !bytes.is_empty() && !bytes.iter().all(u8::is_ascii_whitespace) {
        let hidden = redaction.redact(&[b"sh", &secret]);
        assert_eq!(hidden.last().map(Vec::as_slice), Some(&b"--password=[redacted]"[..]));
    }
}

#[cfg(test)]
mod tests {
    use inventory::RawText;

    use super::{ARGUMENTS, BYTES, bounded, split};

    #[test]
    fn parts_at_zeros_and_leaves_out_what_was_cut_off() {
        assert_eq!(split(b"", false), (vec![], false));
        assert_eq!(split(b"a\0\0b\0", false), (vec![&b"a"[..], b"", b"b"], false));
        assert_eq!(split(b"nginx: master\0\0\0\0", false), (vec![&b"nginx: master"[..]], false));
        assert_eq!(split(b"a\0http://u:pa", true), (vec![&b"a"[..]], true));
        assert_eq!(split(b"a\0b\0", true), (vec![&b"a"[..], b"b"], true));
    }

    #[test]
    fn marks_what_it_cut() {
        let many = bounded(vec![b"x".to_vec(); 200], false);
        assert_eq!((many.len(), many.last()), (ARGUMENTS, Some(&RawText::from("…"))));
        let long = bounded(vec![b"x".to_vec(), vec![b'y'; 9000]], false);
        let bytes: usize = long.iter().map(|argument| argument.as_bytes().len()).sum();
        assert_eq!((long.len(), bytes), (3, BYTES));
        assert_eq!(bounded(vec![b"x".to_vec()], false), [RawText::from("x")]);
    }
}
