//! House rules that no compiler checks.

use std::path::{Path, PathBuf};

use e2e::gateway;
use e2e::ground::root;

/// All files with that extension that are part of the repository.
fn files(extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![root()];
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if entry.file_type().unwrap().is_dir() {
                if name != "target" && !name.starts_with('.') {
                    pending.push(path);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn named(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

#[test]
fn every_source_file_says_what_it_is() {
    let silent: Vec<_> = files("rs")
        .into_iter()
        .filter(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            !text.lines().take(3).any(|line| line.starts_with("//! ") && line.len() > 15)
        })
        .map(|path| named(&path))
        .collect();
    assert!(silent.is_empty(), "no module documentation in\n{}", silent.join("\n"));
}

#[test]
fn nothing_is_left_undone_in_the_sources() {
    // Written in two halves, so that this file does not find itself.
    let marks =
        [["FIX", "ME"], ["TO", "DO"], ["XX", "X"], ["todo", "!("], ["unimplemented", "!("], ["dbg", "!("]];
    let marks: Vec<String> = marks.iter().map(|halves| halves.concat()).collect();
    let left: Vec<_> = files("rs")
        .into_iter()
        .flat_map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let left = text.lines().enumerate().filter(|(_, line)| {
                marks.iter().any(|mark| {
                    line.match_indices(mark.as_str()).any(|(at, _)| {
                        // A word of its own: serial numbers and masks such as XXXX are no marks.
                        let before = line[..at].chars().next_back();
                        let after = line[at + mark.len()..].chars().next();
                        let part = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
                        !part(before) && (mark.ends_with('(') || !part(after))
                    })
                })
            });
            left.map(|(at, line)| format!("{}:{}: {}", named(&path), at + 1, line.trim())).collect::<Vec<_>>()
        })
        .collect();
    assert!(left.is_empty(), "{}", left.join("\n"));
}

/// The longest file that a person still reads from the top, like a page. Longer needs a split.
const LINES_MAX: usize = 800;

#[test]
fn no_source_file_is_longer_than_a_person_reads() {
    let long: Vec<_> = files("rs")
        .into_iter()
        .filter_map(|path| {
            let lines = std::fs::read_to_string(&path).unwrap().lines().count();
            (lines > LINES_MAX).then(|| format!("{}: {lines} lines", named(&path)))
        })
        .collect();
    assert!(long.is_empty(), "longer than {LINES_MAX} lines:\n{}", long.join("\n"));
}

#[test]
fn example_sites_pass_the_check() {
    for name in ["hotel", "clinic", "hospital"] {
        let path = root().join(format!("deploy/example/{name}.toml"));
        gateway::command(["check".as_ref(), path.as_os_str()]).good();
    }
}

#[test]
fn ci_runs_the_command_that_the_readme_names() {
    let ci = std::fs::read_to_string(root().join(".ci/run")).unwrap();
    let command = "cargo xtask ci";
    assert!(ci.contains(command));
    for readme in ["README.md", "README.zh-CN.md"] {
        let text = std::fs::read_to_string(root().join(readme)).unwrap();
        assert!(text.contains(command), "{readme} does not name `{command}`");
        assert!(text.contains("cargo demo"), "{readme} does not name `cargo demo`");
    }
}
