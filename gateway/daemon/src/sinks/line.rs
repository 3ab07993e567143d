//! InfluxDB line protocol: `measurement,tag=value field=value,field=value timestamp`.
//!
//! Escaping as InfluxDB 2's reference asks and its own clients write: `,` `=` and space with a backslash; line breaks and
//! tabs, which no name may hold, as `\n`, `\r`, `\t`; a name that ends with a backslash gets a space, or it would swallow the
//! comma behind it. Inside a text field only `"` and `\` are escaped. Numbers that are not finite cannot be written: such a field
//! is left out. A line without a field is none.

use std::fmt::Write as _;

/// A line under construction: tags first, then fields.
#[derive(Debug, Clone)]
pub struct Line {
    text: String,
    fields: usize,
}

impl Line {
    /// Begins with the name of the measurement.
    pub fn new(measurement: &str) -> Self {
        let mut text = String::with_capacity(160);
        escape(&mut text, measurement, &[',', ' ']);
        Self { text, fields: 0 }
    }

    /// A tag; one without a value is left out, as InfluxDB asks.
    #[must_use]
    pub fn tag(mut self, key: &str, value: &str) -> Self {
        debug_assert_eq!(self.fields, 0, "tags come before fields");
        if !value.is_empty() {
            self.text.push(',');
            escape(&mut self.text, key, &[',', '=', ' ']);
            self.text.push('=');
            escape(&mut self.text, value, &[',', '=', ' ']);
        }
        self
    }

    /// A float; not there where it is not finite.
    #[must_use]
    pub fn float(mut self, key: &str, value: Option<f64>) -> Self {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            self.key(key);
            // `{:?}` is the shortest form that reads back as the same number.
            let written = format!("{value:?}");
            self.text.push_str(written.strip_suffix(".0").unwrap_or(&written));
        }
        self
    }

    /// A signed integer.
    #[must_use]
    pub fn integer(mut self, key: &str, value: i64) -> Self {
        self.key(key);
        // Writing into a String cannot fail.
        let _written = write!(self.text, "{value}i");
        self
    }

    /// A text; not there where it is empty.
    #[must_use]
    pub fn text(mut self, key: &str, value: &str) -> Self {
        if value.is_empty() {
            return self;
        }
        self.key(key);
        self.text.push('"');
        for c in value.chars() {
            if matches!(c, '"' | '\\') {
                self.text.push('\\');
            }
            self.text.push(c);
        }
        self.text.push('"');
        self
    }

    /// The line at this moment (ms since 1970), without a line break; `None` where it has no field.
    pub fn at(mut self, civil_ms: i64) -> Option<String> {
        // Writing into a String cannot fail.
        let _written = write!(self.text, " {civil_ms}");
        (self.fields > 0).then_some(self.text)
    }

    fn key(&mut self, key: &str) {
        self.text.push(if self.fields == 0 { ' ' } else { ',' });
        escape(&mut self.text, key, &[',', '=', ' ']);
        self.text.push('=');
        self.fields += 1;
    }
}

fn escape(out: &mut String, name: &str, special: &[char]) {
    for c in name.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => {
                if special.contains(&c) {
                    out.push('\\');
                }
                out.push(c);
            }
        }
    }
    if name.ends_with('\\') {
        out.push(' ');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_escaped_and_numbers_keep_their_kind() {
        let line = Line::new("a b,c=d")
            .tag("k e,y=", "v a,l=u")
            .tag("none", "")
            .tag("path", "C:\\")
            .float("f", Some(25.10))
            .float("whole", Some(-3.0))
            .float("nan", Some(f64::NAN))
            .integer("i", -7)
            .text("t", "say \"hi\" \\ there\nnow")
            .at(1_700_000_000_123);
        assert_eq!(
            line.as_deref(),
            Some(concat!(
                "a\\ b\\,c=d,k\\ e\\,y\\==v\\ a\\,l\\=u,path=C:\\  f=25.1,whole=-3,i=-7i,",
                "t=\"say \\\"hi\\\" \\\\ there\nnow\" 1700000000123"
            ))
        );
        assert_eq!(Line::new("m").tag("a", "b").float("f", None).at(1), None);
    }

    /// What a reader of the protocol makes of a line: written from InfluxDB's description, not from the writer.
    fn read(line: &str) -> (Vec<String>, Vec<(String, String)>, i64) {
        let (mut parts, mut part, mut quoted, mut escaped) = (Vec::new(), String::new(), false, false);
        for c in line.chars() {
            match c {
                _ if escaped => {
                    part.push('\\');
                    part.push(c);
                    escaped = false;
                }
                '\\' => escaped = true,
                // Quotes mean something among the fields only.
                '"' if parts.len() == 1 => {
                    quoted = !quoted;
                    part.push(c);
                }
                ' ' if !quoted => parts.push(std::mem::take(&mut part)),
                c => part.push(c),
            }
        }
        parts.push(part);
        assert_eq!(parts.len(), 3, "{line}");
        let split = |text: &str, at: char, quotes: bool| {
            let (mut all, mut one, mut quoted, mut escaped) = (Vec::new(), String::new(), false, false);
            for c in text.chars() {
                if escaped {
                    one.push('\\');
                    one.push(c);
                    escaped = false;
                } else if c == '\\' {
                    escaped = true;
                } else if c == '"' && quotes {
                    quoted = !quoted;
                    one.push(c);
                } else if c == at && !quoted {
                    all.push(std::mem::take(&mut one));
                } else {
                    one.push(c);
                }
            }
            all.push(one);
            all
        };
        let pairs = |field: &String| {
            let pair = split(field, '=', true);
            assert_eq!(pair.len(), 2, "{field}");
            (pair[0].clone(), pair[1].clone())
        };
        let fields = split(&parts[1], ',', true).iter().map(pairs).collect();
        (split(&parts[0], ',', false), fields, parts[2].parse().unwrap())
    }

    proptest! {
        #[test]
        fn no_name_or_text_breaks_out_of_its_place(name in "[^\\\\]{1,12}", key in "[^\\\\]{1,12}", value in "[^\\\\]{1,12}", text in ".{1,20}", number in any::<f64>(), at in any::<i64>()) {
            let line = Line::new(&name).tag(&key, &value).tag("b", "c").integer("i", 1).float("f", Some(number)).text("t", &text).at(at).unwrap();
            let (series, fields, when) = read(&line);
            prop_assert_eq!(series.len(), 3, "{}", line);
            prop_assert_eq!(series[2].as_str(), "b=c");
            prop_assert_eq!(when, at);
            prop_assert_eq!(fields[0].1.as_str(), "1i");
            if number.is_finite() {
                prop_assert_eq!(fields[1].1.parse::<f64>().unwrap().to_bits(), number.to_bits());
            }
            let written = &fields.last().unwrap().1;
            let inner = written.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
            let mut unescaped = String::new();
            let mut chars = inner.chars();
            while let Some(c) = chars.next() {
                unescaped.push(if c == '\\' { chars.next().unwrap() } else { c });
            }
            prop_assert_eq!(unescaped, text);
        }
    }
}
