//! What pages claim is shown by tests that are there.

use std::fs;
use std::path::Path;

/// Each row of the threat model ends with a file and a test in it.
#[test]
fn each_claim_names_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/threats.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.contains("---"));
    let claims: Vec<&str> = rows.filter(|row| !row.ends_with("| shown by |")).collect();
    assert!(claims.len() > 20, "{claims:#?}");
    for claim in claims {
        let words: Vec<&str> = claim.split('`').collect();
        let [.., file, _, test, _] = words.as_slice() else { panic!("no test: {claim}") };
        let text = fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(text.contains(&format!("fn {test}(")), "{file} has no {test}");
    }
}
