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

/// The files of a scenario, one behind the other; the first is the scenario itself.
#[derive(Debug, Default)]
pub(super) struct Sources(Vec<Source>);

#[derive(Debug)]
struct Source {
    file: String,
    /// Its text behind as much white space as there is text before it.
    behind: String,
    start: usize,
    /// Its bases: positions in the list.
    bases: Vec<usize>,
}

type Wrong = (Range<usize>, String);

impl Sources {
    /// Reads a file and everything it is based on.
    pub(super) fn gather(file: &str, text: &str, find: Find<'_>) -> Result<Self, Vec<Problem>> {
        let mut sources = Self::default();
        match sources.add(file, text, find) {
            Ok(_) => Ok(sources),
            Err((span, message)) => Err(vec![sources.problem(&span, message)]),
        }
    }

    fn add(&mut self, file: &str, text: &str, find: Find<'_>) -> Result<usize, Wrong> {
        let start = self.0.last().map_or(0, |last| last.behind.len() + 1);
        let place = self.0.len();
        let behind = " ".repeat(start) + text;
        self.0.push(Source { file: file.to_owned(), behind, start, bases: Vec::new() });
        let names = bases(&mut parse(&self.0[place])?)?;
        for base in names {
            let (file, text) = find(base.get_ref()).map_err(|why| (base.span(), why))?;
            if self.0.len() >= FILES_MAX {
                return Err((
                    base.span(),
                    format!("more than {FILES_MAX} files, or a base that names itself"),
                ));
            }
            let at = self.add(&file, &text, find)?;
            self.0[place].bases.push(at);
        }
        Ok(place)
    }

    /// One table of them all.
    pub(super) fn table(&self) -> Result<DeTable<'_>, Vec<Problem>> {
        self.merged(0).map_err(|(span, message)| vec![self.problem(&span, message)])
    }

    fn merged(&self, place: usize) -> Result<DeTable<'_>, Wrong> {
        let source = &self.0[place];
        let mut table = parse(source)?;
        // They are known; the head is left without the word.
        bases(&mut table)?;
        let mut whole = DeTable::new();
        for base in &source.bases {
            let mut under = self.merged(*base)?;
            for own in OWN {
                under.remove(own);
            }
            merge(&mut whole, under, true);
        }
        merge(&mut whole, table, true);
        Ok(whole)
    }

    /// A problem at a position.
    pub(super) fn problem(&self, span: &Range<usize>, message: String) -> Problem {
        let Some(source) = self.0.iter().rfind(|source| source.start <= span.start) else {
            return Problem { file: String::new(), line: 1, column: 1, message };
        };
        let before = source.behind.get(source.start..span.start).unwrap_or(&source.behind[source.start..]);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        Problem { file: source.file.clone(), line, column, message }
    }
}

fn parse(source: &Source) -> Result<DeTable<'_>, Wrong> {
    let start = source.start;
    let parsed = DeTable::parse(&source.behind);
    parsed
        .map(Spanned::into_inner)
        .map_err(|error| (error.span().unwrap_or(start..start), error.message().to_owned()))
}

/// Takes `base` out of the head.
fn bases(table: &mut DeTable<'_>) -> Result<Vec<Spanned<String>>, Wrong> {
    let Some(head) = table.get_mut("scenario") else { return Ok(Vec::new()) };
    let DeValue::Table(head) = head.get_mut() else { return Ok(Vec::new()) };
    let Some(base) = head.remove("base") else { return Ok(Vec::new()) };
    let span = base.span();
    let items: Vec<_> = match base.into_inner() {
        DeValue::Array(items) => items.into_iter().collect(),
        one @ (DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Table(_)) => vec![Spanned::new(span, one)],
    };
    let name = |item: Spanned<DeValue<'_>>| match item.get_ref() {
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

fn merge<'t>(under: &mut DeTable<'t>, over: DeTable<'t>, top: bool) {
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
fn identity(items: &DeArray<'_>) -> Option<&'static str> {
    let first = items.iter().next()?;
    IDENTITY.into_iter().find(|key| named(first, key).is_some())
}

fn join<'t>(held: &mut DeArray<'t>, over: DeArray<'t>) {
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

fn named(item: &Spanned<DeValue<'_>>, key: &str) -> Option<String> {
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
