//! Puts a scenario together from the files it is based on.
//!
//! `[scenario] base = "good-hotel"` (or a list) takes another scenario in first: an embedded one, or a file beside this
//! one. What this file says then goes on top: a table key by key, a device with the same `id` (endpoint: `name`, unit:
//! `unit`) key by key, other devices and every `[[plant]]`, `[[incident]]`, `[[random]]`, `[[outage]]` are added, anything
//! else is replaced. What a base expects is not taken over: it is about the base.
//!
//! Promises: a problem is told with the file and line it stands in, whichever file that is. Each file is parsed behind as
//! much white space as the files before it are long, so that a position names its file too.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::Problem;

/// Files of one scenario at most: a base of a base is fine, a circle is not.
const FILES_MAX: usize = 8;
/// Whose expectations these are is the file itself, never its bases.
const OWN: [&str; 2] = ["expect", "not_yet"];
/// What tells one item of a list from another.
const IDENTITY: [&str; 3] = ["id", "name", "unit"];

/// Finds a base by its name: name and text of the file, or why there is none.
pub(super) type Find<'f> = &'f dyn Fn(&str) -> Result<(String, String), String>;

/// The files of a scenario, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Sources(Vec<Source>);

#[derive(Debug)]
struct Source {
    file: String,
    text: String,
    start: usize,
}

impl Sources {
    fn add(&mut self, file: &str, text: &str) -> usize {
        let start = self.0.last().map_or(0, |last| last.start + last.text.len() + 1);
        self.0.push(Source { file: file.to_owned(), text: text.to_owned(), start });
        start
    }

    /// A problem at a position.
    pub(super) fn problem(&self, span: &Range<usize>, message: String) -> Problem {
        let Some(source) = self.0.iter().rfind(|source| source.start <= span.start) else {
            return Problem { file: String::new(), line: 1, column: 1, message };
        };
        let before = source.text.get(..span.start - source.start).unwrap_or(&source.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        Problem { file: source.file.clone(), line, column, message }
    }
}

/// One table of all files, and the files.
pub(super) fn compose(
    file: &str,
    text: &str,
    find: Find<'_>,
) -> (Sources, Result<DeTable<'static>, Vec<Problem>>) {
    let mut sources = Sources::default();
    let composed = load(&mut sources, file, text, find)
        .map_err(|(span, message)| vec![sources.problem(&span, message)]);
    (sources, composed)
}

type Wrong = (Range<usize>, String);

fn load(
    sources: &mut Sources,
    file: &str,
    text: &str,
    find: Find<'_>,
) -> Result<DeTable<'static>, Wrong> {
    let start = sources.add(file, text);
    let behind = " ".repeat(start) + text;
    let mut table = DeTable::parse(&behind)
        .map_err(|error| (error.span().unwrap_or(start..start), error.message().to_owned()))?
        .into_inner();
    table.make_owned();
    let mut whole = DeTable::new();
    for base in bases(&mut table)? {
        let (file, text) = find(base.get_ref()).map_err(|why| (base.span(), why))?;
        if sources.0.len() >= FILES_MAX {
            return Err((base.span(), format!("more than {FILES_MAX} files, or a base that names itself")));
        }
        let mut under = load(sources, &file, &text, find)?;
        for own in OWN {
            under.remove(own);
        }
        merge(&mut whole, under, true);
    }
    merge(&mut whole, table, true);
    Ok(whole)
}

/// Takes `base` out of the head.
fn bases(table: &mut DeTable<'static>) -> Result<Vec<Spanned<String>>, Wrong> {
    let Some(head) = table.get_mut("scenario") else { return Ok(Vec::new()) };
    let DeValue::Table(head) = head.get_mut() else { return Ok(Vec::new()) };
    let Some(base) = head.remove("base") else { return Ok(Vec::new()) };
    let span = base.span();
    let items = match base.into_inner() {
        DeValue::Array(items) => items.into_iter().collect(),
        one @ (DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Table(_)) => vec![Spanned::new(span, one)],
    };
    let name = |item: Spanned<DeValue<'static>>| match item.get_ref() {
        DeValue::String(name) => Ok(Spanned::new(item.span(), name.clone().into_owned())),
        DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => Err((item.span(), "a base is named by a text".to_owned())),
    };
    items.into_iter().map(name).collect()
}

fn merge(under: &mut DeTable<'static>, over: DeTable<'static>, top: bool) {
    for (key, value) in over {
        match under.get_mut(key.get_ref().as_ref()) {
            None => {
                under.insert(key, value);
            }
            Some(held) => match (held.get_mut(), value.into_inner()) {
                (DeValue::Table(held), DeValue::Table(over)) => merge(held, over, false),
                (DeValue::Array(held), DeValue::Array(over)) if top || identity(&over).is_some() => {
                    join(held, over);
                }
                (held, over) => *held = over,
            },
        }
    }
}

/// Which key tells the items of this list apart, if one does.
fn identity(items: &DeArray<'static>) -> Option<&'static str> {
    let first = items.iter().next()?;
    IDENTITY.into_iter().find(|key| named(first, key).is_some())
}

fn join(held: &mut DeArray<'static>, over: DeArray<'static>) {
    let key = identity(&over);
    for item in over {
        let name = key.and_then(|key| named(&item, key));
        let same = name.and_then(|name| {
            held.iter_mut().find(|old| key.and_then(|key| named(old, key)).is_some_and(|old| old == name))
        });
        match (same.map(Spanned::get_mut), item) {
            (Some(DeValue::Table(old)), item) if matches!(item.get_ref(), DeValue::Table(_)) => {
                if let DeValue::Table(new) = item.into_inner() {
                    merge(old, new, false);
                }
            }
            (_, item) => held.push(item),
        }
    }
}

fn named(item: &Spanned<DeValue<'static>>, key: &str) -> Option<String> {
    let DeValue::Table(table) = item.get_ref() else { return None };
    match table.get(key)?.get_ref() {
        DeValue::String(name) => Some(name.clone().into_owned()),
        DeValue::Integer(number) => Some(number.as_str().to_owned()),
        DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => None,
    }
}
