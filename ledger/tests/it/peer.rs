use std::fs;
use std::process::{Command, Stdio};

use super::{KEEPING, append, writer};

/// As the crate's documentation tells people to.
const BY_HAND: &str = r#"
line=$(grep '"record":'$1, events.jsonl)
printf '%s}' "${line%,\"signature\":*}" > message
{ echo '-----BEGIN SSH SIGNATURE-----'
  printf '%s' "$line" | sed 's/.*"signature":"//; s/"}$//' | fold -w 70; echo
  echo '-----END SSH SIGNATURE-----'; } > message.sig
sed 's/^/host /' events.key.pub > signers
ssh-keygen -Y verify -f signers -I host -n log@portledger -s message.sig < message
grep -c "\"previous\":\"$(printf '%s' "$line" | sha256sum | cut -d' ' -f1)\"" events.jsonl
"#;

#[test]
fn ssh_keygen_agrees() {
    if Command::new("ssh-keygen").arg("-?").stderr(Stdio::null()).status().is_err() {
        println!("SKIP ssh_keygen_agrees: no ssh-keygen (package openssh-client)");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    append(&mut writer(folder.path(), KEEPING), &[1, 2, 1]);
    let by_hand = |record: &str| {
        let mut command = Command::new("sh");
        command.args(["-ec", BY_HAND, "sh", record]).current_dir(folder.path()).output().unwrap()
    };
    for record in ["1", "3"] {
        let output = by_hand(record);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(
            text.starts_with("Good \"log@portledger\" signature for host") && text.ends_with("\n1\n"),
            "{text}"
        );
    }
    let path = folder.path().join("events.jsonl");
    let text = fs::read_to_string(&path).unwrap().replacen("\"place\":0", "\"place\":1", 1);
    fs::write(&path, text).unwrap();
    assert!(!by_hand("1").status.success());
}
