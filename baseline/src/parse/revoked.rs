use std::ops::Range;

use toml::de::DeTable;

use super::Reader;
use super::fields::Fields;
use crate::baseline::Revocation;

const KEYS: [&str; 5] = ["id", "serial", "by", "at", "reason"];

impl Reader<'_> {
    pub(super) fn read_revocation(&mut self, table: &DeTable<'_>, span: Range<usize>) -> Option<Revocation> {
        let mut fields = Fields::new(self, table, span.clone());
        fields.only(&KEYS, "what is revoked");
        for key in ["id", "serial"] {
            if !fields.has(key) {
                fields.complain(span.clone(), &format!("what is revoked wants the approval's `{key}`"));
            }
        }
        let (id, serial) = (fields.id(), fields.serial());
        let (by, at, reason) = (fields.text("by"), fields.when("at"), fields.text("reason"));
        Some(Revocation { id: id?.0, serial: serial?, by, at, reason })
    }
}
