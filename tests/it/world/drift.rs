use serde_json::Value;

use super::{Row, Told};

/// What `diff` or the API tells of drift.
#[derive(Debug)]
pub(crate) struct Drifts {
    pub(crate) document: Value,
    /// The exit code of `diff`; 0 or 1 of the API, by whether there is any.
    pub(crate) code: i32,
}

impl Drifts {
    pub(crate) fn new(told: Told) -> Self {
        let document = serde_json::from_str(&told.stdout).unwrap_or_else(|error| panic!("{error}: {told:?}"));
        Drifts { document, code: told.code }
    }

    pub(crate) fn of(document: Value) -> Self {
        let any = document["drifts"].as_array().is_some_and(|drifts| !drifts.is_empty());
        Drifts { document, code: i32::from(any) }
    }

    fn all(&self) -> Vec<Row> {
        let drifts = self.document["drifts"].as_array().unwrap_or_else(|| panic!("{:#}", self.document));
        drifts.iter().map(|value| Row { value: value.clone() }).collect()
    }

    /// Nothing drifts and everything was seen.
    #[track_caller]
    pub(crate) fn is_clean(&self) {
        assert_eq!(self.code, 0, "{:#}", self.document);
        assert!(self.all().is_empty(), "{:#}", self.document);
    }

    /// The drift of what is bound to a port, if it drifts.
    pub(crate) fn find(&self, port: u16) -> Option<Row> {
        let is_it = |row: &Row| row.value["port"].to_string().trim_matches('"') == port.to_string();
        self.all().into_iter().find(is_it)
    }

    /// The drift of what is bound to a port; `diff` must have said so by its exit code.
    #[track_caller]
    pub(crate) fn on(&self, port: u16) -> Row {
        assert_eq!(self.code, 1, "{:#}", self.document);
        self.find(port).unwrap_or_else(|| panic!("no drift on {port}: {:#}", self.document))
    }

    /// What is bound to a port does not drift, whatever else does.
    #[track_caller]
    pub(crate) fn nothing_on(&self, port: u16) {
        assert!(self.find(port).is_none(), "{:#}", self.document);
    }
}

impl Row {
    /// A drift of this kind.
    #[track_caller]
    pub(crate) fn shows(self, kind: &str) -> Self {
        self.has("kind", kind)
    }

    /// What `approve` calls it.
    pub(crate) fn id(&self) -> String {
        self.get("id").as_str().unwrap().to_owned()
    }
}
