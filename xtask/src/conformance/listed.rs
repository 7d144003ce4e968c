//! The list of differences in docs/compatibility.md: the cases named in its sections "Differences" and "Not there
//! yet". `file/*` names all cases of a file.

use std::fs;

use anyhow::{Context, Result};

use crate::tree::Tree;

const PAGE: &str = "docs/compatibility.md";

/// The cases that are named as different.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) different: Vec<String>,
    pub(super) missing: Vec<String>,
}

/// Reads the page.
pub(super) fn read(tree: &Tree) -> Result<Listed> {
    let text = fs::read_to_string(tree.root().join(PAGE)).with_context(|| format!("{PAGE} is not there"))?;
    Ok(parse(&text))
}

fn parse(text: &str) -> Listed {
    let mut listed = Listed::default();
    let mut section = "";
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            section = heading.trim();
            continue;
        }
        let list = match section {
            "Differences" => &mut listed.different,
            "Not there yet" => &mut listed.missing,
            _ => continue,
        };
        list.extend(cases_in(line));
    }
    listed
}

/// What stands between backticks and looks like a case's name.
fn cases_in(line: &str) -> impl Iterator<Item = String> {
    line.split('`').skip(1).step_by(2).filter(|code| is_case(code)).map(str::to_owned)
}

fn is_case(code: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    code.split_once('/').is_some_and(|(file, name)| {
        !file.is_empty() && file.chars().all(is_plain) && (name == "*" || name.chars().all(is_plain))
    })
}

impl Listed {
    pub(super) fn is_different(&self, case: &str) -> bool {
        self.different.iter().any(|name| names(name, case))
    }

    pub(super) fn is_missing(&self, case: &str) -> bool {
        self.missing.iter().any(|name| names(name, case))
    }

    /// What is named and is no case.
    pub(super) fn unknown<'a>(&'a self, cases: &'a [&str]) -> impl Iterator<Item = &'a str> {
        let all = self.different.iter().chain(&self.missing);
        all.filter(|name| !cases.iter().any(|case| names(name, case))).map(String::as_str)
    }
}

fn names(listed: &str, case: &str) -> bool {
    match listed.strip_suffix('*') {
        Some(file) => case.starts_with(file),
        None => listed == case,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_found_in_their_sections_only() {
        let page = "# Page\n`a/b`\n## Differences\n| text | `errors/malformed`, `amq.*` | `delayed/*` |\n## Not there yet\n- `ttl/x`\n";
        let listed = parse(page);
        assert_eq!(listed.different, ["errors/malformed", "delayed/*"]);
        assert_eq!(listed.missing, ["ttl/x"]);
        assert!(listed.is_different("delayed/any") && !listed.is_different("errors/other"));
        assert_eq!(listed.unknown(&["errors/malformed", "delayed/x"]).collect::<Vec<_>>(), ["ttl/x"]);
    }
}
