/// Text between tags, whatever is in it.
pub(super) fn cdata(text: &str) -> String {
    format!("<![CDATA[{}]]>", allowed(text).replace("]]>", "]]]]><![CDATA[>"))
}

/// Text between double quotes.
pub(super) fn attribute(text: &str) -> String {
    let mut escaped = String::new();
    for letter in allowed(text).chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// XML 1.0 has no way to write most control characters, and people do not see the others: they stand there escaped. So does
/// what is not ASCII: the declaration of the whole document, which others write, may name any encoding.
fn allowed(text: &str) -> String {
    let mut allowed = String::new();
    for letter in text.chars() {
        match letter {
            ' '..='~' => allowed.push(letter),
            '…' => allowed.push_str("..."),
            letter => allowed.extend(letter.escape_unicode()),
        }
    }
    allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_place() {
        for (text, in_cdata, in_attribute) in [
            ("a", "<![CDATA[a]]>", "a"),
            ("a]]>b", "<![CDATA[a]]]]><![CDATA[>b]]>", "a]]&gt;b"),
            ("]]]]>>", "<![CDATA[]]]]]]><![CDATA[>>]]>", "]]]]&gt;&gt;"),
            ("<a b='c\"&", "<![CDATA[<a b='c\"&]]>", "&lt;a b=&apos;c&quot;&amp;"),
            ("\u{1b}[2J\n\0", "<![CDATA[\\u{1b}[2J\\u{a}\\u{0}]]>", "\\u{1b}[2J\\u{a}\\u{0}"),
            ("é\u{ffff}", "<![CDATA[\\u{e9}\\u{ffff}]]>", "\\u{e9}\\u{ffff}"),
            ("%|;", "<![CDATA[%|;]]>", "%|;"),
        ] {
            assert_eq!(cdata(text), in_cdata, "{text:?}");
            assert_eq!(attribute(text), in_attribute, "{text:?}");
        }
    }
}
