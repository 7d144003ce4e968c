//! Values as case files write them: what is sent, what is expected, and how what came is shown. A number in a
//! table may carry the letter of its AMQP type (`5l`, `100T`); without one it is `I`, a signed 32-bit integer.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use leveret_amqp::{FieldTable, Value};

/// The name in a table that stands for further pairs.
pub(super) const MORE: &str = "...";

/// A value in a case file.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Term {
    Void,
    Bool(bool),
    /// An integer with the letter of its type, where one is written.
    Integer(i128, Option<char>),
    /// `f` or `d`.
    Float(f64, char),
    Decimal(u8, i32),
    Text(String),
    Binary(Vec<u8>),
    Array(Vec<Term>),
    Table(Vec<(String, Term)>),
    /// `*`: there, with any value.
    Any,
    /// `~"glob"`: a text in which each `*` stands for anything.
    Like(String),
    /// `@name`: on the way in, keeps the text under that name; on the way out, stands for it.
    Kept(String, Option<String>),
}

/// What the names of a case stand for: `$q` for a name that nobody else has, `@x` for what a broker has sent.
pub(super) struct Names {
    prefix: String,
    words: Vec<(&'static str, String)>,
    kept: BTreeMap<String, String>,
}

impl Names {
    pub(super) fn new(prefix: String, words: Vec<(&'static str, String)>) -> Self {
        Self { prefix, words, kept: BTreeMap::new() }
    }

    /// A text with its `$names` filled in. Two dollars are one.
    pub(super) fn fill(&self, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            filled.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                filled.push('$');
                rest = after;
                continue;
            }
            let end = after.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(after.len());
            let name = &after[..end];
            match self.words.iter().find(|(word, _)| *word == name) {
                Some((_, meaning)) => filled.push_str(meaning),
                None => filled.push_str(&format!("{}{name}", self.prefix)),
            }
            rest = &after[end..];
        }
        filled + rest
    }

    /// A text as a case file would write it.
    fn unfill(&self, text: &str) -> String {
        let mut text = text.replace(&self.prefix, "$");
        for (name, kept) in &self.kept {
            if !kept.is_empty() {
                text = text.replace(kept.as_str(), &format!("@{name}"));
            }
        }
        text
    }

    fn kept(&self, name: &str) -> Result<&str> {
        self.kept.get(name).map(String::as_str).with_context(|| format!("nothing is kept as @{name}"))
    }
}

impl Term {
    /// The value to send.
    pub(super) fn value(&self, names: &Names) -> Result<Value> {
        Ok(match self {
            Self::Void => Value::Void,
            Self::Bool(v) => Value::Bool(*v),
            Self::Integer(n, letter) => integer(*n, letter.unwrap_or('I'))?,
            Self::Float(n, 'f') => Value::F32(*n as f32),
            Self::Float(n, _) => Value::F64(*n),
            Self::Decimal(scale, n) => Value::Decimal(*scale, *n),
            Self::Text(text) => Value::Text(names.fill(text).into_bytes()),
            Self::Binary(bytes) => Value::Binary(bytes.clone()),
            Self::Kept(name, _) => Value::Text(names.kept(name)?.into()),
            Self::Array(items) => {
                Value::Array(items.iter().map(|item| item.value(names)).collect::<Result<_>>()?)
            }
            Self::Table(pairs) => Value::Table(FieldTable(
                pairs
                    .iter()
                    .map(|(name, term)| Ok((names.fill(name), term.value(names)?)))
                    .collect::<Result<_>>()?,
            )),
            Self::Any | Self::Like(_) => bail!("a pattern cannot be sent"),
        })
    }

    /// Whether a value that came is the one expected. Tables are equal in any order. In a method's field
    /// (`typed` false) an integer without a letter stands for any width.
    pub(super) fn matches(&self, value: &Value, typed: bool, names: &mut Names) -> bool {
        match (self, value) {
            (Self::Any, _) => true,
            (Self::Like(glob), Value::Text(text)) => {
                is_like(&names.fill(glob), &String::from_utf8_lossy(text))
            }
            (Self::Kept(name, glob), Value::Text(text)) => {
                let text = String::from_utf8_lossy(text).into_owned();
                if let Some(kept) = names.kept.get(name) {
                    return *kept == text;
                }
                let is_like = glob.as_ref().is_none_or(|glob| is_like(&names.fill(glob), &text));
                names.kept.insert(name.clone(), text);
                is_like
            }
            (Self::Integer(n, None), value) if !typed => value.as_i64().map(i128::from) == Some(*n),
            (Self::Array(terms), Value::Array(items)) => {
                terms.len() == items.len()
                    && terms.iter().zip(items).all(|(term, item)| term.matches(item, true, names))
            }
            (Self::Table(terms), Value::Table(table)) => table_matches(terms, table, names),
            (Self::Float(..), Value::F32(_) | Value::F64(_)) => {
                self.value(names).is_ok_and(|it| it == *value)
            }
            (Self::Like(_) | Self::Kept(..), _) => false,
            (term, value) => term.value(names).is_ok_and(|expected| expected == *value),
        }
    }
}

fn table_matches(terms: &[(String, Term)], table: &FieldTable, names: &mut Names) -> bool {
    let may_have_more = terms.iter().any(|(name, _)| name == MORE);
    let all_there = terms.iter().filter(|(name, _)| name != MORE).all(|(name, term)| {
        let name = names.fill(name);
        table.find(&name).is_some_and(|value| term.matches(value, true, names))
    });
    all_there && (may_have_more || terms.len() == table.0.len())
}

fn integer(n: i128, letter: char) -> Result<Value> {
    let fits = || format!("{n} does not fit its type {letter}");
    Ok(match letter {
        'b' => Value::I8(n.try_into().with_context(fits)?),
        'B' => Value::U8(n.try_into().with_context(fits)?),
        's' => Value::I16(n.try_into().with_context(fits)?),
        'u' => Value::U16(n.try_into().with_context(fits)?),
        'I' => Value::I32(n.try_into().with_context(fits)?),
        'i' => Value::U32(n.try_into().with_context(fits)?),
        'l' => Value::I64(n.try_into().with_context(fits)?),
        'L' => Value::U64(n.try_into().with_context(fits)?),
        'T' => Value::Timestamp(n.try_into().with_context(fits)?),
        other => bail!("no integer type has the letter {other}"),
    })
}

/// Whether a text is the glob, in which each `*` stands for anything.
pub(super) fn is_like(glob: &str, text: &str) -> bool {
    let Some((first, rest)) = glob.split_once('*') else { return glob == text };
    let Some(mut left) = text.strip_prefix(first) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return left.ends_with(part);
        }
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    true
}

/// A value as a case file would write it.
pub(super) fn shown(value: &Value, typed: bool, names: &Names) -> String {
    let number = |n: i128, letter: &str| if typed { format!("{n}{letter}") } else { n.to_string() };
    match value {
        Value::Void => "void".into(),
        Value::Bool(v) => v.to_string(),
        Value::I8(n) => number((*n).into(), "b"),
        Value::U8(n) => number((*n).into(), "B"),
        Value::I16(n) => number((*n).into(), "s"),
        Value::U16(n) => number((*n).into(), "u"),
        Value::I32(n) => n.to_string(),
        Value::U32(n) => number((*n).into(), "i"),
        Value::I64(n) => number((*n).into(), "l"),
        Value::U64(n) => number((*n).into(), "L"),
        Value::Timestamp(n) => number((*n).into(), "T"),
        Value::F32(n) => format!("{n:?}f"),
        Value::F64(n) => format!("{n:?}d"),
        Value::Decimal(scale, n) => format!("decimal({scale},{n})"),
        Value::Text(text) => shown_text(&names.unfill(&String::from_utf8_lossy(text))),
        Value::Binary(bytes) => format!("x\"{}\"", hex(bytes)),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| shown(item, true, names)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Table(table) => {
            let pairs: Vec<_> = table
                .0
                .iter()
                .map(|(name, value)| format!("{}: {}", names.unfill(name), shown(value, true, names)))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
    }
}

fn shown_text(text: &str) -> String {
    let text = if text.chars().count() > 300 {
        format!("{}… ({} bytes)", text.chars().take(40).collect::<String>(), text.len())
    } else {
        text.to_owned()
    };
    let is_word = |c: char| c.is_ascii_alphanumeric() || "$-_.#*/".contains(c);
    let reads_as_text = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '$');
    if reads_as_text && text.chars().all(is_word) { text } else { format!("{text:?}") }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes from their hexadecimal digits.
pub(super) fn from_hex(digits: &str) -> Result<Vec<u8>> {
    ensure!(digits.is_ascii() && digits.len().is_multiple_of(2), "'{digits}' is not bytes in hexadecimal");
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16))
        .collect::<Result<_, _>>()
        .with_context(|| format!("'{digits}' is not bytes in hexadecimal"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_is_anchored_at_both_ends() {
        assert!(is_like("NOT_FOUND - no queue '*' in*", "NOT_FOUND - no queue 'q' in vhost '/'"));
        assert!(is_like("*", ""));
        assert!(!is_like("a*c", "abcd"));
        assert!(!is_like("b*", "abc"));
        assert!(!is_like("plain", "plainer"));
    }

    #[test]
    fn names_are_filled_and_found_again() {
        let names = Names::new("c1-".into(), vec![("vhost", "/".into())]);
        assert_eq!(names.fill("queue '$q' in '$vhost', $$5"), "queue 'c1-q' in '/', $5");
        assert_eq!(names.unfill("queue 'c1-q'"), "queue '$q'");
    }

    #[test]
    fn types_matter_in_tables_and_widths_do_not_in_fields() {
        let mut names = Names::new("c1-".into(), Vec::new());
        let one = Term::Integer(1, None);
        assert!(one.matches(&Value::I32(1), true, &mut names));
        assert!(!one.matches(&Value::I64(1), true, &mut names));
        assert!(one.matches(&Value::I64(1), false, &mut names));
        assert!(!Term::Text("1".into()).matches(&Value::I32(1), false, &mut names));
    }
}
