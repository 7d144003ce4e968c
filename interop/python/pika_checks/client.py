"""pika's blocking connection, and what the checks say with it over and over. Knows no check."""

import time

import pika
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker, UnroutableError

from checks import Checks, equal, fresh

check = Checks("pika")
MIB = 1 << 20
# Longest wait for what has to come.
PATIENCE_S = 20


class Client:
    """The connections of one check."""

    def __init__(self, url):
        self.url = url
        self.open = []

    def connect(self, **settings):
        parameters = pika.URLParameters(self.url)
        parameters.socket_timeout = 10
        parameters.blocked_connection_timeout = 20
        for name, value in settings.items():
            setattr(parameters, name, value)
        connection = pika.BlockingConnection(parameters)
        self.open.append(connection)
        return connection

    def channel(self, confirms=True):
        channel = self.connect().channel()
        if confirms:
            channel.confirm_delivery()
        return channel

    def close(self):
        for connection in self.open:
            if connection.is_open:
                connection.close()


def queue(channel, **settings):
    settings = {"exclusive": True, **settings}
    return channel.queue_declare(fresh("queue"), **settings).method.queue


def exchange(channel, kind, **settings):
    name = fresh(kind)
    channel.exchange_declare(name, kind, auto_delete=True, **settings)
    return name


def bound(channel, kind="direct", key="key", arguments=None):
    exchange_name, queue_name = exchange(channel, kind), queue(channel)
    channel.queue_bind(queue_name, exchange_name, key, arguments)
    return exchange_name, queue_name


def next_message(channel, queue_name, within_s=PATIENCE_S, auto_ack=False):
    """The next message, by consuming: (method, properties, body). None when none comes."""
    for message in channel.consume(queue_name, auto_ack=auto_ack, inactivity_timeout=within_s):
        return message if message[0] else None


def get(channel, queue_name, auto_ack=True):
    """The next message, by get. A message that was just confirmed is there at once."""
    return channel.basic_get(queue_name, auto_ack=auto_ack)


def ready(channel, queue_name):
    return channel.queue_declare(queue_name, passive=True).method.message_count


def wait_until(condition, within_s=PATIENCE_S):
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not so within {within_s} s")
        time.sleep(0.02)


def come(channel, messages, count, what):
    """Waits until so many messages have come, and a little longer for one that should not."""
    wait_until(lambda: channel.connection.process_data_events() or len(messages) >= count)
    channel.connection.sleep(0.2)
    equal(len(messages), count, what)


def refused(code, action, *arguments, **settings):
    """The broker must close the channel or the connection with this code."""
    try:
        action(*arguments, **settings)
    except (ChannelClosedByBroker, ConnectionClosedByBroker) as error:
        equal(error.reply_code, code, f"reply code ({error.reply_text})")
        return error.reply_text
    raise AssertionError(f"accepted, expected {code}")


def returned(channel, exchange_name, key):
    """pika raises only where the return came before the confirm."""
    try:
        channel.basic_publish(
            exchange_name, key, b"back", pika.BasicProperties(message_id="42"), mandatory=True
        )
    except UnroutableError as error:
        [message] = error.messages
        equal(message.method.reply_code, 312, "reply code")
        equal((message.body, message.properties.message_id), (b"back", "42"), "returned message")
        equal((message.method.exchange, message.method.routing_key), (exchange_name, key), "returned from")
        return
    raise AssertionError("not returned")
