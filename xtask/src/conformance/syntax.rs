//! The small grammar inside a line of a case file: words, quoted texts, numbers, tables, and `name=value` pairs.

use anyhow::{Context, Result, bail};

use super::value::{MORE, Term, from_hex};

/// One piece of a line.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    /// A value, or a word that may also be a flag's name.
    Value(Term),
    /// `name=value`.
    Named(String, Term),
    /// `:`, after which a message's body and properties stand.
    Content,
    /// `...`, further properties.
    More,
}

/// Takes a line apart.
pub(super) fn items(line: &str) -> Result<Vec<Item>> {
    let mut cursor = Cursor { rest: line };
    let mut items = Vec::new();
    loop {
        cursor.skip_space();
        if cursor.rest.is_empty() {
            return Ok(items);
        }
        items.push(cursor.item()?);
    }
}

struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, start: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(start) else { return false };
        self.rest = rest;
        true
    }

    fn word(&mut self, ends: &str) -> &'a str {
        let is_end = |c: char| c.is_whitespace() || ends.contains(c);
        let end = self.rest.find(is_end).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn item(&mut self) -> Result<Item> {
        if self.eat("...") {
            return Ok(Item::More);
        }
        if self.rest == ":" || self.rest.starts_with(": ") || self.rest.starts_with(":\n") {
            self.rest = &self.rest[1..];
            return Ok(Item::Content);
        }
        let start = self.rest;
        let name = self.word("=\"{[~@");
        if !name.is_empty() && self.eat("=") {
            return Ok(Item::Named(name.into(), self.term("")?));
        }
        self.rest = start;
        self.term("").map(Item::Value)
    }

    fn term(&mut self, ends: &str) -> Result<Term> {
        self.skip_space();
        if self.eat("\"") {
            let text = self.quoted()?;
            return Ok(Term::Text(self.repeated(text)?));
        }
        if self.eat("~\"") {
            return self.quoted().map(Term::Like);
        }
        if self.eat("x\"") {
            return Ok(Term::Binary(from_hex(&self.quoted()?)?));
        }
        if self.eat("@") {
            let name = self.word("~,}]").to_owned();
            let glob = if self.eat("~\"") { Some(self.quoted()?) } else { None };
            return Ok(Term::Kept(name, glob));
        }
        if self.eat("{") {
            return self.table();
        }
        if self.eat("[") {
            return self.array();
        }
        match self.word(ends) {
            "" => bail!("a value is missing at: {}", self.rest),
            word => word_term(word),
        }
    }

    /// `"ab"*3` is a long text written shortly.
    fn repeated(&mut self, text: String) -> Result<String> {
        if !self.eat("*") {
            return Ok(text);
        }
        let times = self.word(",}]");
        Ok(text.repeat(times.parse().with_context(|| format!("'{times}' is not how often"))?))
    }

    fn quoted(&mut self) -> Result<String> {
        let mut text = String::new();
        let mut characters = self.rest.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(text);
                }
                '\\' => match characters.next() {
                    Some((_, '0')) => text.push('\0'),
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, other)) => text.push(other),
                    None => break,
                },
                other => text.push(other),
            }
        }
        bail!("a quote is not closed")
    }

    fn table(&mut self) -> Result<Term> {
        let mut pairs = Vec::new();
        loop {
            self.skip_space();
            if self.eat("}") {
                return Ok(Term::Table(pairs));
            }
            if self.eat("...") {
                pairs.push((MORE.into(), Term::Any));
                continue;
            }
            let name = if self.eat("\"") { self.quoted()? } else { self.word(":,}").to_owned() };
            self.skip_space();
            if !self.eat(":") {
                bail!("a table's name {name} has no value");
            }
            pairs.push((name, self.term(",}")?));
            self.skip_space();
            let _last = self.eat(",");
        }
    }

    fn array(&mut self) -> Result<Term> {
        let mut terms = Vec::new();
        loop {
            self.skip_space();
            if self.eat("]") {
                return Ok(Term::Array(terms));
            }
            terms.push(self.term(",]")?);
            self.skip_space();
            let _last = self.eat(",");
        }
    }
}

fn word_term(word: &str) -> Result<Term> {
    let starts_a_number = word.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit());
    Ok(match word {
        "*" => Term::Any,
        "void" => Term::Void,
        "true" => Term::Bool(true),
        "false" => Term::Bool(false),
        _ if starts_a_number => number(word)?,
        _ => Term::Text(word.into()),
    })
}

fn number(word: &str) -> Result<Term> {
    let digits = word.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let letter = word[digits.len()..].chars().next();
    let wrong = || format!("'{word}' is no number; a text that begins with a digit is quoted");
    if let Some(letter @ ('f' | 'd')) = letter {
        return Ok(Term::Float(digits.parse().with_context(wrong)?, letter));
    }
    if letter == Some('D') {
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let unscaled = format!("{whole}{fraction}").parse().with_context(wrong)?;
        return Ok(Term::Decimal(u8::try_from(fraction.len())?, unscaled));
    }
    Ok(Term::Integer(digits.parse().with_context(wrong)?, letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_falls_into_its_items() {
        let line = r#"$q durable x=5l "a b" {k: [1, "z"], t: {}} : "body"*2 priority=1 ..."#;
        let text = |text: &str| Term::Text(text.into());
        let expected = vec![
            Item::Value(text("$q")),
            Item::Value(text("durable")),
            Item::Named("x".into(), Term::Integer(5, Some('l'))),
            Item::Value(text("a b")),
            Item::Value(Term::Table(vec![
                ("k".into(), Term::Array(vec![Term::Integer(1, None), text("z")])),
                ("t".into(), Term::Table(Vec::new())),
            ])),
            Item::Content,
            Item::Value(text("bodybody")),
            Item::Named("priority".into(), Term::Integer(1, None)),
            Item::More,
        ];
        assert_eq!(items(line).unwrap(), expected);
    }

    #[test]
    fn patterns_and_numbers() {
        let one = |line: &str| items(line).unwrap().remove(0);
        assert_eq!(one(r#"~"a*""#), Item::Value(Term::Like("a*".into())));
        assert_eq!(one(r#"@g~"amq.gen-*""#), Item::Value(Term::Kept("g".into(), Some("amq.gen-*".into()))));
        assert_eq!(one("-1.5d"), Item::Value(Term::Float(-1.5, 'd')));
        assert_eq!(one("1.25D"), Item::Value(Term::Decimal(2, 125)));
        assert_eq!(one(r#"x"00ff""#), Item::Value(Term::Binary(vec![0, 255])));
        assert!(items("\"open").is_err());
        assert!(items("5x7").is_err());
    }
}
