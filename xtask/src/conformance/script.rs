//! Case files: what stands in `conformance/*.case`, read into steps. `conformance/README.md` describes the
//! language. Nothing is sent from here.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::method::{Kind, Method, is_property};
use super::syntax::{Item, items};
use super::value::{Term, from_hex};

/// One case.
pub(super) struct Case {
    /// `file/name`.
    pub(super) name: String,
    /// Which rule it shows, and where that rule comes from.
    pub(super) rule: String,
    /// The brokers that have the feature, all when none is named.
    pub(super) only: Option<Kin>,
    pub(super) steps: Vec<Step>,
}

/// The brokers that a case can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kin {
    RabbitMq,
    Leveret,
}

/// One line.
pub(super) struct Step {
    pub(super) line: usize,
    pub(super) text: String,
    /// The broker that it holds for, both when none is named.
    pub(super) only: Option<Kin>,
    pub(super) at: Place,
    pub(super) action: Action,
}

/// A channel of a connection. Both are opened when first named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) connection: String,
    pub(super) channel: u16,
    /// False for `!`: the channel is not to be opened first.
    pub(super) open: bool,
}

/// What a step does.
pub(super) enum Action {
    Send {
        method: &'static Method,
        fields: Vec<(String, Term)>,
        content: Option<Content>,
        times: u32,
    },
    Expect {
        method: &'static Method,
        fields: Vec<(String, Term)>,
        content: Option<Content>,
        anywhere: bool,
    },
    /// Nothing comes for so long.
    Nothing {
        ms: u64,
    },
    /// The broker closes the socket.
    End,
    /// Messages published on the channel get their confirms, single or several at once.
    Settled {
        acked: bool,
        first: u64,
        last: u64,
    },
    /// The queue comes to have so many ready messages, or consumers.
    Await {
        queue: Term,
        messages: Option<i128>,
        consumers: Option<i128>,
    },
    Gone {
        queue: Term,
    },
    Wait {
        ms: u64,
    },
    /// So long has gone by since the last line that says a method.
    Passed {
        ms: u64,
    },
    Bytes(Vec<u8>),
    Frame {
        kind: u8,
        payload: Vec<u8>,
    },
    Connect {
        raw: bool,
        options: Vec<(String, Term)>,
    },
    Vanish,
}

/// A message.
pub(super) struct Content {
    pub(super) body: Term,
    pub(super) properties: Vec<(String, Term)>,
    /// Whether it may have properties that are not named.
    pub(super) more: bool,
}

impl Case {
    /// Whether it expects different things of the brokers.
    pub(super) fn differs(&self) -> bool {
        self.steps.iter().any(|step| step.only.is_some())
    }
}

impl Kin {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::RabbitMq => "rabbitmq",
            Self::Leveret => "leveret",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::RabbitMq, Self::Leveret].into_iter().find(|kin| kin.name() == name)
    }
}

/// Reads all case files of a folder, by name.
pub(super) fn read_all(folder: &Path) -> Result<Vec<Case>> {
    let entries = fs::read_dir(folder).with_context(|| format!("{} cannot be listed", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "case"));
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let stem = file.file_stem().context("a file has a name")?.to_string_lossy().into_owned();
        let text = fs::read_to_string(&file)?;
        cases.extend(parse(&stem, &text).with_context(|| format!("in {}", file.display()))?);
    }
    for (index, case) in cases.iter().enumerate() {
        let again = cases[index + 1..].iter().any(|other| other.name == case.name);
        ensure!(!again, "there are two cases {}", case.name);
    }
    Ok(cases)
}

fn parse(stem: &str, text: &str) -> Result<Vec<Case>> {
    let mut cases: Vec<Case> = Vec::new();
    for (number, line) in logical_lines(text) {
        let at_line = || format!("line {number}: {line}");
        if let Some(name) = line.strip_prefix("case ") {
            let name = format!("{stem}/{}", name.trim());
            cases.push(Case { name, rule: String::new(), only: None, steps: Vec::new() });
            continue;
        }
        let case = cases.last_mut().context("a file begins with `case NAME`").with_context(at_line)?;
        if let Some(rule) = line.strip_prefix("rule ") {
            case.rule = rule.trim().into();
        } else if let Some(kin) = line.strip_prefix("only ") {
            case.only = Some(Kin::named(kin.trim()).context("no such broker").with_context(at_line)?);
        } else {
            case.steps.push(step(number, &line).with_context(at_line)?);
        }
    }
    for case in &cases {
        ensure!(!case.rule.is_empty(), "{} does not say its rule", case.name);
        ensure!(!case.steps.is_empty(), "{} has no steps", case.name);
    }
    Ok(cases)
}

/// Lines with their numbers, without comments. What is indented goes on with the line before.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let words = line.trim();
        if words.is_empty() || words.starts_with('#') {
            continue;
        }
        match lines.last_mut() {
            Some((_, last)) if line.starts_with(' ') => {
                last.push(' ');
                last.push_str(words);
            }
            _ => lines.push((index + 1, words.into())),
        }
    }
    lines
}

fn step(line: usize, text: &str) -> Result<Step> {
    let (only, rest) = match text.split_once(": ") {
        Some((kin, rest)) if Kin::named(kin).is_some() => (Kin::named(kin), rest.trim_start()),
        _ => (None, text),
    };
    let (at, rest) = place(rest)?;
    Ok(Step { line, text: text.into(), only, at, action: action(rest)? })
}

/// `[b2]` is channel 2 of connection b, `[2]` channel 2 of the first one; nothing is its channel 1.
fn place(text: &str) -> Result<(Place, &str)> {
    let Some((inside, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) else {
        return Ok((Place { connection: "a".into(), channel: 1, open: true }, text));
    };
    let (inside, open) = match inside.strip_suffix('!') {
        Some(inside) => (inside, false),
        None => (inside, true),
    };
    let digits = inside.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    let connection = &inside[..inside.len() - digits.len()];
    let connection = if connection.is_empty() { "a" } else { connection };
    let channel = if digits.is_empty() { 1 } else { digits.parse().context("a channel has a number")? };
    Ok((Place { connection: connection.into(), channel, open }, rest.trim_start()))
}

fn action(text: &str) -> Result<Action> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    Ok(match word {
        "<" | "<~" => expect(rest.trim(), word == "<~")?,
        "repeat" => {
            let (times, rest) = rest.trim().split_once(' ').context("repeat what?")?;
            send(rest.trim(), times.parse().context("repeat how often?")?)?
        }
        "nothing" => Action::Nothing { ms: milliseconds(rest)? },
        "wait" => Action::Wait { ms: milliseconds(rest)? },
        "passed" => Action::Passed { ms: milliseconds(rest)? },
        "end" => Action::End,
        "vanish" => Action::Vanish,
        "confirmed" | "nacked" => settled(word == "confirmed", rest.trim())?,
        "await" | "gone" => of_queue(word, rest)?,
        "bytes" => Action::Bytes(bytes(rest)?),
        "frame" => frame(rest)?,
        "connect" => connect(rest)?,
        _ => send(text, 1)?,
    })
}

fn milliseconds(text: &str) -> Result<u64> {
    let digits = text.trim().strip_suffix("ms").context("a time is written as 50ms")?;
    Ok(digits.parse()?)
}

fn settled(acked: bool, text: &str) -> Result<Action> {
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    Ok(Action::Settled { acked, first: first.parse()?, last: last.parse()? })
}

fn of_queue(word: &str, rest: &str) -> Result<Action> {
    let (mut queue, mut messages, mut consumers) = (None, None, None);
    for item in items(rest)? {
        match item {
            Item::Value(term) => queue = Some(term),
            Item::Named(name, Term::Integer(n, _)) if name == "messages" => messages = Some(n),
            Item::Named(name, Term::Integer(n, _)) if name == "consumers" => consumers = Some(n),
            other => bail!("{word} does not know {other:?}"),
        }
    }
    let queue = queue.context("which queue?")?;
    if word == "gone" {
        return Ok(Action::Gone { queue });
    }
    ensure!(messages.is_some() || consumers.is_some(), "await messages=N or consumers=N");
    Ok(Action::Await { queue, messages, consumers })
}

/// Hexadecimal digits and quoted texts.
fn bytes(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (text, after) = quoted.split_once('"').context("a quote is not closed")?;
            bytes.extend_from_slice(text.as_bytes());
            rest = after.trim_start();
        } else {
            let (digits, after) = rest.split_once(' ').unwrap_or((rest, ""));
            bytes.extend(from_hex(digits)?);
            rest = after.trim_start();
        }
    }
    Ok(bytes)
}

fn frame(text: &str) -> Result<Action> {
    let (kind, payload) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let kind = match kind {
        "method" => 1,
        "header" => 2,
        "body" => 3,
        "heartbeat" => 8,
        other => other.parse().context("a frame's kind is a word or a number")?,
    };
    Ok(Action::Frame { kind, payload: bytes(payload)? })
}

fn connect(text: &str) -> Result<Action> {
    let (mut raw, mut options) = (false, Vec::new());
    for item in items(text)? {
        match item {
            Item::Value(Term::Text(word)) if word == "raw" => raw = true,
            Item::Named(name, term) => options.push((name, term)),
            other => bail!("connect does not know {other:?}"),
        }
    }
    Ok(Action::Connect { raw, options })
}

fn send(text: &str, times: u32) -> Result<Action> {
    let (method, fields, content) = message(text)?;
    Ok(Action::Send { method, fields, content, times })
}

fn expect(text: &str, anywhere: bool) -> Result<Action> {
    let (method, fields, content) = message(text)?;
    Ok(Action::Expect { method, fields, content, anywhere })
}

type Message = (&'static Method, Vec<(String, Term)>, Option<Content>);

fn message(text: &str) -> Result<Message> {
    let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
    let method = Method::named(name).with_context(|| format!("there is no method {name}"))?;
    let mut items = items(rest)?;
    let content = match items.iter().position(|item| *item == Item::Content) {
        None => None,
        Some(at) => Some(content(items.drain(at..).skip(1))?),
    };
    Ok((method, fields(method, items)?, content))
}

/// Gives each item its field: flags by their name, tables by their type, the rest in order.
fn fields(method: &Method, items: Vec<Item>) -> Result<Vec<(String, Term)>> {
    let of_kind = |is: fn(Kind) -> bool| {
        method.fields().filter(move |(name, kind)| *name != "-" && is(*kind)).map(|(name, _)| name)
    };
    let mut in_order = of_kind(|kind| kind != Kind::Bit && kind != Kind::Table);
    let mut fields = Vec::new();
    for item in items {
        let (name, term) = match item {
            Item::Named(name, term) => (name, term),
            Item::Value(Term::Text(word)) if of_kind(|kind| kind == Kind::Bit).any(|flag| flag == word) => {
                (word, Term::Bool(true))
            }
            Item::Value(term @ Term::Table(_)) => {
                let table = of_kind(|kind| kind == Kind::Table).next();
                (table.with_context(|| format!("{} has no table", method.name))?.into(), term)
            }
            Item::Value(term) => (
                in_order.next().with_context(|| format!("too many fields for {}", method.name))?.into(),
                term,
            ),
            other => bail!("{} does not know {other:?}", method.name),
        };
        ensure!(method.fields().any(|(field, _)| field == name), "{} has no field {name}", method.name);
        fields.push((name, term));
    }
    Ok(fields)
}

fn content(items: impl Iterator<Item = Item>) -> Result<Content> {
    let mut content = Content { body: Term::Text(String::new()), properties: Vec::new(), more: false };
    for item in items {
        match item {
            Item::Value(body) => content.body = body,
            Item::Named(name, term) => {
                ensure!(is_property(&name), "there is no property {name}");
                content.properties.push((name, term));
            }
            Item::More => content.more = true,
            Item::Content => bail!("a second message"),
        }
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_read() {
        let text = "case one\nrule spec 1.4\nqueue.declare $q durable {x-expires: 5}\nleveret: [b2] < channel.close 404\n";
        let cases = parse("queues", text).unwrap();
        assert_eq!((cases[0].name.as_str(), cases[0].steps.len()), ("queues/one", 2));
        assert!(cases[0].differs());
        let last = &cases[0].steps[1];
        assert_eq!(last.only, Some(Kin::Leveret));
        assert_eq!(last.at, Place { connection: "b".into(), channel: 2, open: true });
        let Action::Send { fields, .. } = &cases[0].steps[0].action else { panic!("a send") };
        let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["queue", "durable", "arguments"]);
    }

    #[test]
    fn what_no_method_has_is_refused() {
        for line in ["queue.declare $q $r", "basic.ack 1 {}", "queue.burn $q", "queue.purge $q colour=1"] {
            assert!(action(line).is_err(), "{line}");
        }
    }

    #[test]
    fn every_case_of_the_suite_is_well_formed() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance");
        assert!(read_all(&folder).unwrap().len() >= 250);
    }
}
