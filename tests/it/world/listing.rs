use serde_json::Value;

/// What `list` shows.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) document: Value,
}

/// One listener of it.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) value: Value,
}

impl Listing {
    pub(crate) fn new(json: &str) -> Self {
        let document: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"));
        assert_eq!(document["schema"], 1, "{document:#}");
        Listing { document }
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        let rows = self.document["listeners"].as_array().unwrap();
        rows.iter().map(|value| Row { value: value.clone() }).collect()
    }

    pub(crate) fn gaps(&self) -> &[Value] {
        self.document["gaps"].as_array().unwrap()
    }

    /// All that is bound to a port, in whatever namespace.
    pub(crate) fn all_on(&self, port: u16) -> Vec<Row> {
        self.rows().into_iter().filter(|row| row.value["port"] == port).collect()
    }

    /// The one listener on a port.
    pub(crate) fn on(&self, port: u16) -> Row {
        let mut found = self.all_on(port);
        assert_eq!(found.len(), 1, "one listener on {port} was expected: {:#}", self.document);
        found.remove(0)
    }
}

impl Row {
    /// A field, deeper ones parted by `/`.
    pub(crate) fn get(&self, field: &str) -> &Value {
        self.value.pointer(&format!("/{field}")).unwrap_or_else(|| panic!("no {field} in {:#}", self.value))
    }

    #[track_caller]
    pub(crate) fn has(self, field: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        assert_eq!(*self.get(field), value, "{field} of {:#}", self.value);
        self
    }

    /// The pids of all its holders.
    pub(crate) fn pids(&self) -> Vec<u64> {
        let holders = self.get("holders").as_array().unwrap();
        holders.iter().map(|holder| holder["pid"].as_u64().unwrap()).collect()
    }
}
