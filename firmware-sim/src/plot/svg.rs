//! The few shapes a picture is made of.

use std::fmt::Write as _;

/// Classes, and nothing else, say how things look.
const STYLE: &str = "\
svg{background:#fff}\
text{font:12px system-ui,'Noto Sans','Noto Sans CJK SC',sans-serif;fill:#333}\
.title{font-size:16px;font-weight:600;fill:#111}.name{fill:#777}.label{font-weight:600}\
.small{font-size:10.5px;fill:#555}\
.frame{fill:none;stroke:#ccc}.tick{stroke:#eee}.day{stroke:#bbb}\
.shown{fill:none;stroke:#1c6dd0;stroke-width:1.2;stroke-linejoin:round}\
.truth{fill:none;stroke:#999;stroke-width:1}\
.door{fill:#7a5c2e}.fault{fill:#e08a00}.shade{fill:#f6a62333}\
.raised{fill:#c4161c}.active{fill:#c4161c88}.notyet{fill:none;stroke:#777;stroke-dasharray:3 2}";

/// A picture that is being written.
pub(super) struct Svg(String);

impl Svg {
    pub(super) fn new(width: i64, height: i64) -> Self {
        let mut svg = Self(String::new());
        svg.put(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">\n<style>{STYLE}</style>\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
        ));
        svg
    }

    pub(super) fn finish(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }

    pub(super) fn text(&mut self, x: i64, y: i64, class: &str, text: &str) {
        self.anchored(x, y, class, "start", text);
    }

    pub(super) fn text_end(&mut self, x: i64, y: i64, class: &str, text: &str) {
        self.anchored(x, y, class, "end", text);
    }

    pub(super) fn text_middle(&mut self, x: i64, y: i64, class: &str, text: &str) {
        self.anchored(x, y, class, "middle", text);
    }

    fn anchored(&mut self, x: i64, y: i64, class: &str, anchor: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let anchor = if anchor == "start" { String::new() } else { format!(" text-anchor=\"{anchor}\"") };
        self.put(format_args!("<text x=\"{x}\" y=\"{y}\" class=\"{class}\"{anchor}>{text}</text>\n"));
    }

    pub(super) fn rect(&mut self, x: i64, y: i64, width: i64, height: i64, class: &str) {
        self.put(format_args!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" class=\"{class}\"/>\n"
        ));
    }

    pub(super) fn line(&mut self, x: i64, from: i64, to: i64, class: &str) {
        self.put(format_args!("<path d=\"M{x} {from}V{to}\" class=\"{class}\"/>\n"));
    }

    pub(super) fn path(&mut self, x: i64, y: i64, data: &str, class: &str) {
        if !data.is_empty() {
            self.put(format_args!(
                "<path transform=\"translate({x} {y})\" d=\"{data}\" class=\"{class}\"/>\n"
            ));
        }
    }

    /// Points down at `x`.
    pub(super) fn triangle(&mut self, x: i64, y: i64, class: &str) {
        self.put(format_args!("<path d=\"M{} {y}h10l-5 10z\" class=\"{class}\"/>\n", x - 5));
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("a text can be written to");
    }
}
