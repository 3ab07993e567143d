//! Reads TOML with places: every value knows its bytes, every problem is collected, nothing stops at the first.
//!
//! A [`Table`] remembers which keys were asked for; [`Table::finish`] then reports the ones nobody asked for,
//! with the nearest name. A file that is not TOML at all is reported as such and not read further: what is
//! missing from it could be a consequence.

use std::cell::RefCell;
use std::ops::Range;

use gateway_model::{Text, Unit};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::{Problem, Severity, Source};
use crate::quantity::{Millis, Quantity, SelfFix, parse_unit, unit_symbols};
use crate::suggest::did_you_mean;

/// A value and its place in the file.
#[derive(Debug, Clone, PartialEq)]
pub struct At<T> {
    /// What.
    pub value: T,
    /// Where, in bytes.
    pub span: Range<usize>,
}

/// A file being read, and what was wrong with it so far.
#[derive(Debug)]
pub struct File<'s> {
    source: &'s Source,
    problems: RefCell<Vec<Problem>>,
}

impl<'s> File<'s> {
    /// Begins to read `source`.
    pub fn new(source: &'s Source) -> Self {
        Self { source, problems: RefCell::new(Vec::new()) }
    }

    /// The file itself.
    pub fn source(&self) -> &'s Source {
        self.source
    }

    /// Its root table; `None` if it is not TOML, every syntax error said.
    pub fn root(&self) -> Option<Table<'_>> {
        let (table, errors) = DeTable::parse_recoverable(&self.source.text);
        for error in &errors {
            self.error(error.span().unwrap_or(0..0), error.message(), None);
        }
        errors.is_empty().then(|| Table::new(self, table.into_inner(), 0..0, "this file"))
    }

    /// Something is wrong.
    pub fn error(&self, span: Range<usize>, message: impl Into<String>, hint: Option<String>) {
        self.push(span, Severity::Error, message.into(), hint);
    }

    /// Something is odd.
    pub fn warn(&self, span: Range<usize>, message: impl Into<String>, hint: Option<String>) {
        self.push(span, Severity::Warning, message.into(), hint);
    }

    /// All problems so far.
    pub fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    fn push(&self, span: Range<usize>, severity: Severity, message: String, hint: Option<String>) {
        let problem = Problem { hint, ..Problem::at(self.source, span, severity, message) };
        let mut problems = self.problems.borrow_mut();
        // One pack rule bound to ten devices would say the same thing ten times.
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }

    /// Where the text of a string value begins in the file: just behind its quote if it holds no escapes, so
    /// that a place inside it can be pointed at.
    pub fn inside(&self, string: &At<String>) -> Option<usize> {
        let raw = self.source.text.get(string.span.clone())?;
        let offset = raw.find(string.value.as_str())?;
        (offset <= 4).then_some(string.span.start + offset)
    }
}

/// One table of a file.
#[derive(Debug)]
pub struct Table<'f> {
    file: &'f File<'f>,
    entries: DeTable<'f>,
    span: Range<usize>,
    /// What it is, for messages: "a device".
    what: &'static str,
    asked: RefCell<Vec<&'static str>>,
}

/// What can be read from a TOML value.
pub trait FromToml<'f>: Sized {
    /// Reads it, or says what is wrong.
    fn from_toml(file: &'f File<'f>, value: Spanned<DeValue<'f>>) -> Option<Self>;
}

impl<'f> Table<'f> {
    fn new(file: &'f File<'f>, table: DeTable<'f>, span: Range<usize>, what: &'static str) -> Self {
        Self { file, entries: table, span, what, asked: RefCell::new(Vec::new()) }
    }

    /// Its file.
    pub fn file(&self) -> &'f File<'f> {
        self.file
    }

    /// Its place.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Names it, for messages.
    #[must_use]
    pub fn called(mut self, what: &'static str) -> Self {
        self.what = what;
        self
    }

    /// Is the key there?
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The place of a key that is there, else of the table.
    pub fn key_span(&self, key: &str) -> Range<usize> {
        self.entries.get_key_value(key).map_or(self.span.clone(), |(key, _)| key.span())
    }

    /// The value of a key that may be absent. A wrong one is said and counts as absent.
    pub fn get<T: FromToml<'f>>(&self, key: &'static str) -> Option<At<T>> {
        self.asked.borrow_mut().push(key);
        let value = self.entries.get(key)?.clone();
        let span = value.span();
        T::from_toml(self.file, value).map(|value| At { value, span })
    }

    /// The value of a key that must be there.
    pub fn need<T: FromToml<'f>>(&self, key: &'static str) -> Option<At<T>> {
        if !self.has(key) {
            self.asked.borrow_mut().push(key);
            self.file.error(self.span.clone(), format!("`{key}` is missing in {}", self.what), None);
            return None;
        }
        self.get(key)
    }

    /// The table under a key.
    pub fn table(&self, key: &'static str, what: &'static str) -> Option<Table<'f>> {
        self.get::<Self>(key).map(|table| table.value.called(what))
    }

    /// The tables of an array of tables; none if the key is absent.
    pub fn tables(&self, key: &'static str, what: &'static str) -> Vec<Table<'f>> {
        let tables = self.get::<Vec<At<Self>>>(key).map_or_else(Vec::new, |tables| tables.value);
        tables.into_iter().map(|table| table.value.called(what)).collect()
    }

    /// All entries, for tables whose keys are names: (key, place of the key, value).
    pub fn entries<T: FromToml<'f>>(&self) -> Vec<(At<String>, At<T>)> {
        let read = |(key, value): (&Spanned<_>, &Spanned<DeValue<'f>>)| {
            let span = value.span();
            let key = At { value: AsRef::<str>::as_ref(key.get_ref()).to_owned(), span: key.span() };
            T::from_toml(self.file, value.clone()).map(|value| (key, At { value, span }))
        };
        let mut entries: Vec<_> = self.entries.iter().filter_map(read).collect();
        entries.sort_by_key(|(key, _)| key.span.start);
        entries
    }

    /// Reports every key that nobody has asked for.
    pub fn finish(self) {
        let asked = self.asked.into_inner();
        for (key, _) in &self.entries {
            let name: &str = key.get_ref();
            if asked.contains(&name) {
                continue;
            }
            let hint = did_you_mean(name, asked.iter().copied()).map_or_else(
                || format!("known here: {}", asked.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            self.file.error(key.span(), format!("`{name}` is not known in {}", self.what), Some(hint));
        }
    }
}

fn expected<T>(file: &File<'_>, value: &Spanned<DeValue<'_>>, what: &str) -> Option<T> {
    file.error(value.span(), format!("expected {what}, found {}", value.get_ref().type_str()), None);
    None
}

impl<'f> FromToml<'f> for String {
    fn from_toml(file: &'f File<'f>, value: Spanned<DeValue<'f>>) -> Option<Self> {
        match value.get_ref().as_str() {
            Some(text) => Some(text.to_owned()),
            None => expected(file, &value, "text in quotes"),
        }
    }
}

impl<'f> FromToml<'f> for bool {
    fn from_toml(file: &'f File<'f>, value: Spanned<DeValue<'f>>) -> Option<Self> {
        value.get_ref().as_bool().or_else(|| expected(file, &value, "true or false"))
    }
}

impl<'f> FromToml<'f> for i64 {
    fn from_toml(file: &'f File<'f>, value: Spanned<DeValue<'f>>) -> Option<Self> {
        let number = value.get_ref().as_integer().and_then(|integer| {
            Self::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok()
        });
        number.or_else(|| expected(file, &value, "a whole number"))
    }
}

impl<'f> FromToml<'f> for u64 {
    fn from_toml(file: &'f File<'f>, value: Spanned<DeValue<'f>>) -> Option<Self> {
        let span = value.span();
        let number = i64::from_toml(file, value)?;
        Self::try_from(number).map_err(|_| file.error(span, format!("{number} is negative"), None)).ok()
    }
}

impl<'f> FromToml<'f> for f64 {
    fn from_toml(file: &'f File<'f>, value: Spanned<DeValue<'f>>) -> Option<Self> {
        let text = match value.get_ref() {
            DeValue::Float(float) => Some(float.as_str().replace('_', "")),
            DeValue::Integer(integer) if integer.radix() == 10 => Some(integer.as_str().replace('_', "")),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => None,
        };
        let number = text.and_then(|text| text.parse::<Self>().ok()).filter(|number| number.is_finite());
        number.or_else(|| expected(file, &value, "a number"))
    }
}

impl<'f> FromToml<'f> for Millis {
    fn from_toml(file: &'f File<'f>, value: Spanned<DeValue<'f>>) -> Option<Self> {
        let span = value.span();
        let text = String::from_toml(file, value)?;
        let hint =
            || Some("a duration is written as \"500ms\", \"10s\", \"30 min\", \"2h\" or \"5 d\"".to_owned());
        Self::parse(&text).map_err(|message| file.error(span, message, hint())).ok()
    }
}

impl<'f> FromToml<'f> for SelfFix {
    fn from_toml(file: &'f File<'f>, value: Spanned<DeValue<'f>>) -> Option<Self> {
        let span = value.span();
        let text = String::from_toml(file, value)?;
        let hint = || Some("written as \"2h\", \"5 d\", \"5 working days\" or \"end of day\"".to_owned());
        Self::parse(&text).map_err(|message| file.error(span, message, hint())).ok()
    }
}

impl<'f> FromToml<'f> for Quantity {
    fn from_toml(file: &'f File<'f>, value: Spanned<DeValue<'f>>) -> Option<Self> {
        let span = value.span();
        if !value.get_ref().is_str() {
            return f64::from_toml(file, value).map(|value| Self { value, unit: Unit::One });
        }
        let text = String::from_toml(file, value)?;
        Self::parse(&text).map_err(|message| file.error(span, message, Some(units_hint(&text)))).ok()
    }
}

fn units_hint(text: &str) -> String {
    if text.trim_end().ends_with('C') {
        return "did you mean `°C`?".to_owned();
    }
    format!("units: {}", unit_symbols())
}

impl<'f> FromToml<'f> for Unit {
    fn from_toml(file: &'f File<'f>, value: Spanned<DeValue<'f>>) -> Option<Self> {
        let span = value.span();
        let text = String::from_toml(file, value)?;
        let unit = parse_unit(&text).filter(|_| !text.is_empty());
        unit.or_else(|| {
            file.error(span, format!("`{text}` is not a unit that is known here"), Some(units_hint(&text)));
            None
        })
    }
}

impl<'f> FromToml<'f> for Text {
    fn from_toml(file: &'f File<'f>, value: Spanned<DeValue<'f>>) -> Option<Self> {
        let span = value.span();
        if !value.get_ref().is_table() {
            let hint = "write both languages: { zh = \"…\", en = \"…\" }".to_owned();
            file.error(span, "expected text in two languages", Some(hint));
            return None;
        }
        let table = Table::from_toml(file, value)?.called("a text in two languages");
        let (zh, en) = (table.need::<String>("zh"), table.need::<String>("en"));
        table.finish();
        let (zh, en) = (zh?, en?);
        for text in [&zh, &en] {
            if text.value.trim().is_empty() {
                file.error(text.span.clone(), "a text is empty", None);
            }
        }
        Some(Self { zh: zh.value, en: en.value })
    }
}

impl<'f> FromToml<'f> for Table<'f> {
    fn from_toml(file: &'f File<'f>, value: Spanned<DeValue<'f>>) -> Option<Self> {
        let span = value.span();
        if !value.get_ref().is_table() {
            return expected(file, &value, "a table");
        }
        match value.into_inner() {
            DeValue::Table(table) => Some(Self::new(file, table, span, "this table")),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_) => None,
        }
    }
}

impl<'f, T: FromToml<'f>> FromToml<'f> for Vec<At<T>> {
    fn from_toml(file: &'f File<'f>, value: Spanned<DeValue<'f>>) -> Option<Self> {
        let Some(array) = value.get_ref().as_array() else {
            return expected(file, &value, "a list in [ ]");
        };
        let read = |item: &Spanned<DeValue<'f>>| {
            let span = item.span();
            T::from_toml(file, item.clone()).map(|value| At { value, span })
        };
        Some(array.iter().filter_map(read).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str, read: impl FnOnce(&Table<'_>)) -> Vec<String> {
        let source = Source { name: "t".into(), text: text.into() };
        let file = File::new(&source);
        if let Some(root) = file.root() {
            read(&root);
            root.finish();
        }
        file.into_problems().iter().map(|problem| format!("{problem} | {:?}", problem.hint)).collect()
    }

    #[test]
    fn every_problem_is_said_at_its_place() {
        let found = problems("a = 1\nb = \"9 min\"\nadress = 2\nu = \"C\"\n", |root| {
            assert_eq!(root.need::<String>("a"), None);
            assert_eq!(root.need::<Millis>("b").map(|at| at.value), Some(Millis(540_000)));
            assert_eq!(root.get::<String>("address"), None);
            assert_eq!(root.need::<bool>("c"), None);
            assert_eq!(root.need::<Unit>("u"), None);
        });
        assert_eq!(
            found,
            [
                "t:1:5: expected text in quotes, found integer | None",
                "t:1:1: `c` is missing in this file | None",
                "t:4:5: `C` is not a unit that is known here | Some(\"did you mean `°C`?\")",
                "t:3:1: `adress` is not known in this file | Some(\"did you mean `address`?\")",
            ]
        );
    }

    #[test]
    fn what_is_not_toml_is_said_and_not_read_further() {
        let found = problems("a = \nb = 2 2\n", |_| panic!("not to be read"));
        assert!(found.len() >= 2, "{found:?}");
        assert!(found[0].starts_with("t:1:"), "{found:?}");
    }
}
