use inventory::RawText;

/// A command line from its second word on, as `arguments` in a baseline is held against it: the words escaped, one
/// space between them, in single quotes where a word is empty or holds a space or a quote. No two differ in
/// their words and are written alike.
pub fn command_line(arguments: &[RawText]) -> String {
    let mut line = String::new();
    for (place, word) in arguments.iter().skip(1).enumerate() {
        if place > 0 {
            line.push(' ');
        }
        let word = word.escaped();
        let plain = !word.is_empty() && !word.contains([' ', '\'']);
        match plain {
            true => line.push_str(&word),
            false => line.push_str(&format!("'{}'", word.replace('\'', "\\x27"))),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use inventory::RawText;
    use proptest::prelude::{any, prop_assert_ne, proptest};

    use super::command_line;

    fn line(words: &[&str]) -> String {
        let words: Vec<RawText> = words.iter().map(|word| RawText::from(*word)).collect();
        command_line(&words)
    }

    #[test]
    fn reads_like_a_command() {
        assert_eq!(line(&["python3", "/opt/app.py", "--port", "80"]), "/opt/app.py --port 80");
        assert_eq!(line(&["sh", "-c", "while true; do nc -l 1; done"]), "-c 'while true; do nc -l 1; done'");
        assert_eq!(line(&["sh", "", "it's"]), r"'' 'it\x27s'");
        assert_eq!(line(&["sh"]), "");
    }

    proptest! {
        #[test]
        fn no_other_words_are_written_alike(
            one in proptest::collection::vec("[ab' ]{0,3}", 0..4),
            other in proptest::collection::vec("[ab' ]{0,3}", 0..4),
            name in any::<String>(),
        ) {
            let words = |list: &[String]| -> Vec<RawText> {
                std::iter::once(&name).chain(list).map(|word| RawText::from(word.as_str())).collect()
            };
            if one != other {
                prop_assert_ne!(command_line(&words(&one)), command_line(&words(&other)));
            }
        }
    }
}
