//! Plays one case on one broker: sends what it says, and holds what comes against what it expects.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use leveret_amqp::{FrameKind, Value};

use super::arrival::{content_matches, fields_match, shown_arrival, shown_message, shown_method};
use super::client::{Address, Arrival, Client, Login, PATIENCE};
use super::method::Method;
use super::script::{Action, Case, Content, Kin, Place, Step};
use super::value::{Names, Term};

const CAPABILITIES: &[&str] = &[
    "authentication_failure_close",
    "basic.nack",
    "connection.blocked",
    "consumer_cancel_notify",
    "exchange_exchange_bindings",
    "publisher_confirms",
];

/// How a case went.
pub(super) struct Played {
    pub(super) failure: Option<String>,
    /// What was said, line by line.
    pub(super) transcript: Vec<String>,
}

/// Plays a case with the lines that are for `kin`, under names that begin with `prefix`.
pub(super) fn play(case: &Case, kin: Kin, address: &Address, prefix: &str) -> Played {
    let words = vec![
        ("user", address.user.clone()),
        ("password", address.password.clone()),
        ("vhost", address.vhost.clone()),
    ];
    let mut player = Player {
        address,
        names: Names::new(format!("{prefix}-"), words),
        clients: BTreeMap::new(),
        settled: BTreeMap::new(),
        declared: Vec::new(),
        said: Instant::now(),
        transcript: Vec::new(),
    };
    let failure = player.steps(case, kin).err().map(|error| format!("{error:#}"));
    player.clients.clear();
    let _best_effort = player.clean_up();
    Played { failure, transcript: player.transcript }
}

pub(super) struct Player<'a> {
    address: &'a Address,
    pub(super) names: Names,
    clients: BTreeMap<String, Client>,
    /// By connection and channel, the publishes that were confirmed (true) or refused.
    settled: BTreeMap<(String, u16), BTreeMap<u64, bool>>,
    /// What has to go afterwards: `exchange` or `queue`, and the name.
    declared: Vec<(&'static str, Vec<u8>)>,
    /// When a line last said a method.
    said: Instant,
    pub(super) transcript: Vec<String>,
}

impl Player<'_> {
    fn steps(&mut self, case: &Case, kin: Kin) -> Result<()> {
        let steps: Vec<&Step> =
            case.steps.iter().filter(|step| step.only.is_none_or(|only| only == kin)).collect();
        for (index, step) in steps.iter().enumerate() {
            let next = steps.get(index + 1);
            let is_expected = |answer: &Method| {
                next.is_some_and(|next| match &next.action {
                    Action::Expect { method, .. } => {
                        next.at.connection == step.at.connection
                            && (method.name == answer.name || method.name.ends_with(".close"))
                    }
                    _ => false,
                })
            };
            self.step(step, is_expected).with_context(|| format!("line {}: {}", step.line, step.text))?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step, is_expected: impl Fn(&Method) -> bool) -> Result<()> {
        let at = &step.at;
        match &step.action {
            Action::Send { method, fields, content, times } => {
                for index in 1..=*times {
                    self.send(at, method, fields, content.as_ref(), (*times > 1).then_some(index))?;
                }
                match method.answer() {
                    Some(answer) if !is_expected(answer) && !has_no_wait(fields) => self.answered(at, answer),
                    _ => Ok(()),
                }
            }
            Action::Expect { method, fields, content, anywhere } => {
                self.expect(at, (method, fields, content.as_ref()), *anywhere)
            }
            Action::Nothing { ms } => self.nothing(at, *ms),
            Action::End => self.end(at),
            Action::Settled { acked, first, last } => self.settled(at, *acked, (*first, *last)),
            Action::Await { queue, messages, consumers } => self.await_counts(queue, *messages, *consumers),
            Action::Gone { queue } => self.gone(queue),
            Action::Wait { ms } => {
                std::thread::sleep(Duration::from_millis(*ms));
                Ok(())
            }
            Action::Passed { ms } => self.passed(*ms),
            Action::Bytes(bytes) => {
                self.note(at, "->", &format!("{} bytes", bytes.len()));
                self.client(at)?.send_bytes(bytes);
                Ok(())
            }
            Action::Frame { kind, payload } => {
                self.note(at, "->", &format!("frame {kind} of {} bytes", payload.len()));
                self.open(at)?;
                self.client(at)?.send_frame(*kind, at.channel, payload);
                Ok(())
            }
            Action::Connect { raw, options } => self.connect(&at.connection, *raw, options),
            Action::Vanish => {
                self.note(at, "->", "gone without a word");
                self.clients.remove(&at.connection).context("it never was there")?.vanish();
                Ok(())
            }
        }
    }

    /// What came did not come early. However slow the machine is, it can only look later than it came.
    fn passed(&self, ms: u64) -> Result<()> {
        let passed = self.said.elapsed();
        if passed < Duration::from_millis(ms) {
            bail!("only {passed:?} after the last line that says something");
        }
        Ok(())
    }

    fn connect(&mut self, name: &str, raw: bool, options: &[(String, Term)]) -> Result<()> {
        let mut client = Client::connect(self.address)?;
        if !raw {
            let login = self.login(options)?;
            client.log_in(&login)?;
            self.transcript.push(format!("{name}    connected"));
        }
        self.settled.retain(|(connection, _), _| connection != name);
        self.clients.insert(name.to_owned(), client);
        Ok(())
    }

    fn login(&self, options: &[(String, Term)]) -> Result<Login> {
        let option = |name: &str| {
            let given = options.iter().find(|(option, _)| option == name);
            given.map(|(_, term)| term.value(&self.names)).transpose()
        };
        let text = |name: &str, default: &str| -> Result<String> {
            match option(name)? {
                Some(Value::Text(text)) => Ok(String::from_utf8(text)?),
                None => Ok(default.to_owned()),
                Some(_) => bail!("{name} is a text"),
            }
        };
        let number = |name: &str| -> Result<Option<i64>> {
            option(name)?
                .map(|value| value.as_i64().with_context(|| format!("{name} is a number")))
                .transpose()
        };
        let capabilities = match option("capabilities")? {
            Some(Value::Array(names)) => names.iter().map(plain_text).collect(),
            _ => CAPABILITIES.iter().map(|name| (*name).to_owned()).collect(),
        };
        Ok(Login {
            user: text("user", &self.address.user)?,
            password: text("password", &self.address.password)?,
            vhost: text("vhost", &self.address.vhost)?,
            channel_max: number("channel-max")?.map(u16::try_from).transpose()?,
            frame_max: number("frame-max")?.map(u32::try_from).transpose()?,
            heartbeat: number("heartbeat")?.map(u16::try_from).transpose()?.unwrap_or_default(),
            capabilities,
        })
    }

    /// The connection of that place, opened if it is not there.
    pub(super) fn client(&mut self, at: &Place) -> Result<&mut Client> {
        if self.clients.get(&at.connection).is_none_or(|client| client.closed) {
            self.connect(&at.connection, false, &[])?;
        }
        self.clients.get_mut(&at.connection).context("it was opened a line before")
    }

    /// Opens the channel of that place, if it has to be.
    pub(super) fn open(&mut self, at: &Place) -> Result<()> {
        let channel = at.channel;
        let client = self.client(at)?;
        if channel == 0 || !at.open || client.open.contains(&channel) {
            return Ok(());
        }
        client.send(channel, "channel.open", [])?;
        self.answered(at, Method::named("channel.open-ok").context("a method")?)?;
        self.client(at)?.open.insert(channel);
        self.settled.remove(&(at.connection.clone(), channel));
        Ok(())
    }

    fn send(
        &mut self,
        at: &Place,
        method: &'static Method,
        terms: &[(String, Term)],
        content: Option<&Content>,
        index: Option<u32>,
    ) -> Result<()> {
        let at = &on_channel(at, method);
        if method.name == "channel.open" {
            self.client(at)?.open.insert(at.channel);
        }
        self.open(at)?;
        let fields = self.values(terms, None)?;
        self.note_declared(method.name, &fields);
        let payload = method.encode(&fields)?;
        let message = match content {
            None => None,
            Some(content) => {
                let value = numbered(&content.body, index).value(&self.names)?;
                let (Value::Text(body) | Value::Binary(body)) = value else { bail!("a body is a text") };
                Some((self.values(&content.properties, index)?, body))
            }
        };
        let (decoded, sent) = Method::decode(&payload)?;
        let shown_content = match &message {
            None => String::new(),
            Some((properties, body)) => shown_message(
                properties.iter().map(|(name, value)| (name.as_str(), value)),
                body,
                &self.names,
            ),
        };
        let line = shown_method(decoded, &sent, &self.names) + &shown_content;
        self.note(at, "->", &line);
        self.said = Instant::now();
        let client = self.client(at)?;
        client.send_frame(FrameKind::Method as u8, at.channel, &payload);
        if let Some((properties, body)) = message {
            client.send_content(at.channel, &properties, &body)?;
        }
        if method.name == "channel.close" {
            client.open.remove(&at.channel);
        }
        Ok(())
    }

    fn values(&self, terms: &[(String, Term)], index: Option<u32>) -> Result<Vec<(String, Value)>> {
        terms
            .iter()
            .map(|(name, term)| Ok((name.clone(), numbered(term, index).value(&self.names)?)))
            .collect()
    }

    fn note_declared(&mut self, method: &str, fields: &[(String, Value)]) {
        let kind = match method {
            "queue.declare" => "queue",
            "exchange.declare" => "exchange",
            _ => return,
        };
        let name = fields.iter().find(|(field, _)| field == kind).map(|(_, value)| value);
        if let Some(Value::Text(name)) = name.filter(|name| **name != Value::from("")) {
            self.declared.push((kind, name.clone()));
        }
    }

    /// The next that comes to that channel; what closes the connection comes to every channel.
    pub(super) fn next(
        &mut self,
        at: &Place,
        patience: Duration,
        is_it: impl Fn(&Arrival) -> bool,
    ) -> Result<Arrival> {
        let deadline = Instant::now() + patience;
        let channel = at.channel;
        loop {
            let client = self.client(at)?;
            let found = client.waiting.iter().position(|arrival| {
                let is_close = arrival.is("connection.close") && channel != 0
                    || arrival.is("channel.close") && arrival.channel == channel;
                is_close || arrival.channel == channel && is_it(arrival)
            });
            if let Some(arrival) = found.and_then(|at| client.waiting.remove(at)) {
                self.took(at, &arrival)?;
                return Ok(arrival);
            }
            if client.ended {
                bail!("the broker has closed the socket");
            }
            if !client.read(deadline)? {
                let waiting: Vec<_> = client.waiting.iter().map(|one| one.method.name).collect();
                bail!("nothing fitting came within {patience:?}; what came: {waiting:?}");
            }
        }
    }

    /// Notes an arrival, and answers it where the protocol wants that.
    fn took(&mut self, at: &Place, arrival: &Arrival) -> Result<()> {
        let at = Place { channel: arrival.channel, ..at.clone() };
        let line = shown_arrival(arrival, &self.names);
        self.note(&at, "<-", &line);
        if let ("queue.declare-ok", Some(Value::Text(name))) = (arrival.method.name, arrival.field("queue")) {
            self.declared.push(("queue", name.clone()));
        }
        match arrival.method.name {
            "channel.close" => self.client(&at)?.send(at.channel, "channel.close-ok", []),
            "connection.close" => {
                let client = self.client(&at)?;
                client.closed = true;
                client.send(0, "connection.close-ok", [])
            }
            _ => Ok(()),
        }
    }

    /// Waits for the answer to a request; other arrivals go on waiting.
    pub(super) fn answered(&mut self, at: &Place, answer: &'static Method) -> Result<()> {
        let at = &on_channel(at, answer);
        let arrival = self.next(at, PATIENCE, |arrival| arrival.is(answer.name))?;
        if !arrival.is(answer.name) {
            bail!("expected {}\n  got      {}", answer.name, shown_arrival(&arrival, &self.names));
        }
        if answer.name == "connection.close-ok" {
            self.client(at)?.closed = true;
        }
        Ok(())
    }

    fn expect(
        &mut self,
        at: &Place,
        expected: (&'static Method, &[(String, Term)], Option<&Content>),
        anywhere: bool,
    ) -> Result<()> {
        let (method, fields, content) = expected;
        let at = &on_channel(at, method);
        if !anywhere {
            let arrival = self.next(at, PATIENCE, |_| true)?;
            return self.compare(&arrival, expected);
        }
        let names = &mut self.names;
        let client = self.clients.get_mut(&at.connection).context("nothing was said to it yet")?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = client.waiting.iter().position(|arrival| {
                arrival.channel == at.channel
                    && arrival.is(method.name)
                    && fields_match(arrival, fields, names)
                    && content.is_none_or(|content| content_matches(arrival, content, names))
            });
            if let Some(arrival) = found.and_then(|at| client.waiting.remove(at)) {
                return self.took(at, &arrival);
            }
            if client.ended || !client.read(deadline)? {
                let waiting: Vec<_> = client.waiting.iter().map(|one| shown_arrival(one, names)).collect();
                bail!("it did not come; what came:\n    {}", waiting.join("\n    "));
            }
        }
    }

    fn compare(
        &mut self,
        arrival: &Arrival,
        (method, fields, content): (&'static Method, &[(String, Term)], Option<&Content>),
    ) -> Result<()> {
        let is_it = arrival.is(method.name)
            && fields_match(arrival, fields, &mut self.names)
            && content.is_none_or(|content| content_matches(arrival, content, &mut self.names));
        if is_it {
            return Ok(());
        }
        bail!("  got {}", shown_arrival(arrival, &self.names))
    }

    fn nothing(&mut self, at: &Place, ms: u64) -> Result<()> {
        let deadline = Instant::now() + Duration::from_millis(ms);
        loop {
            let client = self.client(at)?;
            let is_here = |arrival: &&Arrival| arrival.channel == at.channel || arrival.channel == 0;
            if let Some(arrival) = client.waiting.iter().find(is_here) {
                let arrival = arrival.clone();
                bail!("  got {}", shown_arrival(&arrival, &self.names));
            }
            if client.ended {
                bail!("the broker has closed the socket");
            }
            if !client.read(deadline)? {
                return Ok(());
            }
        }
    }

    fn end(&mut self, at: &Place) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let client = self.clients.get_mut(&at.connection).context("nothing was said to it yet")?;
        while !client.ended {
            if !client.waiting.is_empty() {
                break;
            }
            if !client.read(deadline)? {
                bail!("the broker has not closed the socket");
            }
        }
        if let Some(arrival) = client.waiting.front().cloned() {
            bail!("  got {}", shown_arrival(&arrival, &self.names));
        }
        let header = client.protocol_header().map(<[u8]>::to_vec);
        let said = header.map_or_else(String::new, |header| format!(", after {header:?}"));
        self.note(at, "<-", &format!("the socket's end{said}"));
        self.clients.remove(&at.connection);
        Ok(())
    }

    fn settled(&mut self, at: &Place, acked: bool, (first, last): (u64, u64)) -> Result<()> {
        let key = (at.connection.clone(), at.channel);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let settled = self.settled.entry(key.clone()).or_default();
            if (first..=last).all(|tag| settled.get(&tag) == Some(&acked)) {
                return Ok(());
            }
            if let Some(tag) = (first..=last).find(|tag| settled.get(tag) == Some(&!acked)) {
                bail!("publish {tag} was {}", if acked { "refused" } else { "confirmed" });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let is_confirm = |arrival: &Arrival| arrival.is("basic.ack") || arrival.is("basic.nack");
            let arrival = self.next(at, left, is_confirm)?;
            if !is_confirm(&arrival) {
                bail!("  got {}", shown_arrival(&arrival, &self.names));
            }
            self.note_settled(&key, &arrival);
        }
    }

    fn note_settled(&mut self, key: &(String, u16), arrival: &Arrival) {
        let tag = arrival.number("delivery-tag").unwrap_or_default().unsigned_abs();
        let multiple = arrival.field("multiple") == Some(&Value::Bool(true));
        let settled = self.settled.entry(key.clone()).or_default();
        for tag in if multiple { 1..=tag } else { tag..=tag } {
            settled.entry(tag).or_insert(arrival.is("basic.ack"));
        }
    }

    fn clean_up(&mut self) -> Result<()> {
        let declared: BTreeSet<_> = std::mem::take(&mut self.declared).into_iter().collect();
        if declared.is_empty() {
            return Ok(());
        }
        let at = &Place { connection: "clean-up".into(), channel: 1, open: true };
        let said = self.transcript.len();
        for (kind, name) in declared {
            self.open(at)?;
            let (delete, done) = match kind {
                "queue" => ("queue.delete", "queue.delete-ok"),
                _ => ("exchange.delete", "exchange.delete-ok"),
            };
            self.client(at)?.send(1, delete, [(kind, Value::Text(name))])?;
            let _refused = self.answered(at, Method::named(done).context("a method")?);
        }
        self.clients.clear();
        self.transcript.truncate(said);
        Ok(())
    }

    fn note(&mut self, at: &Place, arrow: &str, line: &str) {
        self.transcript.push(format!("{}{:<2} {arrow} {line}", at.connection, at.channel));
    }
}

/// Methods of the connection stand on channel 0, whatever the place.
fn on_channel(at: &Place, method: &Method) -> Place {
    if method.name.starts_with("connection.") && at.open {
        return Place { channel: 0, ..at.clone() };
    }
    at.clone()
}

fn has_no_wait(fields: &[(String, Term)]) -> bool {
    fields.iter().any(|(name, term)| name == "no-wait" && *term == Term::Bool(true))
}

/// In a repeated publish, `%` stands for which one it is.
fn numbered(term: &Term, index: Option<u32>) -> Term {
    match (term, index) {
        (Term::Text(text), Some(index)) => Term::Text(text.replace('%', &index.to_string())),
        _ => term.clone(),
    }
}

fn plain_text(value: &Value) -> String {
    match value {
        Value::Text(text) => String::from_utf8_lossy(text).into_owned(),
        _ => String::new(),
    }
}

/// Who answers at an address: its product and version.
pub(super) fn who(address: &Address) -> Result<(String, String)> {
    let mut client = Client::connect(address)?;
    client.log_in(&Login {
        user: address.user.clone(),
        password: address.password.clone(),
        vhost: address.vhost.clone(),
        channel_max: None,
        frame_max: None,
        heartbeat: 0,
        capabilities: CAPABILITIES.iter().map(|name| (*name).to_owned()).collect(),
    })?;
    if let Some(close) = client.waiting.front() {
        let reason = close.field("reply-text").map(plain_text).unwrap_or_default();
        return Err(anyhow!("the broker refuses the connection: {reason}"));
    }
    let property = |name| client.server.find(name).map(plain_text).unwrap_or_default();
    Ok((property("product"), property("version")))
}
