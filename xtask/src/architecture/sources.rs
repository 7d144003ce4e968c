//! What a source file may say, found by plain search in its code, with comments and the text of string literals
//! left out. Clippy knows most of this better (`crates/leveret-broker/clippy.toml`); this is the belt to its
//! braces, and it sees words that no lint looks for.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::tree::Tree;

const IMPURE: &[&str] = &[
    "std::net",
    "std::fs",
    "std::thread",
    "std::process",
    "std::os::unix::net",
    "Instant::now",
    "SystemTime::now",
    "tokio",
];
const FRAME_WORDS: &[&str] = &["frame"];
const AMQP_WORDS: &[&str] =
    &["amqp", "exchange", "routing", "vhost", "binding", "headers", "dead_letter", "deadletter", "x_delay"];
const UNDONE: &[&str] = &["todo!", "unimplemented!", "#[ignore"];
const EMPTY_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "common", "manager", "misc"];

pub(super) fn core_is_pure(tree: &Tree) -> Result<Vec<String>> {
    search(&tree.root().join("crates/leveret-broker/src"), IMPURE, Part::OutsideTests)
}

pub(super) fn core_names_no_frame(tree: &Tree) -> Result<Vec<String>> {
    search(&tree.root().join("crates/leveret-broker/src"), FRAME_WORDS, Part::OutsideTests)
}

pub(super) fn store_names_no_amqp(tree: &Tree) -> Result<Vec<String>> {
    search(&tree.root().join("crates/leveret-store/src"), AMQP_WORDS, Part::All)
}

pub(super) fn nothing_is_left_undone(tree: &Tree) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for room in ["crates", "fuzz", "systems", "xtask"] {
        findings.extend(search(&tree.root().join(room), UNDONE, Part::All)?);
    }
    Ok(findings)
}

pub(super) fn modules_have_subjects(tree: &Tree) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for room in ["crates", "fuzz", "systems", "xtask"] {
        for file in sources(&tree.root().join(room))? {
            findings.extend(empty_name(&file));
        }
    }
    Ok(findings)
}

/// Looks at the file's name and at its folder's, since a folder names a module too.
fn empty_name(file: &Path) -> Option<String> {
    let names = [file.file_stem(), file.parent().and_then(Path::file_name)];
    let name = names.into_iter().flatten().find(|name| EMPTY_NAMES.iter().any(|empty| name == empty))?;
    Some(format!("{}: `{}` says nothing about its subject", file.display(), name.display()))
}

#[derive(Clone, Copy)]
enum Part {
    All,
    /// What stands before the file's tests, which by custom come last.
    OutsideTests,
}

fn search(folder: &Path, words: &[&str], part: Part) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for file in sources(folder)? {
        let text = fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
        let found = find(&text, words, part);
        findings.extend(found.map(|(line, word)| format!("{}:{line}: `{word}`", file.display())));
    }
    Ok(findings)
}

/// Line numbers, from 1, and the words found there.
fn find<'a>(text: &'a str, words: &'a [&'a str], part: Part) -> impl Iterator<Item = (usize, &'a str)> {
    text.lines()
        .take_while(move |line| matches!(part, Part::All) || line.trim() != "#[cfg(test)]")
        .enumerate()
        .filter_map(|(index, line)| {
            let code = code_of(line).to_lowercase();
            let word = words.iter().find(|word| code.contains(&word.to_lowercase()))?;
            Some((index + 1, *word))
        })
}

/// A line without its comment and without what stands between quotes. Raw strings over several lines are
/// taken for code, which only ever makes a check too strict.
fn code_of(line: &str) -> String {
    let mut code = String::new();
    let mut in_string = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if in_string => drop(characters.next()),
            '"' => in_string = !in_string,
            '/' if !in_string && characters.peek() == Some(&'/') => break,
            _ if in_string => {}
            _ => code.push(character),
        }
    }
    code
}

/// The Rust files under a folder.
fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).with_context(|| format!("{} cannot be listed", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, part: Part) -> Vec<usize> {
        find(text, &["Frame", "todo!"], part).map(|(line, _)| line).collect()
    }

    #[test]
    fn comments_and_quoted_text_are_not_code() {
        assert_eq!(
            found("// a frame\nlet a = \"frame \\\" frame\"; // todo!()\nFrame::new()", Part::All),
            [3]
        );
        assert_eq!(found("read_frame();\ntodo!()", Part::All), [1, 2]);
    }

    #[test]
    fn the_tests_at_a_files_end_may_be_left_out() {
        let text = "fn code() {}\n#[cfg(test)]\nmod tests { frame }";
        assert_eq!(found(text, Part::OutsideTests), [0; 0]);
        assert_eq!(found(text, Part::All), [3]);
    }

    #[test]
    fn a_module_is_named_after_its_subject() {
        assert!(empty_name(Path::new("crates/x/src/utils.rs")).is_some());
        assert!(empty_name(Path::new("crates/x/src/common/mod.rs")).is_some());
        assert!(empty_name(Path::new("crates/x/src/queue.rs")).is_none());
    }
}
