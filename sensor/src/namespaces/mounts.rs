//! Network namespaces that are bound to a path (`ip netns add`, container runtimes), from mountinfo: proc(5).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use inventory::RawText;

/// Where iproute2 binds the namespaces that it names; /var/run is a link to /run everywhere.
const NAMED: &str = "/run/netns";

/// A path to which a namespace is bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) inode: u64,
    pub(super) path: PathBuf,
}

impl Bound {
    /// The name under /run/netns.
    pub(super) fn name(&self) -> Option<RawText> {
        let inside = self.path.parent() == Some(Path::new(NAMED));
        let name = self.path.file_name().filter(|_| inside)?;
        Some(RawText::new(name.as_encoded_bytes()))
    }
}

/// The network namespaces among the mounts of one mountinfo.
pub(super) fn parse(mountinfo: &[u8]) -> Vec<Bound> {
    mountinfo.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

/// `id parent major:minor root mount-point options [optional …] - type source options`: the root of a namespace reads
/// `net:[4026532000]`.
fn parse_line(line: &[u8]) -> Option<Bound> {
    let mut fields = line.split(|byte| *byte == b' ');
    let root = fields.nth(3)?;
    let path = fields.next()?;
    let mut after_the_dash = fields.skip_while(|field| *field != b"-").skip(1);
    if after_the_dash.next()? != b"nsfs" {
        return None;
    }
    let path = PathBuf::from(OsString::from_vec(unescape(path)));
    Some(Bound { inode: inode_of_link(root)?, path })
}

/// `net:[4026532000]`, as /proc/PID/ns/net and descriptors of namespaces read.
pub(super) fn inode_of_link(link: &[u8]) -> Option<u64> {
    let digits = link.strip_prefix(b"net:[")?.strip_suffix(b"]")?;
    str::from_utf8(digits).ok()?.parse().ok()
}

/// Spaces, tabs, newlines and backslashes in a path are written as three octal digits.
fn unescape(path: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.first_chunk::<3>().filter(|_| *first == b'\\');
        let code = octal.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    bytes
}

/// A mountinfo. What was found in it and is written again as the kernel writes it is found again.
#[cfg(any(test, fuzzing))]
pub fn fuzzed(bytes: &[u8]) {
    use std::os::unix::ffi::OsStrExt;

    let escaped = |path: &Path| -> Vec<u8> {
        let bytes = path.as_os_str().as_bytes().iter();
        bytes
            .flat_map(|byte| match byte {
                b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
                plain => vec![*plain],
            })
            .collect()
    };
    let found = parse(bytes);
    let lines = found.iter().map(|bound| {
        let root = format!("1 1 0:4 net:[{}] ", bound.inode).into_bytes();
        [root, escaped(&bound.path), b" rw - nsfs nsfs rw\n".to_vec()].concat()
    });
    assert_eq!(parse(&lines.collect::<Vec<_>>().concat()), found);
    assert!(found.iter().map(|bound| bound.path.as_os_str().len()).sum::<usize>() <= bytes.len());
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use inventory::RawText;
    use proptest::prelude::{any, proptest};

    use super::{Bound, parse};

    /// Linux 6.18 after `ip netns add blue` and one made by Docker; the optional field is there on shared mounts.
    const MOUNTINFO: &[u8] = b"\
22 1 254:0 / / rw,relatime - ext4 /dev/root rw
31 22 0:26 / /run rw,nosuid,nodev shared:5 - tmpfs tmpfs rw
98 31 0:4 net:[4026532001] /run/netns/blue rw shared:9 - nsfs nsfs rw
99 31 0:4 net:[4026532002] /run/docker/netns/1f2e rw - nsfs nsfs rw
97 31 0:4 mnt:[4026532003] /run/snapd/ns/lxd.mnt rw - nsfs nsfs rw
96 31 0:4 net:[4026532004] /run/netns/a\\040b\\134c rw shared:9 master:1 - nsfs nsfs rw
95 31 0:26 net:[4026532005] /run/netns/fake rw - tmpfs tmpfs rw
94 31 0:4 net:[4026532006] /run/netns/deep/er rw - nsfs nsfs rw
";

    #[test]
    fn finds_bound_namespaces_and_the_names_of_some() {
        let found = parse(MOUNTINFO);
        let seen: Vec<_> = found.iter().map(|bound| (bound.inode, bound.name())).collect();
        assert_eq!(
            seen,
            [
                (4026532001, Some(RawText::from("blue"))),
                (4026532002, None),
                (4026532004, Some(RawText::from("a b\\c"))),
                (4026532006, None),
            ]
        );
        let docker = PathBuf::from("/run/docker/netns/1f2e");
        assert_eq!(found[1], Bound { inode: 4026532002, path: docker });
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(line in any::<Vec<u8>>(), path in any::<Vec<u8>>()) {
            parse(&line);
            let framed = [b"9 3 0:4 net:[40] ", &path[..], b" rw - nsfs nsfs rw"].concat();
            parse(&framed);
        }
    }
}
