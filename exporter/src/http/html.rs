//! What pages are written with: everything that is put into one is escaped here.

use std::fmt::Write as _;

const STYLE: &str = "body{font-family:sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem}dt{font-weight:bold}\
     dd{overflow-wrap:anywhere}pre{white-space:pre-wrap;overflow-wrap:anywhere}";

/// A page with one heading.
pub(super) struct Html(String);

impl Html {
    pub(super) fn new(heading: &str) -> Self {
        let heading = escaped_html(heading);
        Html(format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width\"><title>{heading}</title><style>{STYLE}</style></head>\n<body>\n<h1>{heading}</h1>\n"
        ))
    }

    pub(super) fn paragraph(&mut self, text: &str) {
        self.push(format_args!("<p>{}</p>\n", escaped_html(text)));
    }

    /// A command, to be copied.
    pub(super) fn command(&mut self, text: &str) {
        self.push(format_args!("<pre>{}</pre>\n", escaped_html(text)));
    }

    /// Terms, each with what there is to say of it.
    pub(super) fn terms<'a>(&mut self, terms: impl IntoIterator<Item = (&'a str, String)>) {
        self.0.push_str("<dl>\n");
        for (term, what) in terms {
            self.push(format_args!("<dt>{}</dt><dd>{}</dd>\n", escaped_html(term), escaped_html(&what)));
        }
        self.0.push_str("</dl>\n");
    }

    /// Where to go from here: a path, and what is there.
    pub(super) fn links<'a>(&mut self, links: impl IntoIterator<Item = (&'a str, &'a str)>) {
        self.0.push_str("<ul>\n");
        for (path, what) in links {
            self.push(format_args!(
                "<li><a href=\"{}\">{}</a></li>\n",
                escaped_html(path),
                escaped_html(what)
            ));
        }
        self.0.push_str("</ul>\n");
    }

    pub(super) fn finish(mut self) -> String {
        self.0.push_str("</body>\n</html>\n");
        self.0
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        self.0.write_fmt(text).unwrap_or_default();
    }
}

/// Text, or an attribute in quotes, of HTML (Living Standard, 13.1.2 and 13.1.4).
pub fn escaped_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
