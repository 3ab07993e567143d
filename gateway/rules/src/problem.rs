//! What is wrong with a file, and how a person gets to see it.

use std::fmt;
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// One file: its name as shown, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// `deploy/example/hotel.toml`, `packs/cold-chain.toml`.
    pub name: String,
    /// All of it.
    pub text: String,
}

/// Does it stop us?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing starts.
    Error,
    /// Odd, but not wrong.
    Warning,
}

/// One thing that is wrong, where, and what would help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// [`Source::name`] of the file.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// Bytes of the text it is about.
    pub span: Range<usize>,
    /// Does it stop us?
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem at `span` of `source`; a span outside the text is moved to its nearest end.
    pub fn at(source: &Source, span: Range<usize>, severity: Severity, message: String) -> Self {
        let span = within(&source.text, &span);
        let before = &source.text[..span.start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            file: source.name.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            span,
            severity,
            message,
            hint: None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

/// All problems as a page of text: message, place, the line itself, a caret under it, a hint. Sorted by file
/// and place; a file that is not among `sources` is named without its line. Without `color` plain ASCII.
pub fn render(problems: &[Problem], sources: &[Source], color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() }.decor_style(DecorStyle::Ascii);
    let mut sorted: Vec<_> = problems.iter().collect();
    sorted.sort_by(|a, b| (&a.file, a.span.start, a.span.end).cmp(&(&b.file, b.span.start, b.span.end)));
    let pages: Vec<_> = sorted.into_iter().map(|problem| page(&renderer, problem, sources)).collect();
    pages.join("\n")
}

fn page(renderer: &Renderer, problem: &Problem, sources: &[Source]) -> String {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let Some(source) = sources.iter().find(|source| source.name == problem.file) else {
        let hint = problem.hint.as_ref().map_or(String::new(), |hint| format!("\n  hint: {hint}"));
        return format!("{problem}{hint}\n");
    };
    let snippet = Snippet::source(source.text.as_str())
        .path(source.name.as_str())
        .annotation(AnnotationKind::Primary.span(caret(&source.text, &within(&source.text, &problem.span))));
    let mut group = level.primary_title(problem.message.as_str()).element(snippet);
    if let Some(hint) = &problem.hint {
        group = group.element(Level::HELP.with_name("hint").message(hint.as_str()));
    }
    let mut page = renderer.render(&[group]);
    page.push('\n');
    page
}

/// A caret never runs over the end of its line: a table is pointed at by its first line.
fn caret(text: &str, span: &Range<usize>) -> Range<usize> {
    let line_end = text[span.start..].find('\n').map_or(text.len(), |newline| span.start + newline);
    span.start..span.end.min(line_end).max(span.start)
}

/// `span`, moved into `text` and onto character boundaries.
fn within(text: &str, span: &Range<usize>) -> Range<usize> {
    let floor = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let start = floor(span.start);
    start..floor(span.end).max(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_lines_and_characters_from_one() {
        let source = Source { name: "a.toml".into(), text: "一 = 1\n二三 = x\n".into() };
        let at = source.text.find('x').unwrap();
        let problem = Problem::at(&source, at..at + 1, Severity::Error, "no".into());
        assert_eq!(problem.to_string(), "a.toml:2:6: no");
    }

    #[test]
    fn a_span_outside_the_text_is_no_panic() {
        let source = Source { name: "a".into(), text: "é".into() };
        let problem = Problem::at(&source, 1..99, Severity::Warning, "odd".into());
        assert_eq!(problem.span, 0..2);
        assert!(render(&[problem], &[source], false).contains("warning: odd"));
    }

    #[test]
    fn a_file_that_is_not_at_hand_is_still_named() {
        let source = Source { name: "gone".into(), text: "x".into() };
        let mut problem = Problem::at(&source, 0..1, Severity::Error, "no".into());
        problem.hint = Some("yes".into());
        assert_eq!(render(&[problem], &[], false), "gone:1:1: no\n  hint: yes\n");
    }
}
