//! The methods of classes `exchange` and `queue`.

use leveret_amqp::{exchange, queue};
use leveret_broker::{BindingName, ExchangeOptions, QueueOptions};

use super::Session;
use super::deliver::server_name;
use super::not_for_servers;
use super::publish::REPLY_TO;
use crate::reply::Exception;

impl Session {
    pub(super) fn exchange_method(
        &mut self,
        number: u16,
        method: exchange::Method<'_>,
    ) -> Result<(), Exception> {
        self.settle();
        match method {
            exchange::Method::Declare(declare) => self.declare_exchange(number, declare),
            exchange::Method::Delete(delete) => {
                let held = self.vhost.delete_exchange(delete.exchange, delete.if_unused, &self.client)?;
                if held > 0 {
                    tracing::info!(
                        exchange = delete.exchange,
                        held,
                        "deleted with the messages that it held"
                    );
                }
                self.answer_declared(number, delete.no_wait, exchange::DeleteOk {});
                Ok(())
            }
            exchange::Method::Bind(bind) => {
                let binding = BindingName {
                    source: bind.source,
                    destination: bind.destination,
                    to_queue: false,
                    key: bind.routing_key,
                    arguments: &bind.arguments.to_owned(),
                };
                self.vhost.bind(binding, &self.client)?;
                self.answer_declared(number, bind.no_wait, exchange::BindOk {});
                Ok(())
            }
            exchange::Method::Unbind(unbind) => {
                let binding = BindingName {
                    source: unbind.source,
                    destination: unbind.destination,
                    to_queue: false,
                    key: unbind.routing_key,
                    arguments: &unbind.arguments.to_owned(),
                };
                self.vhost.unbind(binding, &self.client)?;
                self.answer_declared(number, unbind.no_wait, exchange::UnbindOk {});
                Ok(())
            }
            other => Err(not_for_servers(other.ids())),
        }
    }

    fn declare_exchange(&mut self, number: u16, declare: exchange::Declare<'_>) -> Result<(), Exception> {
        if declare.passive {
            self.vhost.check_exchange(declare.exchange)?;
        } else {
            let options = ExchangeOptions {
                kind: declare.kind.into(),
                durable: declare.durable,
                auto_delete: declare.auto_delete,
                internal: declare.internal,
                arguments: declare.arguments.to_owned(),
            };
            self.vhost.declare_exchange(declare.exchange, options, &self.client)?;
        }
        self.answer_declared(number, declare.no_wait, exchange::DeclareOk {});
        Ok(())
    }

    pub(super) fn queue_method(&mut self, number: u16, method: queue::Method<'_>) -> Result<(), Exception> {
        self.settle();
        match method {
            queue::Method::Declare(declare) => self.declare_queue(number, declare),
            queue::Method::Bind(bind) => self.bind_queue(number, bind),
            queue::Method::Unbind(unbind) => self.unbind_queue(number, unbind),
            queue::Method::Purge(purge) => {
                let purged = self.queue_to_read(number, purge.queue)?.purge();
                self.answer_declared(number, purge.no_wait, queue::PurgeOk { message_count: count(purged) });
                Ok(())
            }
            queue::Method::Delete(delete) => {
                let name = self.queue_name(number, delete.queue)?;
                let deleted =
                    self.vhost.delete_queue(&name, &self.client, delete.if_unused, delete.if_empty)?;
                self.answer_declared(
                    number,
                    delete.no_wait,
                    queue::DeleteOk { message_count: count(deleted) },
                );
                Ok(())
            }
            other => Err(not_for_servers(other.ids())),
        }
    }

    fn declare_queue(&mut self, number: u16, declare: queue::Declare<'_>) -> Result<(), Exception> {
        if declare.queue == REPLY_TO {
            // It is there for every channel, for whoever looks before he consumes.
            let answer = queue::DeclareOk { queue: REPLY_TO, message_count: 0, consumer_count: 1 };
            self.answer(number, declare.no_wait, answer);
            return Ok(());
        }
        let queue = if declare.passive {
            // An empty name does not mean the queue declared last here.
            self.vhost.declared_queue(declare.queue, self.client.owner, &mut self.effects)?
        } else {
            let options = QueueOptions {
                // As in RabbitMQ: what goes with its connection cannot be durable.
                durable: declare.durable && !declare.exclusive,
                exclusive: declare.exclusive.then_some(self.client.owner),
                auto_delete: declare.auto_delete,
                arguments: declare.arguments.to_owned(),
            };
            self.owns_queues |= declare.exclusive;
            if declare.queue.is_empty() {
                let name = server_name("amq.gen-");
                self.vhost.declare_server_named(&name, options, &self.client, &mut self.effects)?
            } else {
                self.vhost.declare_queue(declare.queue, options, &self.client, &mut self.effects)?.queue
            }
        };
        self.open_channel(number)?.last_queue = queue.name.to_string();
        let answer = queue::DeclareOk {
            queue: &queue.name,
            message_count: count(queue.ready_count()),
            consumer_count: count(queue.consumer_count()),
        };
        self.answer_declared(number, declare.no_wait, answer);
        Ok(())
    }

    fn bind_queue(&mut self, number: u16, bind: queue::Bind<'_>) -> Result<(), Exception> {
        let name = self.queue_name(number, bind.queue)?;
        let binding = BindingName {
            source: bind.exchange,
            destination: &name,
            to_queue: true,
            key: binding_key(bind.queue, bind.routing_key, &name),
            arguments: &bind.arguments.to_owned(),
        };
        self.vhost.bind(binding, &self.client)?;
        self.answer_declared(number, bind.no_wait, queue::BindOk {});
        Ok(())
    }

    fn unbind_queue(&mut self, number: u16, unbind: queue::Unbind<'_>) -> Result<(), Exception> {
        let name = self.queue_name(number, unbind.queue)?;
        let binding = BindingName {
            source: unbind.exchange,
            destination: &name,
            to_queue: true,
            key: binding_key(unbind.queue, unbind.routing_key, &name),
            arguments: &unbind.arguments.to_owned(),
        };
        self.vhost.unbind(binding, &self.client)?;
        self.answer_declared(number, false, queue::UnbindOk {});
        Ok(())
    }
}

/// Without queue name and routing key, the name of the queue declared last is meant for both (spec `queue.bind`).
fn binding_key<'a>(given_queue: &str, given_key: &'a str, queue: &'a str) -> &'a str {
    if given_queue.is_empty() && given_key.is_empty() { queue } else { given_key }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
