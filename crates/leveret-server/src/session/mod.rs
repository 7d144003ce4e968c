//! What a connection does once it is open: each batch of bytes that was read is handled frame by frame, then
//! confirmed and flushed as one. The session is synchronous; its connection does the waiting.

mod channel;
mod confirms;
mod declare;
mod deliver;
mod publish;
mod transaction;

use std::sync::Arc;

use leveret_amqp::{
    Frame, FrameKind, Method, ReplyCode, basic, channel as channel_class, confirm, connection, parse_frame,
    write_method,
};
use leveret_broker::{
    Access, ChannelMode, Client, Connection, Effects, MessageCounts, Queue, Settlement, Vhost,
};
use rustc_hash::FxHashMap;
use tokio::sync::Notify;

use self::channel::{Channel, Mode};
use self::confirms::Confirms;
use self::deliver::Settling;
use self::publish::{Run, is_publish};
use crate::Shared;
use crate::handshake::Opened;
use crate::outbox::{Deliveries, Outbox};
use crate::reply::Exception;

/// An open connection's channels, and what they act on.
pub(crate) struct Session {
    shared: Arc<Shared>,
    vhost: Arc<Vhost>,
    user: String,
    /// Who asks, with the permissions of the moment.
    client: Client,
    /// The version of the users that those permissions are of.
    users_version: u64,
    outbox: Arc<Outbox>,
    /// The connection among those of the broker.
    entry: Arc<Connection>,
    frame_max: u32,
    channel_max: u16,
    consumer_cancel_notify: bool,
    channels: FxHashMap<u16, Channel>,
    effects: Effects,
    /// Channels with publishes or commits that are not answered yet.
    to_confirm: Vec<u16>,
    /// Answers to declarations that wait for the catalog.
    declared: Vec<u8>,
    /// Whether the catalog is to be written before anything else is answered.
    commits_owed: bool,
    /// The frames that return the message just published, to stand before its confirm.
    returned: Option<Vec<u8>>,
    /// Notified when the store has come further.
    woken: Arc<Notify>,
    settling: Settling,
    owns_queues: bool,
    has_published: bool,
    /// Set while so much waits to be sent that no more requests are answered.
    overfull: bool,
    /// The client has asked for the end of the connection.
    close_ok_owed: bool,
}

/// How a batch ended.
pub(crate) enum Batch {
    /// All whole frames are handled.
    Done,
    /// Frames are left: the client is to read its answers first.
    Overfull,
    /// The client may go on if its user has this password: [`Session::accept_secret`]. Frames may be left.
    NewSecret(Vec<u8>),
    /// The client has closed the connection. Where it is owed an answer, [`Session::release`] gives it.
    Closed,
    /// The connection is to be closed: exception, and the method that caused it by class and method id.
    Failed(Exception, (u16, u16)),
}

/// What a frame led to.
enum Step {
    Next,
    NewSecret(Vec<u8>),
    Closed,
}

impl Session {
    pub(crate) fn new(
        shared: Arc<Shared>,
        outbox: Arc<Outbox>,
        entry: Arc<Connection>,
        opened: Opened,
    ) -> Self {
        let woken = Arc::clone(&outbox.session);
        Self {
            shared,
            vhost: opened.vhost,
            user: opened.user,
            client: Client { owner: entry.id, access: opened.access, grouped: true },
            // Permissions may have changed since: they are looked up once more.
            users_version: 0,
            outbox,
            entry,
            frame_max: opened.frame_max,
            channel_max: opened.channel_max,
            consumer_cancel_notify: opened.client.consumer_cancel_notify,
            channels: FxHashMap::default(),
            effects: Effects::default(),
            to_confirm: Vec::new(),
            declared: Vec::new(),
            commits_owed: false,
            returned: None,
            woken,
            settling: Settling::default(),
            owns_queues: false,
            has_published: false,
            overfull: false,
            close_ok_owed: false,
        }
    }

    /// Handles the whole frames in `bytes`; returns how many bytes they were.
    pub(crate) fn handle(&mut self, bytes: &[u8]) -> (usize, Batch) {
        let mut at = 0;
        self.effects.now = self.shared.clock.now();
        self.refresh_access();
        self.end_overdue();
        let mut batch = self.frames(bytes, &mut at);
        if let Err(exception) = self.commit_declared() {
            batch = Batch::Failed(exception, (0, 0));
        }
        self.settle();
        self.vhost.carry_out(&mut self.effects);
        if let Err(exception) = self.send_confirms() {
            batch = Batch::Failed(exception, (0, 0));
        }
        // Deliveries first: somebody waits for them, while confirms are rarely urgent.
        self.effects.flush();
        let now = std::mem::take(&mut self.effects.now);
        self.outbox.flush(&mut self.effects);
        self.effects.now = now;
        self.effects.flush();
        (at, batch)
    }

    /// The user has proved once more to be there. What it may do is looked up with the next batch.
    pub(crate) fn accept_secret(&self) {
        self.send(0, connection::UpdateSecretOk {});
    }

    /// Takes over what administrators have changed.
    fn refresh_access(&mut self) {
        let users = &self.shared.broker.users;
        let version = users.version();
        if version != self.users_version {
            self.users_version = version;
            let access = users.access(&self.user, &self.vhost.name);
            self.client.access =
                access.unwrap_or_else(|| Arc::new(Access::none(&self.user, &self.vhost.name)));
            // Some may have been found in this version of the topology by the access of before.
            self.channels.values_mut().for_each(|channel| channel.routes.forget());
        }
    }

    fn frames(&mut self, bytes: &[u8], at: &mut usize) -> Batch {
        let mut run = Run::default();
        self.overfull = false;
        let batch = loop {
            let rest = &bytes[*at..];
            let frame = match parse_frame(rest, self.frame_max) {
                Ok(Some(frame)) => frame,
                Ok(None) => break Batch::Done,
                Err(error) => break Batch::Failed(error.into(), (0, 0)),
            };
            let result = if is_publish(&frame) {
                self.publish(&frame, rest, &mut run).map(|used| (used, Step::Next))
            } else {
                self.end_run(&mut run);
                self.frame(&frame).map(|step| (frame.wire_len(), step))
            };
            match result {
                Ok((used, Step::Next)) => *at += used,
                Ok((used, Step::NewSecret(secret))) => {
                    *at += used;
                    break Batch::NewSecret(secret);
                }
                Ok((used, Step::Closed)) => {
                    *at += used;
                    break Batch::Closed;
                }
                Err(exception) => {
                    self.end_run(&mut run);
                    *at += frame.wire_len();
                    if let Some(exception) = self.fail(&frame, exception) {
                        break Batch::Failed(exception, method_ids(&frame));
                    }
                }
            }
            if self.overfull {
                break Batch::Overfull;
            }
        };
        self.end_run(&mut run);
        batch
    }

    /// Ends the channel over a soft exception; gives back a hard one, which ends the connection.
    fn fail(&mut self, frame: &Frame<'_>, exception: Exception) -> Option<Exception> {
        if exception.ends_connection || frame.channel == 0 || !self.channels.contains_key(&frame.channel) {
            return Some(exception);
        }
        self.fail_channel(frame.channel, &exception, method_ids(frame));
        None
    }

    fn fail_channel(&mut self, number: u16, exception: &Exception, (class_id, method_id): (u16, u16)) {
        tracing::info!(channel = number, code = exception.code.0, text = exception.text, "channel error");
        // What cannot be written down now is tried again, and ends the connection, when the batch does.
        let _tried = self.commit_declared();
        self.settle();
        let _not_confirmed = self.send_confirms();
        self.release_channel(number);
        self.channels.insert(number, Channel::closing());
        let reply_text = exception.reply_text();
        let reply_code = exception.code.0;
        self.send(number, channel_class::Close { reply_code, reply_text: &reply_text, class_id, method_id });
    }

    /// Whether the client publishes.
    pub(crate) fn has_published(&self) -> bool {
        self.has_published
    }

    /// Notified when the session has answers to give without having read anything.
    pub(crate) fn woken(&self) -> Arc<Notify> {
        Arc::clone(&self.woken)
    }

    fn frame(&mut self, frame: &Frame<'_>) -> Result<Step, Exception> {
        match frame.kind {
            FrameKind::Heartbeat if frame.channel == 0 => Ok(Step::Next),
            FrameKind::Heartbeat => {
                Err(Exception::new(ReplyCode::UNEXPECTED_FRAME, "heartbeat on a channel other than 0"))
            }
            FrameKind::Header | FrameKind::Body => self.content(frame).map(|()| Step::Next),
            FrameKind::Method => self.method(frame.channel, frame.method()?),
        }
    }

    fn method(&mut self, number: u16, method: Method<'_>) -> Result<Step, Exception> {
        if !matches!(method, Method::Exchange(_) | Method::Queue(_)) {
            self.commit_declared()?;
        }
        if let Method::Connection(method) = method {
            return self.connection_method(number, method);
        }
        if let Method::Channel(method) = method {
            return self.channel_method(number, method).map(|()| Step::Next);
        }
        let channel = self.open_channel(number)?;
        if channel.closing {
            return Ok(Step::Next);
        }
        if channel.content.is_some() {
            return Err(Exception::new(ReplyCode::UNEXPECTED_FRAME, "expected content header, got a method"));
        }
        match method {
            Method::Basic(method) => self.basic_method(number, method)?,
            Method::Exchange(method) => self.exchange_method(number, method)?,
            Method::Queue(method) => self.queue_method(number, method)?,
            Method::Confirm(method) => self.confirm_method(number, method)?,
            Method::Tx(method) => self.tx_method(number, method)?,
            Method::Connection(_) | Method::Channel(_) => unreachable!("handled above"),
        }
        Ok(Step::Next)
    }

    fn connection_method(&mut self, number: u16, method: connection::Method<'_>) -> Result<Step, Exception> {
        if number != 0 {
            return Err(Exception::new(
                ReplyCode::COMMAND_INVALID,
                "connection method on a channel other than 0",
            ));
        }
        match method {
            connection::Method::Close(close) => {
                tracing::debug!(code = close.reply_code, text = close.reply_text, "client closes");
                self.close_ok_owed = true;
                Ok(Step::Closed)
            }
            connection::Method::CloseOk(_) => Ok(Step::Closed),
            connection::Method::UpdateSecret(update) => Ok(Step::NewSecret(update.new_secret.into())),
            _ => {
                let text = "unexpected method in connection state running";
                Err(Exception::new(ReplyCode::CHANNEL_ERROR, text))
            }
        }
    }

    fn channel_method(&mut self, number: u16, method: channel_class::Method<'_>) -> Result<(), Exception> {
        if let channel_class::Method::Open(_) = method {
            return self.open(number);
        }
        let channel = self.open_channel(number)?;
        match method {
            channel_class::Method::CloseOk(_) if channel.closing => {
                self.channels.remove(&number);
            }
            // Both sides close at once: the client still owes the answer to ours.
            channel_class::Method::Close(_) if channel.closing => {
                self.send(number, channel_class::CloseOk {});
            }
            channel_class::Method::Close(_) => {
                self.settle();
                self.send_confirms()?;
                self.release_channel(number);
                self.send(number, channel_class::CloseOk {});
            }
            _ if channel.closing => {}
            channel_class::Method::Flow(flow) => {
                self.deliveries(number, |deliveries| deliveries.active = flow.active);
                self.send(number, channel_class::FlowOk { active: flow.active });
                self.outbox.resume_stalled(&mut self.effects);
            }
            channel_class::Method::FlowOk(_) => {}
            other => return Err(not_for_servers(other.ids())),
        }
        Ok(())
    }

    fn open(&mut self, number: u16) -> Result<(), Exception> {
        if number == 0 {
            return Err(Exception::new(ReplyCode::CHANNEL_ERROR, "channel 0 is the connection's own"));
        }
        if self.channels.contains_key(&number) {
            return Err(Exception::new(ReplyCode::CHANNEL_ERROR, "second 'channel.open' seen"));
        }
        // As in RabbitMQ, the limit is on how many there are, not on their numbers.
        if self.channels.len() >= usize::from(self.channel_max) {
            let text = format!(
                "number of channels opened ({}) has reached the negotiated channel_max ({})",
                self.channels.len(),
                self.channel_max
            );
            return Err(Exception::new(ReplyCode::NOT_ALLOWED, text));
        }
        self.shared.broker.check_channel_limit(&self.user)?;
        let entry = self.shared.broker.connections.open_channel(&self.entry, number);
        self.outbox.lock().channels.insert(number, Deliveries::new(Arc::clone(&entry)));
        self.channels.insert(number, Channel::open(entry));
        self.send(number, channel_class::OpenOk { channel_id: b"" });
        Ok(())
    }

    /// Ends the channel: its consumers go, and what it held goes back to the queues.
    fn release_channel(&mut self, number: u16) {
        let Some(mut channel) = self.channels.remove(&number) else { return };
        self.shared.broker.connections.close_channel(&self.entry, number);
        self.to_confirm.retain(|other| *other != number);
        let mut held = Vec::new();
        if let Some(mut deliveries) = self.outbox.lock().channels.remove(&number) {
            let _all = deliveries.take(0, true, &mut held);
        }
        if let Mode::Transaction(transaction) = &mut channel.mode {
            held.extend(std::mem::take(&mut transaction.settlements).into_iter().flat_map(|(outs, _)| outs));
        }
        self.leave_queues(&mut channel, &held);
        if let Some(queue) = channel.reply_queue {
            self.vhost.delete_reply_queue(&queue.name);
        }
    }

    /// Ends all channels, and the queues that go with the connection. Only then a client that has closed it is answered.
    pub(crate) fn release(&mut self) {
        self.effects.now = self.shared.clock.now();
        let numbers: Vec<u16> = self.channels.keys().copied().collect();
        for number in numbers {
            self.release_channel(number);
        }
        if self.owns_queues {
            self.vhost.delete_owned(self.client.owner);
        }
        self.vhost.carry_out(&mut self.effects);
        if let Err(error) = self.vhost.commit() {
            tracing::error!(%error, "what went with a connection is still in the catalog");
        }
        self.effects.flush();
        if self.close_ok_owed {
            self.send(0, connection::CloseOk {});
        }
    }

    /// The queues that asked for a pause in the last batch.
    pub(crate) fn take_congested(&mut self) -> Vec<Arc<Queue>> {
        std::mem::take(&mut self.effects.congested)
    }

    fn open_channel(&mut self, number: u16) -> Result<&mut Channel, Exception> {
        self.channels.get_mut(&number).ok_or_else(|| {
            Exception::new(ReplyCode::CHANNEL_ERROR, format!("expected 'channel.open' on channel {number}"))
        })
    }

    fn count(&self, number: u16, count: impl FnOnce(&MessageCounts)) {
        if let Some(channel) = self.channels.get(&number) {
            channel.count(count);
        }
    }

    fn deliveries<T>(&self, number: u16, change: impl FnOnce(&mut Deliveries) -> T) -> Option<T> {
        self.outbox.lock().channels.get_mut(&number).map(change)
    }

    fn send<'m>(&self, number: u16, method: impl Into<Method<'m>>) {
        write_method(number, method, &mut self.outbox.lock().frames);
    }

    /// Sends the answer unless the client wants none.
    fn answer<'m>(&self, number: u16, no_wait: bool, method: impl Into<Method<'m>>) {
        if !no_wait {
            self.send(number, method);
        }
    }

    /// Answers a declaration: at once if the catalog has all there is, else when it has. Answers keep their order.
    fn answer_declared<'m>(&mut self, number: u16, no_wait: bool, method: impl Into<Method<'m>>) {
        let waits = self.vhost.has_uncommitted();
        if no_wait {
            self.commits_owed |= waits;
        } else if waits || !self.declared.is_empty() {
            self.commits_owed = true;
            write_method(number, method, &mut self.declared);
        } else {
            self.send(number, method);
        }
    }

    /// Has the catalog keep what the client has declared, all at once, and gives the answers that wait for it.
    fn commit_declared(&mut self) -> Result<(), Exception> {
        if !std::mem::take(&mut self.commits_owed) {
            return Ok(());
        }
        if let Err(error) = self.vhost.commit() {
            // Whoever asks next hears of it again: the client is not to be answered as if nothing was.
            self.commits_owed = true;
            return Err(error.into());
        }
        self.outbox.lock().frames.append(&mut self.declared);
        Ok(())
    }

    fn confirm_method(&mut self, number: u16, method: confirm::Method) -> Result<(), Exception> {
        let confirm::Method::Select(select) = method else { return Err(not_for_servers(method.ids())) };
        let channel = self.open_channel(number)?;
        match channel.mode {
            Mode::Transaction(_) => {
                return Err(Exception::new(
                    ReplyCode::PRECONDITION_FAILED,
                    "cannot switch from tx to confirm mode",
                ));
            }
            Mode::Plain => {
                channel.mode = Mode::Confirm(Confirms::default());
                channel.note_mode(ChannelMode::Confirm);
            }
            Mode::Confirm(_) => {}
        }
        self.answer(number, select.no_wait, confirm::SelectOk {});
        Ok(())
    }

    fn basic_method(&mut self, number: u16, method: basic::Method<'_>) -> Result<(), Exception> {
        if !matches!(method, basic::Method::Ack(_) | basic::Method::Nack(_) | basic::Method::Reject(_)) {
            self.settle();
        }
        match method {
            basic::Method::Qos(qos) => self.qos(number, qos),
            basic::Method::Consume(consume) => self.consume(number, consume),
            basic::Method::Cancel(cancel) => self.cancel(number, cancel),
            basic::Method::Get(get) => self.get(number, get),
            basic::Method::Ack(ack) => {
                self.settle_tag(number, (ack.delivery_tag, ack.multiple), Settlement::Acked)
            }
            basic::Method::Reject(reject) => {
                self.settle_tag(number, (reject.delivery_tag, false), requeue_or_reject(reject.requeue))
            }
            basic::Method::Nack(nack) => {
                self.settle_tag(number, (nack.delivery_tag, nack.multiple), requeue_or_reject(nack.requeue))
            }
            basic::Method::Recover(recover) => self.recover(number, recover.requeue, true),
            basic::Method::RecoverAsync(recover) => self.recover(number, recover.requeue, false),
            other => Err(not_for_servers(other.ids())),
        }
    }
}

fn requeue_or_reject(requeue: bool) -> Settlement {
    if requeue { Settlement::Requeued } else { Settlement::Rejected }
}

fn not_for_servers((class, method): (u16, u16)) -> Exception {
    Exception::new(ReplyCode::COMMAND_INVALID, format!("method {class}.{method} is not for servers"))
}

fn method_ids(frame: &Frame<'_>) -> (u16, u16) {
    match (frame.kind, frame.payload.first_chunk::<4>()) {
        (FrameKind::Method, Some([a, b, c, d])) => {
            (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]))
        }
        // Content belongs to basic.publish.
        (FrameKind::Header | FrameKind::Body, _) => (60, 40),
        _ => (0, 0),
    }
}
