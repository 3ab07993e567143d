//! Tables of devices (CSV): a row a device, for the hundred that differ in name, unit id and place only.
//!
//! A row is turned into what one would write in the site file, and read by the same code; where a problem lies in that
//! text, it is said of the cell it came from. RFC 4180: commas, quotes, a first line with the names of the columns.
//!
//! `id, kind, name.zh, name.en, program, bus, unit, every, topic, profile, map, invert, deadband, stuck, accuracy, options.…, max_age`;
//! a row with a topic is a `[[device.mqtt]]`, else a `[[device.read]]`. `map` is `point=field; point=field`, or empty: every field that the
//! kind knows by name; `deadband`, `stuck` and `accuracy` are written in the same way (`temperature=0.2 °C; humidity=1 %`), `invert` is
//! `point; point`. Only columns that are used need to be there.

use std::ops::Range;

use gateway_rules::{Problem, Severity, Source, did_you_mean};

/// Rows of a table: as many as a gateway has devices.
const ROWS_MAX: usize = 5_000;

/// One column, and where its cell stands in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    /// Of the device: `id`, `kind`, `program`.
    Device(&'static str),
    /// `name.zh`, `name.en`.
    Name(&'static str),
    /// Of the part: `bus`, `topic`, `profile`, `every`, `max_age`.
    Part(&'static str),
    /// `unit`.
    Unit,
    /// Something of each point: `map`, `deadband`, `stuck`, `accuracy`.
    Points(&'static str),
    /// `invert`.
    Invert,
    /// `options.…`
    Option(&'static str),
}

const COLUMNS: &[(&str, Column)] = &[
    ("id", Column::Device("id")),
    ("kind", Column::Device("kind")),
    ("name.zh", Column::Name("zh")),
    ("name.en", Column::Name("en")),
    ("program", Column::Device("program")),
    ("bus", Column::Part("bus")),
    ("unit", Column::Unit),
    ("every", Column::Part("every")),
    ("topic", Column::Part("topic")),
    ("profile", Column::Part("profile")),
    ("max_age", Column::Part("max_age")),
    ("map", Column::Points("map")),
    ("invert", Column::Invert),
    ("deadband", Column::Points("deadband")),
    ("stuck", Column::Points("stuck")),
    ("accuracy", Column::Points("accuracy")),
    ("options.decimals", Column::Option("decimals")),
    ("options.unit", Column::Option("unit")),
    ("options.carrier", Column::Option("carrier")),
];

/// A cell: its text, and its place in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cell {
    text: String,
    span: Range<usize>,
}

/// A table as read, and as a site file would say it.
#[derive(Debug)]
pub(super) struct Sheet {
    csv: Source,
    /// The same in the words of a site file.
    pub(super) site: Source,
    /// Places in `site`, and the cells they come from; the narrower later.
    places: Vec<(Range<usize>, Range<usize>)>,
}

impl Sheet {
    /// Reads a table; what is wrong with it as a table is said at once.
    pub(super) fn read(csv: Source) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut wrong = |span: &Range<usize>, message: String, hint: Option<String>| {
            problems.push(Problem { hint, ..Problem::at(&csv, span.clone(), Severity::Error, message) });
        };
        let mut rows = match rows(&csv.text) {
            Ok(rows) => rows,
            Err((span, message)) => {
                wrong(&span, message, None);
                return Err(problems);
            }
        };
        if rows.is_empty() {
            wrong(&(0..0), "a table begins with the names of its columns".into(), Some(names()));
            return Err(problems);
        }
        let header = rows.remove(0);
        let columns: Vec<Option<Column>> = header.iter().map(|cell| column(cell, &mut wrong)).collect();
        for (n, cell) in header.iter().enumerate() {
            if header[..n].iter().any(|other| other.text == cell.text) {
                wrong(&cell.span, format!("there is a column `{}` already", cell.text), None);
            }
        }
        if rows.len() > ROWS_MAX {
            wrong(&rows[ROWS_MAX][0].span, format!("a gateway has at most {ROWS_MAX} devices"), None);
        }
        let mut writer = Writer::default();
        for row in &rows {
            if row.len() > columns.len() {
                wrong(&row[columns.len()].span, "a cell without a column".into(), None);
            }
            writer.row(&columns, row);
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let site = Source { name: csv.name.clone(), text: writer.text };
        Ok(Self { csv, site, places: writer.places })
    }

    /// Problems of [`Self::site`], as problems of the table.
    pub(super) fn translate(&self, problems: Vec<Problem>) -> Vec<Problem> {
        let here = |problem: Problem| {
            let at = problem.span.start;
            let place = self.places.iter().rev().find(|(of, _)| of.contains(&at));
            let span = place.map_or(0..0, |(_, cell)| cell.clone());
            let Problem { severity, message, hint, .. } = problem;
            Problem { hint, ..Problem::at(&self.csv, span, severity, message) }
        };
        problems.into_iter().map(here).collect()
    }
}

/// Names of the columns, in the order in which they are listed for a person.
pub(super) fn columns() -> impl Iterator<Item = &'static str> {
    COLUMNS.iter().map(|(name, _)| *name)
}

fn names() -> String {
    columns().collect::<Vec<_>>().join(", ")
}

fn column(cell: &Cell, wrong: &mut impl FnMut(&Range<usize>, String, Option<String>)) -> Option<Column> {
    let found = COLUMNS.iter().find(|(name, _)| *name == cell.text).map(|(_, column)| *column);
    if found.is_none() {
        let hint = did_you_mean(&cell.text, columns())
            .map_or_else(|| format!("columns: {}", names()), |near| format!("did you mean `{near}`?"));
        wrong(&cell.span, format!("`{}` is not a column of a table of devices", cell.text), Some(hint));
    }
    found
}

#[derive(Default)]
struct Writer {
    text: String,
    places: Vec<(Range<usize>, Range<usize>)>,
}

impl Writer {
    fn row(&mut self, columns: &[Option<Column>], row: &[Cell]) {
        let cells: Vec<(Column, &Cell)> = columns
            .iter()
            .zip(row)
            .filter(|(_, cell)| !cell.text.is_empty())
            .filter_map(|(column, cell)| column.map(|column| (column, cell)))
            .collect();
        let (Some(first), Some(last)) = (row.first(), row.last()) else { return };
        let (from, whole) = (self.text.len(), self.places.len());
        // Widened to the row once its end is known.
        self.places.push((from..from, first.span.start..last.span.end));
        self.text.push_str("[[device]]\n");
        for (column, cell) in &cells {
            if let Column::Device(key) = column {
                self.pair(key, cell, &quoted(&cell.text));
            }
        }
        self.name(&cells);
        let mqtt = cells.iter().any(|(column, _)| *column == Column::Part("topic"));
        self.text.push_str(if mqtt { "[[device.mqtt]]\n" } else { "[[device.read]]\n" });
        for (column, cell) in &cells {
            match column {
                Column::Part(key) => self.pair(key, cell, &quoted(&cell.text)),
                Column::Unit => self.pair("unit", cell, &number(&cell.text)),
                Column::Points(key) => self.pair(key, cell, &of_points(&cell.text)),
                Column::Invert => self.pair("invert", cell, &list(&cell.text)),
                Column::Device(_) | Column::Name(_) | Column::Option(_) => {}
            }
        }
        let options: Vec<_> =
            cells.iter().filter(|(column, _)| matches!(column, Column::Option(_))).collect();
        if !options.is_empty() {
            self.text.push_str("options = { ");
            for (n, (column, cell)) in options.iter().enumerate() {
                let Column::Option(key) = column else { continue };
                let value = if *key == "decimals" { number(&cell.text) } else { quoted(&cell.text) };
                self.place(cell, &format!("{}{key} = {value}", if n > 0 { ", " } else { "" }));
            }
            self.text.push_str(" }\n");
        }
        self.places[whole].0 = from..self.text.len();
    }

    /// One language is enough where the other is not given.
    fn name(&mut self, cells: &[(Column, &Cell)]) {
        let of =
            |wanted| cells.iter().find(|(column, _)| *column == Column::Name(wanted)).map(|(_, cell)| *cell);
        let (zh, en) = (of("zh"), of("en"));
        let (Some(zh), Some(en)) = (zh.or(en), en.or(zh)) else { return };
        self.text.push_str("name = { ");
        self.place(zh, &format!("zh = {}", quoted(&zh.text)));
        self.text.push_str(", ");
        self.place(en, &format!("en = {}", quoted(&en.text)));
        self.text.push_str(" }\n");
    }

    fn pair(&mut self, key: &str, cell: &Cell, value: &str) {
        self.place(cell, &format!("{key} = {value}\n"));
    }

    fn place(&mut self, cell: &Cell, text: &str) {
        let from = self.text.len();
        self.text.push_str(text);
        self.places.push((from..self.text.len(), cell.span.clone()));
    }
}

/// A text as TOML writes it: JSON's escapes are among TOML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A number as it stands; anything else as a text, which the reader of the site file will say.
fn number(text: &str) -> String {
    text.parse::<i64>().map_or_else(|_| quoted(text), |number| number.to_string())
}

/// `temperature=channel-1; door` becomes an inline table.
fn of_points(text: &str) -> String {
    let pair = |pair: &str| {
        let (point, said) = pair.split_once('=').unwrap_or((pair, pair));
        format!("{} = {}", quoted(point.trim()), quoted(said.trim()))
    };
    format!("{{ {} }}", joined(text, pair))
}

/// `door; lid` becomes an array.
fn list(text: &str) -> String {
    format!("[{}]", joined(text, quoted))
}

/// What stands between semicolons, each as TOML.
fn joined(text: &str, each: impl Fn(&str) -> String) -> String {
    let parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
    parts.map(each).collect::<Vec<_>>().join(", ")
}

/// Rows of cells; rows without a text are passed over.
fn rows(text: &str) -> Result<Vec<Vec<Cell>>, (Range<usize>, String)> {
    let start = if text.starts_with('\u{feff}') { 3 } else { 0 };
    let mut rows = Vec::new();
    let mut row = Vec::new();
    let mut at = start;
    loop {
        let (cell, end) = cell(text, at)?;
        row.push(cell);
        at = end;
        match text.as_bytes().get(at) {
            Some(b',') => at += 1,
            other => {
                let row = std::mem::take(&mut row);
                if row.iter().any(|cell| !cell.text.is_empty()) {
                    rows.push(row);
                }
                match other {
                    None => return Ok(rows),
                    Some(b'\r') => at += 2,
                    Some(_) => at += 1,
                }
                if at >= text.len() {
                    return Ok(rows);
                }
            }
        }
    }
}

/// The cell that begins here, and where it ends: at a comma, a line's end or the text's.
fn cell(text: &str, from: usize) -> Result<(Cell, usize), (Range<usize>, String)> {
    let rest = &text[from..];
    let ends = |rest: &str| {
        rest.find([',', '\n']).map_or(rest.len(), |end| {
            if rest[..end].ends_with('\r') && rest.as_bytes()[end] == b'\n' { end - 1 } else { end }
        })
    };
    if !rest.starts_with('"') {
        let end = ends(rest);
        let raw = &rest[..end];
        let lead = raw.len() - raw.trim_start().len();
        let trimmed = raw.trim();
        let span = from + lead..from + lead + trimmed.len();
        return Ok((Cell { text: trimmed.to_owned(), span }, from + end));
    }
    let mut inner = String::new();
    let mut at = 1;
    loop {
        let Some(quote) = rest[at..].find('"') else {
            return Err((from..text.len(), "this quote is never closed".to_owned()));
        };
        inner.push_str(&rest[at..at + quote]);
        at += quote + 1;
        if !rest[at..].starts_with('"') {
            break;
        }
        inner.push('"');
        at += 1;
    }
    let after = ends(&rest[at..]);
    if !rest[at..at + after].trim().is_empty() {
        return Err((from + at..from + at + after, "a text behind the closing quote".to_owned()));
    }
    Ok((Cell { text: inner.trim().to_owned(), span: from..from + at }, from + at + after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<Vec<String>> {
        let rows = rows(text).unwrap();
        rows.into_iter().map(|row| row.into_iter().map(|cell| cell.text).collect()).collect()
    }

    #[test]
    fn cells_are_read_as_spreadsheets_write_them() {
        assert_eq!(texts("\u{feff}a,b\r\n1, 2 \r\n\r\n,,\n"), [["a", "b"], ["1", "2"]]);
        assert_eq!(
            texts("\"a,b\",\"say \"\"x\"\"\"\n\"two\nlines\",c"),
            [["a,b", "say \"x\""], ["two\nlines", "c"]]
        );
        assert_eq!(texts("a,b,\n"), [["a", "b", ""]]);
        assert!(texts("").is_empty() && texts("\r\n").is_empty());
        assert_eq!(rows("a\n\"open").unwrap_err(), (2..7, "this quote is never closed".to_owned()));
        assert!(rows("\"a\"b,c").is_err());
    }

    #[test]
    fn a_row_is_what_one_would_write() {
        let csv = "id,name.zh,bus,unit,profile,map,options.decimals\ns-1,\"一号\",a,7,xy,\"t=x; door\",2\n";
        let sheet = Sheet::read(Source { name: "d.csv".into(), text: csv.into() }).unwrap();
        assert_eq!(
            sheet.site.text,
            "[[device]]\nid = \"s-1\"\nname = { zh = \"一号\", en = \"一号\" }\n[[device.read]]\nbus = \"a\"\nunit = 7\n\
             profile = \"xy\"\nmap = { \"t\" = \"x\", \"door\" = \"door\" }\noptions = { decimals = 2 }\n"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[\"\\\\,;=\r\nab一]{0,60}") {
            let csv = Source { name: "d.csv".into(), text: format!("id,name.zh,map,unit\n{text}") };
            if let Ok(sheet) = Sheet::read(csv) {
                let file = gateway_rules::File::new(&sheet.site);
                let _read = file.root().is_some();
                for problem in sheet.translate(file.into_problems()) {
                    proptest::prop_assert!(problem.line >= 1);
                }
            }
        }
    }
}
