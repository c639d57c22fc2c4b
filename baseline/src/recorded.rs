use std::path::PathBuf;

use jiff::tz::TimeZone;
use serde_json::{Map, Value};
use toml::Table;

use crate::{Approval, SourceText, Trust, When, parse};

/// Reads what [`crate::approval_json`] wrote. Fails with a sentence: a later release may say more of an approval than this
/// one understands.
pub fn approval_of_json(value: &Value) -> Result<Approval, String> {
    let fields = value.as_object().ok_or("it is no object")?;
    let mut file = Table::new();
    file.insert("approval".to_owned(), toml::Value::Array(vec![toml::Value::Table(table(fields)?)]));
    let text = toml::to_string(&file).map_err(|error| error.to_string())?;
    let source = SourceText { path: PathBuf::from("record"), text };
    let baseline = parse(&[source], &Trust::in_everybody(TimeZone::UTC))
        .map_err(|wrong| wrong.first().map(|first| first.message.clone()).unwrap_or_default())?;
    baseline.approvals().first().cloned().ok_or_else(|| "it holds no approval".to_owned())
}

/// As a baseline has it, where times stand without quotes.
fn table(fields: &Map<String, Value>) -> Result<Table, String> {
    let mut all = Table::new();
    for (key, value) in fields {
        let value = match (key.as_str(), value) {
            ("at" | "expires", Value::String(text)) => moment(text)?,
            ("countersigned", Value::Array(all)) => {
                let of = |one: &Value| match one.as_object() {
                    Some(fields) => table(fields).map(toml::Value::Table),
                    None => Err("a countersignature is no object".to_owned()),
                };
                toml::Value::Array(all.iter().map(of).collect::<Result<_, String>>()?)
            }
            (_, value) => toml::Value::try_from(value).map_err(|error| error.to_string())?,
        };
        all.insert(key.clone(), value);
    }
    Ok(all)
}

fn moment(text: &str) -> Result<toml::Value, String> {
    let wrong = || format!("`{text}` is no time");
    let when = When::parse(text).ok_or_else(wrong)?;
    when.to_string().parse().map(toml::Value::Datetime).map_err(|_| wrong())
}
