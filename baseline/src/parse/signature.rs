use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fields::Fields;
use crate::{Countersignature, HIGHEST_SERIAL};

const KEYS: [&str; 3] = ["by", "at", "signature"];
/// Nobody needs more to approve something.
const MOST: usize = 8;
/// In base64; those of SSH are a few hundred bytes, with RSA a thousand.
const LONGEST: usize = 16_384;

impl Fields<'_, '_, '_> {
    /// From 1 on.
    pub(super) fn serial(&mut self) -> Option<u64> {
        let (number, span) = self.number("serial")?;
        let serial = u64::try_from(number).ok().filter(|serial| (1..=HIGHEST_SERIAL).contains(serial));
        if serial.is_none() {
            self.complain(span, &format!("`serial` counts from 1, up to {HIGHEST_SERIAL}"));
        }
        serial
    }

    /// What it is worth is for others to see.
    pub(super) fn signature(&mut self) -> Option<String> {
        let (text, span) = self.placed_text("signature")?;
        if text.len() > LONGEST {
            self.complain(span, &format!("a `signature` has at most {LONGEST} characters"));
            return None;
        }
        Some(text)
    }

    pub(super) fn countersigned(&mut self) -> Vec<Countersignature> {
        let Some(value) = self.value("countersigned") else { return Vec::new() };
        let wrong = "`countersigned` is a list of tables, as in [{ by = \"bob\", at = 2026-11-21T09:00:00Z, \
                     signature = \"...\" }]";
        let DeValue::Array(array) = value.get_ref() else {
            self.complain(value.span(), wrong);
            return Vec::new();
        };
        if array.len() > MOST {
            self.complain(value.span(), &format!("at most {MOST} people countersign"));
            return Vec::new();
        }
        let tables = array.iter().map(|element| (element, table_of(element)));
        let mut all = Vec::new();
        for (element, table) in tables {
            match table {
                Some(table) => all.extend(self.inner(table, element.span()).one_countersignature()),
                None => self.complain(element.span(), wrong),
            }
        }
        all
    }

    fn one_countersignature(&mut self) -> Option<Countersignature> {
        self.only(&KEYS, "a countersignature");
        for key in ["by", "signature"] {
            if !self.has(key) {
                self.complain(self.span_of(key), &format!("a countersignature wants `{key}`"));
            }
        }
        let (by, at, signature) = (self.text("by"), self.when("at"), self.signature());
        Some(Countersignature { by: by?, at, signature: signature? })
    }
}

fn table_of<'t>(element: &'t Spanned<DeValue<'t>>) -> Option<&'t DeTable<'t>> {
    match element.get_ref() {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}
