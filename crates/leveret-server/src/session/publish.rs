//! Publishing. Messages that lie whole in the read buffer and go the way of the one before are gathered into
//! runs, each handed to its queues under one lock; everything else is assembled and looked at one by one.

use std::sync::Arc;

use leveret_amqp::{
    ContentHeader, DecodeError, DeliveryMode, Frame, FrameKind, Properties, Reader, ReplyCode, basic, flags,
    parse_frame, write_method,
};
use leveret_broker::{
    DelayedExchange, Group, Message, PlainDelay, Record, Route, properties_without_bcc, split_route,
};

use super::Session;
use super::channel::{Channel, Mode};
use crate::consumer::write_content;
use crate::reply::Exception;

/// Messages handed to a queue under one lock.
const RUN: usize = 128;
/// Bodies up to this many bytes are copied into each of several queues, larger ones shared.
const COPIED_BYTES: usize = 4 << 10;
/// Memory set aside for a body before it comes, in bytes; it grows with what really arrives.
const BODY_AHEAD: usize = 1 << 20;
/// The longest `expiration`, RabbitMQ's: a hundred years.
const LONGEST_EXPIRATION_MS: u64 = 100 * 365 * 86_400_000;
/// Properties that ask for more than being passed on.
const SPECIAL: u16 = flags::HEADERS | flags::EXPIRATION | flags::USER_ID | flags::REPLY_TO;
/// The queue name that stands for the channel's own reply queue.
pub(super) const REPLY_TO: &str = "amq.rabbitmq.reply-to";

const PUBLISH: [u8; 4] = [0, 60, 0, 40];

/// A `basic.publish` whose content is still coming.
pub(super) struct Assembly {
    route: Vec<u8>,
    options: PublishOptions,
    content: Option<Content>,
}

struct Content {
    /// Route, properties and what has come of the body.
    record: Vec<u8>,
    properties_len: usize,
    body_left: u64,
}

#[derive(Clone, Copy)]
struct PublishOptions {
    mandatory: bool,
}

/// A whole message that is to be routed by itself.
pub(super) struct Staged {
    record: Record,
    route_len: usize,
    properties_len: usize,
    options: PublishOptions,
}

impl Staged {
    fn message(&self) -> Message<'_> {
        Message::in_record(&self.record, self.route_len, self.properties_len)
    }
}

/// Messages of one channel that go one way, in the read buffer.
#[derive(Default)]
pub(super) struct Run<'b> {
    channel: u16,
    route: Option<Arc<Route>>,
    messages: Vec<Message<'b>>,
    /// Instead of these: delayed messages, and who holds them.
    held: Vec<(Message<'b>, PlainDelay)>,
    holder: Option<Arc<DelayedExchange>>,
}

/// Whether a frame begins a publish.
#[inline]
pub(super) fn is_publish(frame: &Frame<'_>) -> bool {
    frame.kind == FrameKind::Method && frame.payload.starts_with(&PUBLISH)
}

/// A publish that lies whole in the buffer.
struct Whole<'b> {
    message: Message<'b>,
    mandatory: bool,
    wire_len: usize,
}

/// The whole publish at the start of `bytes`, of which `method` is the first frame; `None` where it is not whole, or
/// anything is unusual about it.
#[inline]
fn whole<'b>(method: &Frame<'b>, bytes: &'b [u8], frame_max: u32) -> Option<Whole<'b>> {
    let fields = method.payload.get(6..)?;
    let exchange_len = usize::from(*fields.first()?) + 1;
    let route_len = exchange_len + usize::from(*fields.get(exchange_len)?) + 1;
    let (route, bits) = fields.split_at_checked(route_len)?;
    let &[bits @ 0..=1] = bits else { return None };
    let mut wire_len = method.wire_len();
    let header = parse_frame(bytes.get(wire_len..)?, frame_max).ok()??;
    wire_len += header.wire_len();
    if header.kind != FrameKind::Header || header.channel != method.channel {
        return None;
    }
    let content = ContentHeader::parse(header.payload).ok()?;
    let mut body: &[u8] = &[];
    if content.body_size > 0 {
        let frame = parse_frame(bytes.get(wire_len..)?, frame_max).ok()??;
        wire_len += frame.wire_len();
        let all_of_it = frame.payload.len() as u64 == content.body_size;
        if frame.kind != FrameKind::Body || frame.channel != method.channel || !all_of_it {
            return None;
        }
        body = frame.payload;
    }
    // Whether it is persistent is known once its properties are looked at.
    let message = Message {
        route,
        properties: content.properties,
        body,
        persistent: false,
        expiration_ms: None,
        record: None,
    };
    Some(Whole { message, mandatory: bits == 1, wire_len })
}

impl Session {
    /// Takes the publish that `method` begins, with its content where all of it is in `bytes`. Returns the
    /// bytes used.
    #[inline]
    pub(super) fn publish<'b>(
        &mut self,
        method: &Frame<'b>,
        bytes: &'b [u8],
        run: &mut Run<'b>,
    ) -> Result<usize, Exception> {
        self.settle_before_publish();
        if let Some(whole) = whole(method, bytes, self.frame_max)
            && (self.join_run(method.channel, &whole, run) || self.join_held(method.channel, &whole, run))
        {
            return Ok(whole.wire_len);
        }
        self.end_run(run);
        self.begin_publish(method)?;
        Ok(method.wire_len())
    }

    /// Adds the message to the run if it goes its way; else ends that run and begins another, if the way is known.
    #[inline]
    fn join_run<'b>(&mut self, number: u16, whole: &Whole<'b>, run: &mut Run<'b>) -> bool {
        let version = self.vhost.version();
        let Some(channel) = self.channels.get_mut(&number) else { return false };
        if channel.closing || channel.content.is_some() || matches!(channel.mode, Mode::Transaction(_)) {
            return false;
        }
        let message = &whole.message;
        let Some(route) = channel.routes.find(message.route, version) else { return false };
        let nowhere = whole.mandatory && route.is_empty();
        let too_large = message.body.len() as u64 > self.shared.config.max_message_bytes;
        let to_be_shared = message.body.len() > COPIED_BYTES && route.queues.len() > 1;
        if nowhere || too_large || to_be_shared || route.one_by_one {
            return false;
        }
        let same_way =
            run.channel == number && run.route.as_ref().is_some_and(|other| Arc::ptr_eq(other, route));
        let next_route = (!same_way).then(|| Arc::clone(route));
        if *message.properties != *channel.routes.plain_properties
            && !check_plain(channel, message.properties)
        {
            return false;
        }
        let persistent = channel.routes.plain_persistent;
        if next_route.is_some() || run.messages.len() >= RUN || !run.held.is_empty() {
            self.end_run(run);
            run.channel = number;
            run.route = next_route.or(run.route.take());
        }
        run.messages.push(Message { persistent, ..*message });
        true
    }

    /// As [`Session::join_run`], for delayed messages.
    fn join_held<'b>(&mut self, number: u16, whole: &Whole<'b>, run: &mut Run<'b>) -> bool {
        let version = self.vhost.version();
        let Some(channel) = self.channels.get_mut(&number) else { return false };
        if channel.closing || channel.content.is_some() || matches!(channel.mode, Mode::Transaction(_)) {
            return false;
        }
        let message = &whole.message;
        let Some((holder, matched)) = channel.routes.find_held(message.route, version) else { return false };
        let too_large = message.body.len() as u64 > self.shared.config.max_message_bytes;
        if (whole.mandatory && !matched) || too_large {
            return false;
        }
        let same_way =
            run.channel == number && run.holder.as_ref().is_some_and(|other| Arc::ptr_eq(other, holder));
        let next_holder = (!same_way).then(|| Arc::clone(holder));
        let delay = match &channel.routes.plain_delay {
            Some((last, delay)) if *last == *message.properties => *delay,
            _ => {
                let Some(delay) = PlainDelay::of(message.properties) else { return false };
                let (mut last, _) = channel.routes.plain_delay.take().unwrap_or((Vec::new(), delay));
                last.clear();
                last.extend_from_slice(message.properties);
                channel.routes.plain_delay = Some((last, delay));
                delay
            }
        };
        if next_holder.is_some() || run.held.len() >= RUN || !run.messages.is_empty() {
            self.end_run(run);
            run.channel = number;
            run.holder = next_holder.or(run.holder.take());
        }
        run.held.push((Message { persistent: delay.persistent, ..*message }, delay));
        true
    }

    fn end_held_run(&mut self, run: &mut Run<'_>) {
        let now = self.shared.clock.now();
        if let Some(holder) = &run.holder {
            let holdings: Vec<_> =
                run.held.iter().map(|(message, delay)| delay.holding(*message, now)).collect();
            self.vhost.hold_run(holder, &holdings, now, &mut self.effects);
        }
        let (channel, count) = (run.channel, run.held.len() as u64);
        run.held.clear();
        if let Err(exception) = self.note_published(channel, count) {
            self.fail_channel(channel, &exception, (60, 40));
        }
    }

    /// Hands the run to its queues, or to who holds it.
    pub(super) fn end_run(&mut self, run: &mut Run<'_>) {
        if !run.held.is_empty() {
            self.end_held_run(run);
        }
        if run.messages.is_empty() {
            return;
        }
        if let Some(route) = &run.route {
            route.publish(&run.messages, &mut self.effects);
        }
        let (channel, count) = (run.channel, run.messages.len() as u64);
        if run.route.as_ref().is_some_and(|route| route.is_empty()) {
            self.count(channel, |counts| counts.drop_unroutable.add(count));
        }
        run.messages.clear();
        if let Err(exception) = self.note_published(channel, count) {
            self.fail_channel(channel, &exception, (60, 40));
        }
    }

    fn begin_publish(&mut self, method: &Frame<'_>) -> Result<(), Exception> {
        let channel = self.open_channel(method.channel)?;
        if channel.closing {
            return Ok(());
        }
        if channel.content.is_some() {
            return Err(Exception::new(
                ReplyCode::UNEXPECTED_FRAME,
                "expected content header, got basic.publish",
            ));
        }
        let fields = &method.payload[PUBLISH.len()..];
        let mut reader = Reader::new(fields);
        let _ticket: u16 = reader.read()?;
        let start = fields.len() - reader.rest().len();
        let (_exchange, _key): (&str, &str) = (reader.read()?, reader.read()?);
        let end = fields.len() - reader.rest().len();
        let (mandatory, immediate): (bool, bool) = (reader.read()?, reader.read()?);
        if immediate {
            return Err(Exception::new(ReplyCode::NOT_IMPLEMENTED, "immediate=true"));
        }
        reader.finish()?;
        let options = PublishOptions { mandatory };
        channel.content = Some(Assembly { route: fields[start..end].to_vec(), options, content: None });
        Ok(())
    }

    /// Takes a header or body frame.
    pub(super) fn content(&mut self, frame: &Frame<'_>) -> Result<(), Exception> {
        let max = self.shared.config.max_message_bytes;
        let unexpected = |text| Err(Exception::new(ReplyCode::UNEXPECTED_FRAME, text));
        let channel = self.channels.get_mut(&frame.channel);
        if channel.as_ref().is_some_and(|channel| channel.closing) {
            return Ok(());
        }
        let Some(assembly) = channel.and_then(|channel| channel.content.as_mut()) else {
            return unexpected(format!("expected method frame, got {:?} frame instead", frame.kind));
        };
        match (frame.kind, &mut assembly.content) {
            (FrameKind::Header, content @ None) => {
                let header = match ContentHeader::parse(frame.payload) {
                    Err(DecodeError::UnknownClass(class)) => {
                        return unexpected(format!(
                            "expected content header for class 60, got one for {class}"
                        ));
                    }
                    header => header?,
                };
                *content = Some(begin_content(&assembly.route, header, max)?);
            }
            (FrameKind::Body, Some(content)) => {
                let Some(left) = content.body_left.checked_sub(frame.payload.len() as u64) else {
                    return unexpected("body is longer than its header says".into());
                };
                content.body_left = left;
                content.record.extend_from_slice(frame.payload);
            }
            (FrameKind::Body, None) => return unexpected("expected content header, got a body frame".into()),
            (kind, _) => return unexpected(format!("expected content body, got {kind:?} frame instead")),
        }
        self.finish_content(frame.channel)
    }

    fn finish_content(&mut self, number: u16) -> Result<(), Exception> {
        let channel = self.open_channel(number)?;
        let done = |assembly: &mut Assembly| assembly.content.as_ref().is_some_and(|it| it.body_left == 0);
        let Some(Assembly { route, options, content: Some(content) }) = channel.content.take_if(done) else {
            return Ok(());
        };
        let staged = Staged {
            record: Arc::new(content.record),
            route_len: route.len(),
            properties_len: content.properties_len,
            options,
        };
        if matches!(channel.mode, Mode::Transaction(_)) {
            return self.stage(number, staged);
        }
        self.publish_staged(number, &staged, None)?;
        self.note_published(number, 1)
    }

    /// Keeps the message for the commit, if it would be accepted now.
    fn stage(&mut self, number: u16, staged: Staged) -> Result<(), Exception> {
        let message = staged.message();
        let properties = Properties::parse(message.properties)?;
        self.check_properties(&properties)?;
        self.vhost.route(split_route(message.route), &properties, &self.client)?;
        let max_bytes = self.shared.config.max_transaction_bytes;
        let Channel { mode, entry, .. } = self.open_channel(number)?;
        if let Mode::Transaction(transaction) = mode {
            transaction.staged_bytes += staged.record.len() as u64;
            if transaction.staged_bytes > max_bytes {
                // What was staged goes with the channel.
                let text = format!("a transaction may publish {max_bytes} bytes before its commit");
                return Err(Exception::new(ReplyCode::PRECONDITION_FAILED, text));
            }
            transaction.publishes.push(staged);
            entry.iter().for_each(|entry| entry.uncommitted.add(1));
        }
        Ok(())
    }

    /// Routes one message with all that its properties ask for, and has it stored, or leaves that to the group.
    pub(super) fn publish_staged(
        &mut self,
        number: u16,
        staged: &Staged,
        group: Option<&mut Group>,
    ) -> Result<(), Exception> {
        let mut message = staged.message();
        let mut properties = Properties::parse(message.properties)?;
        self.check_properties(&properties)?;
        let version = self.vhost.version();
        let (routing, delay_ms) = self.vhost.route(split_route(message.route), &properties, &self.client)?;
        if staged.options.mandatory && !routing.matched {
            self.count(number, |counts| counts.return_unroutable.add(1));
            self.return_message(number, &message);
            return Ok(());
        }
        if routing.route.is_empty() {
            self.count(number, |counts| counts.drop_unroutable.add(1));
        }
        let reply_to = self.reply_to(number, &properties)?;
        properties.reply_to = reply_to.as_deref().or(properties.reply_to);
        let rewritten = reply_to.is_some().then(|| properties.encode());
        if let Some(properties) = &rewritten {
            message = Message { properties, record: None, ..message };
        }
        if let Some(delay_ms) = delay_ms {
            let now = self.shared.clock.now();
            self.vhost.hold(&routing.route, &message, (delay_ms, now), &mut self.effects);
        }
        let without_bcc = properties_without_bcc(&properties);
        if let Some(properties) = &without_bcc {
            message = Message { properties, record: None, ..message };
        }
        if message.record.is_some() && message.body.len() <= COPIED_BYTES {
            message.record = None;
        }
        match group {
            Some(group) => routing.route.publish_in(group, &message, &mut self.effects),
            None => routing.route.publish(std::slice::from_ref(&message), &mut self.effects),
        }
        if routing.same_for_all {
            let channel = self.open_channel(number)?;
            channel.routes.remember(message.route, version, &routing.route);
        }
        if routing.same_for_held
            && let ([], [holder]) = (&*routing.route.queues, &*routing.route.delayed)
        {
            let channel = self.open_channel(number)?;
            channel.routes.remember_held(message.route, version, holder, routing.matched);
        }
        Ok(())
    }

    fn check_properties(&self, properties: &Properties<'_>) -> Result<(), Exception> {
        let refuse = |text| Err(Exception::new(ReplyCode::PRECONDITION_FAILED, text));
        if let Some(user) = properties.user_id
            && user != self.user
        {
            return refuse(format!(
                "user_id property set to '{user}' but authenticated user was '{}'",
                self.user
            ));
        }
        if let Some(expiration) = properties.expiration
            && !expiration.parse::<u64>().is_ok_and(|ms| ms <= LONGEST_EXPIRATION_MS)
        {
            return refuse(format!(
                "invalid expiration '{expiration}': expected milliseconds, 0 to {LONGEST_EXPIRATION_MS}"
            ));
        }
        Ok(())
    }

    /// The real name of the reply queue, where the message asks for replies to `amq.rabbitmq.reply-to`.
    fn reply_to(&mut self, number: u16, properties: &Properties<'_>) -> Result<Option<String>, Exception> {
        if properties.reply_to != Some(REPLY_TO) {
            return Ok(None);
        }
        match &self.open_channel(number)?.reply_queue {
            Some(queue) => Ok(Some(queue.name.to_string())),
            None => Err(Exception::new(ReplyCode::PRECONDITION_FAILED, "fast reply consumer does not exist")),
        }
    }

    fn return_message(&mut self, number: u16, message: &Message<'_>) {
        let (exchange, routing_key) = split_route(message.route);
        let code = ReplyCode::NO_ROUTE;
        let method = basic::Return { reply_code: code.0, reply_text: code.name(), exchange, routing_key };
        let mut frames = Vec::new();
        write_method(number, method, &mut frames);
        write_content(number, (message.properties, message.body), self.frame_max, &mut frames);
        if matches!(self.channels.get(&number), Some(Channel { mode: Mode::Confirm(_), .. })) {
            self.returned = Some(frames);
        } else {
            self.outbox.lock().frames.extend_from_slice(&frames);
        }
    }
}

/// Whether the properties are well-formed and ask for nothing; if so they are remembered.
fn check_plain(channel: &mut Channel, encoded: &[u8]) -> bool {
    let special = encoded.first_chunk::<2>().is_none_or(|set| u16::from_be_bytes(*set) & SPECIAL != 0);
    let properties = Properties::parse(encoded);
    let Some(properties) = properties.ok().filter(|_| !special) else { return false };
    channel.routes.plain_persistent = properties.mode() == DeliveryMode::Persistent;
    channel.routes.plain_properties.clear();
    channel.routes.plain_properties.extend_from_slice(encoded);
    true
}

fn begin_content(route: &[u8], header: ContentHeader<'_>, max: u64) -> Result<Content, Exception> {
    if header.body_size > max {
        let text = format!("message size {} is larger than configured max size {max}", header.body_size);
        return Err(Exception::new(ReplyCode::PRECONDITION_FAILED, text));
    }
    let ahead = usize::try_from(header.body_size).unwrap_or(BODY_AHEAD).min(BODY_AHEAD);
    let mut record = Vec::with_capacity(route.len() + header.properties.len() + ahead);
    record.extend_from_slice(route);
    record.extend_from_slice(header.properties);
    Ok(Content { record, properties_len: header.properties.len(), body_left: header.body_size })
}
