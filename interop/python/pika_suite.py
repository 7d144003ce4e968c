"""Drives a broker with pika's blocking connection: the widest of the suites, every method that pika has."""

import datetime
import decimal
import time

import pika
from pika.exceptions import (
    AMQPConnectionError,
    ChannelClosedByBroker,
    ConnectionClosedByBroker,
    NackError,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
    UnroutableError,
)

from checks import Checks, Stopwatch, equal, fresh

check = Checks("pika")
MIB = 1 << 20


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


def next_message(channel, queue_name, within_s=5, auto_ack=False):
    """The next message, by consuming: (method, properties, body). None when none comes."""
    for message in channel.consume(queue_name, auto_ack=auto_ack, inactivity_timeout=within_s):
        return message if message[0] else None


def get(channel, queue_name, auto_ack=True):
    """The next message, by get. A message that was just confirmed is there at once."""
    return channel.basic_get(queue_name, auto_ack=auto_ack)


def ready(channel, queue_name):
    return channel.queue_declare(queue_name, passive=True).method.message_count


def wait_until(condition, within_s=5):
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not so within {within_s} s")
        time.sleep(0.02)


def refused(code, action, *arguments, **settings):
    """The broker must close the channel or the connection with this code."""
    try:
        action(*arguments, **settings)
    except (ChannelClosedByBroker, ConnectionClosedByBroker) as error:
        equal(error.reply_code, code, f"reply code ({error.reply_text})")
        return error.reply_text
    raise AssertionError(f"accepted, expected {code}")


# --- connection


@check("server properties and tuning")
def _(client):
    connection = client.connect()
    properties = connection._impl.server_properties
    for name in ("product", "version", "platform", "capabilities"):
        assert name in properties, f"no server property {name}"
    for name in (
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "authentication_failure_close",
    ):
        equal(properties["capabilities"].get(name), True, f"capability {name}")
    equal(connection._impl.params.frame_max, 131072, "frame_max")


@check("wrong password is 403 ACCESS_REFUSED")
def _(client):
    try:
        client.connect(credentials=pika.PlainCredentials("guest", "not the password"))
    except ProbableAuthenticationError as error:
        assert "403" in str(error), str(error)
        return
    raise AssertionError("accepted")


@check("unknown virtual host is 530 or 403")
def _(client):
    try:
        client.connect(virtual_host="/no/such/host")
    except (ConnectionClosedByBroker, ProbableAccessDeniedError) as error:
        assert any(code in str(error) for code in ("530", "403")), str(error)
        return
    raise AssertionError("accepted")


@check("heartbeats keep an idle connection open")
def _(client):
    connection = client.connect(heartbeat=1)
    connection.sleep(3.5)
    connection.channel().queue_declare("", exclusive=True)


@check("a smaller frame_max is honoured")
def _(client):
    channel = client.connect(frame_max=4096).channel()
    channel.confirm_delivery()
    name = queue(channel)
    body = bytes(range(256)) * 256
    channel.basic_publish("", name, body)
    equal(get(channel, name)[2], body, "body")


@check("close of channel and connection")
def _(client):
    connection = client.connect()
    first, second = connection.channel(), connection.channel()
    first.close()
    assert first.is_closed and second.is_open
    second.queue_declare("", exclusive=True)
    connection.close()
    assert connection.is_closed


@check("two hundred channels on a connection")
def _(client):
    connection = client.connect()
    channels = [connection.channel() for _ in range(200)]
    name = queue(channels[0])
    for number, channel in enumerate(channels):
        channel.basic_publish("", name, str(number).encode())
    wait_until(lambda: ready(channels[0], name) == 200)
    bodies = {get(channel, name)[2] for channel in reversed(channels)}
    equal(bodies, {str(number).encode() for number in range(200)}, "bodies")


@check("a closed channel's number can be used again")
def _(client):
    connection = client.connect()
    for _ in range(50):
        channel = connection.channel(7)
        refused(404, channel.queue_declare, fresh("absent"), passive=True)
    connection.channel(7).queue_declare("", exclusive=True)


# --- exchanges


@check("passive declare of what is missing is 404")
def _(client):
    refused(404, client.channel().queue_declare, fresh("absent"), passive=True)
    refused(404, client.channel().exchange_declare, fresh("absent"), passive=True)


@check("passive declare of what is there")
def _(client):
    channel = client.channel()
    exchange_name, queue_name = bound(channel)
    channel.exchange_declare(exchange_name, passive=True)
    channel.basic_publish(exchange_name, "key", b"one")
    declared = channel.queue_declare(queue_name, passive=True).method
    equal((declared.queue, declared.message_count, declared.consumer_count), (queue_name, 1, 0), "declare-ok")


@check("redeclare with other properties is 406")
def _(client):
    channel = client.channel()
    exchange_name, queue_name = bound(channel)
    text = refused(406, client.channel().exchange_declare, exchange_name, "fanout", auto_delete=True)
    assert "type" in text, text
    text = refused(406, channel.queue_declare, queue_name, exclusive=True, auto_delete=True)
    assert "auto_delete" in text, text


@check("an exclusive queue is never durable, whatever the client asks")
def _(client):
    channel = client.channel()
    name = queue(channel, durable=True)
    channel.queue_declare(name, exclusive=True, durable=False)


@check("an unknown exchange type is refused")
def _(client):
    try:
        client.channel().exchange_declare(fresh("exchange"), "no-such-type")
    except (ChannelClosedByBroker, ConnectionClosedByBroker) as error:
        assert error.reply_code in (406, 503), error
        return
    raise AssertionError("accepted")


@check("names that begin with amq. are refused with 403")
def _(client):
    refused(403, client.channel().exchange_declare, "amq.mine", "direct")
    refused(403, client.channel().queue_declare, "amq.mine")


@check("predeclared exchanges are there")
def _(client):
    channel = client.channel()
    for name in ("amq.direct", "amq.fanout", "amq.topic", "amq.headers", "amq.match"):
        channel.exchange_declare(name, passive=True)


@check("direct exchange routes by key")
def _(client):
    channel = client.channel()
    exchange_name, queue_name = bound(channel)
    channel.basic_publish(exchange_name, "other", b"no")
    channel.basic_publish(exchange_name, "key", b"yes")
    method, _, body = get(channel, queue_name)
    equal((method.exchange, method.routing_key, body), (exchange_name, "key", b"yes"), "message")
    equal(get(channel, queue_name)[0], None, "second message")


@check("fanout exchange routes to all, once to each")
def _(client):
    channel = client.channel()
    exchange_name, first = bound(channel, "fanout")
    second = queue(channel)
    channel.queue_bind(second, exchange_name, "one")
    channel.queue_bind(second, exchange_name, "two")
    channel.basic_publish(exchange_name, "whatever", b"all")
    equal([ready(channel, first), ready(channel, second)], [1, 1], "messages in the queues")


@check("topic exchange: * is one word, # any number")
def _(client):
    channel = client.channel()
    name = exchange(channel, "topic")
    patterns = {"a.*.c": queue(channel), "a.#": queue(channel), "#": queue(channel), "#.c": queue(channel)}
    for pattern, queue_name in patterns.items():
        channel.queue_bind(queue_name, name, pattern)
    for key in ("a", "a.b.c", "a.b.b.c", "c", "", "a..c"):
        channel.basic_publish(name, key, b"")
    counts = {pattern: ready(channel, queue_name) for pattern, queue_name in patterns.items()}
    equal(counts, {"a.*.c": 2, "a.#": 4, "#": 6, "#.c": 4}, "matches")


@check("headers exchange: all and any")
def _(client):
    channel = client.channel()
    name = exchange(channel, "headers")
    every, some = queue(channel), queue(channel)
    channel.queue_bind(every, name, arguments={"x-match": "all", "a": 1, "b": "two"})
    channel.queue_bind(some, name, arguments={"x-match": "any", "a": 1, "b": "two"})
    for headers in ({"a": 1}, {"a": 1, "b": "two", "c": 3}, {"a": 2, "b": "three"}):
        channel.basic_publish(name, "", b"", pika.BasicProperties(headers=headers))
    equal([ready(channel, every), ready(channel, some)], [1, 2], "matches")


@check("exchange-to-exchange bindings")
def _(client):
    channel = client.channel()
    inner, queue_name = bound(channel, "fanout")
    outer = exchange(channel, "topic")
    channel.exchange_bind(inner, outer, "a.#")
    channel.basic_publish(outer, "a.b", b"through")
    equal(get(channel, queue_name)[2], b"through", "body")
    channel.exchange_bind(inner, outer, "c")
    channel.exchange_unbind(inner, outer, "a.#")
    returned(channel, outer, "a.b")


@check("alternate exchange takes what is not routed")
def _(client):
    channel = client.channel()
    other, queue_name = bound(channel, "fanout")
    name = exchange(channel, "direct", arguments={"alternate-exchange": other})
    channel.basic_publish(name, "nowhere", b"saved", mandatory=True)
    equal(get(channel, queue_name)[2], b"saved", "body")


@check("publish to an internal exchange is 403")
def _(client):
    channel = client.channel()
    name = exchange(channel, "fanout", internal=True)
    channel.queue_bind(queue(channel), name)
    refused(403, channel.basic_publish, name, "", b"")


@check("publish to a missing exchange is 404")
def _(client):
    refused(404, client.channel().basic_publish, fresh("absent"), "key", b"")


@check("delete of an exchange in use")
def _(client):
    channel = client.channel()
    name, queue_name = bound(channel)
    refused(406, client.channel().exchange_delete, name, if_unused=True)
    channel.exchange_delete(name)
    channel.queue_declare(queue_name, passive=True)
    refused(404, channel.exchange_declare, name, passive=True)


@check("auto-delete exchange goes with its last binding")
def _(client):
    channel = client.channel()
    name, queue_name = bound(channel)
    channel.queue_unbind(queue_name, name, "key")
    refused(404, channel.exchange_declare, name, passive=True)


@check("unbind stops the routing")
def _(client):
    channel = client.channel()
    name, queue_name = bound(channel)
    channel.queue_bind(queue_name, name, "second")
    channel.queue_unbind(queue_name, name, "key")
    returned(channel, name, "key")


# --- publishing


def returned(channel, exchange_name, key):
    """pika raises only where the return came before the confirm."""
    try:
        channel.basic_publish(exchange_name, key, b"back", pika.BasicProperties(message_id="42"), mandatory=True)
    except UnroutableError as error:
        [message] = error.messages
        equal(message.method.reply_code, 312, "reply code")
        equal((message.body, message.properties.message_id), (b"back", "42"), "returned message")
        equal((message.method.exchange, message.method.routing_key), (exchange_name, key), "returned from")
        return
    raise AssertionError("not returned")


@check("mandatory: unroutable is returned with 312 before the confirm")
def _(client):
    channel = client.channel()
    exchange_name, queue_name = bound(channel)
    returned(channel, exchange_name, "nowhere")
    returned(channel, "", fresh("absent"))
    channel.basic_publish(exchange_name, "key", b"routed", mandatory=True)
    equal(ready(channel, queue_name), 1, "messages")


@check("unroutable without mandatory is confirmed")
def _(client):
    channel = client.channel()
    channel.basic_publish("", fresh("absent"), b"dropped")


@check("immediate is 540")
def _(client):
    connection = client.connect()
    channel = connection.channel()
    publish = pika.spec.Basic.Publish(exchange="", routing_key="x", immediate=True)
    channel._impl._send_method(publish, (pika.BasicProperties(), b""))
    refused(540, connection.process_data_events, 5)


@check("confirms of a thousand persistent messages")
def _(client):
    channel = client.channel()
    name = fresh("durable")
    channel.queue_declare(name, durable=True)
    try:
        for number in range(1000):
            channel.basic_publish("", name, str(number).encode(), pika.BasicProperties(delivery_mode=2))
        equal(ready(channel, name), 1000, "messages")
        for number in range(1000):
            equal(get(channel, name)[2], str(number).encode(), "body")
    finally:
        channel.queue_delete(name)


@check("every property comes through")
def _(client):
    channel = client.channel()
    name = queue(channel)
    sent = pika.BasicProperties(
        content_type="text/plain",
        content_encoding="utf-8",
        headers={"k": "v"},
        delivery_mode=2,
        priority=3,
        correlation_id="correlation",
        reply_to="reply",
        expiration="60000",
        message_id="id",
        timestamp=1700000000,
        type="type",
        app_id="app",
        cluster_id="cluster",
    )
    channel.basic_publish("", name, b"", sent)
    equal(vars(get(channel, name)[1]), vars(sent), "properties")


@check("headers of every field type that pika has come through")
def _(client):
    channel = client.channel()
    name = queue(channel)
    headers = {
        "true": True,
        "false": False,
        "small": 7,
        "negative": -7,
        "int": -(1 << 31),
        "long": 1 << 62,
        "lowest": -(1 << 63),
        "decimal": decimal.Decimal("3.14"),
        "text": "兔 text",
        "empty": "",
        "bytes": b"\x00\xff",
        "time": datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc),
        "none": None,
        "table": {"inner": {"deep": [1, "two", {"three": 3}]}},
        "list": [True, None, [b"x"]],
        "no items": [],
        "no keys": {},
    }
    channel.basic_publish("", name, b"", pika.BasicProperties(headers=headers))
    equal(get(channel, name)[1].headers, headers, "headers")


@check("bodies of every size around a frame's, and several MiB")
def _(client):
    channel = client.channel()
    name = queue(channel)
    payload = 131072 - 8
    for size in (0, 1, payload - 1, payload, payload + 1, 2 * payload, MIB, 5 * MIB + 3):
        body = (b"0123456789abcdef" * (size // 16 + 1))[:size]
        channel.basic_publish("", name, body)
        received = get(channel, name)[2]
        assert received == body, f"a body of {size} bytes came back as {len(received)} bytes"


@check("large bodies by consumer, from several channels")
def _(client):
    connection = client.connect()
    publishers = [connection.channel() for _ in range(4)]
    consumer = client.channel()
    name = fresh("large")
    consumer.queue_declare(name, auto_delete=True)
    for number, channel in enumerate(publishers):
        channel.basic_publish("", name, bytes([number]) * MIB)
    bodies = {next_message(consumer, name, auto_ack=True)[2] for _ in publishers}
    equal({(body[0], len(body), len(set(body))) for body in bodies}, {(n, MIB, 1) for n in range(4)}, "bodies")


@check("CC and BCC route too, BCC unseen")
def _(client):
    channel = client.channel()
    names = [queue(channel) for _ in range(3)]
    headers = {"CC": [names[1]], "BCC": [names[2]]}
    channel.basic_publish("", names[0], b"copy", pika.BasicProperties(headers=headers))
    for name in names:
        equal(get(channel, name)[1].headers, {"CC": [names[1]]}, f"headers")


@check("user-id must be the connection's user")
def _(client):
    channel = client.channel()
    name = queue(channel)
    me = pika.URLParameters(client.url).credentials.username
    channel.basic_publish("", name, b"", pika.BasicProperties(user_id=me))
    equal(get(channel, name)[1].user_id, me, "user_id")
    refused(406, channel.basic_publish, "", name, b"", pika.BasicProperties(user_id="somebody else"))


@check("an expiration that is no number is 406")
def _(client):
    channel = client.channel()
    refused(406, channel.basic_publish, "", queue(channel), b"", pika.BasicProperties(expiration="soon"))


# --- queues


@check("server-named queue, and the channel's last queue as default")
def _(client):
    channel = client.channel()
    name = channel.queue_declare("", exclusive=True).method.queue
    assert name.startswith("amq.gen-"), name
    channel.queue_bind("", "amq.direct", name)
    channel.basic_publish("amq.direct", name, b"mine")
    equal(get(channel, name)[2], b"mine", "body")


@check("exclusive queue is 405 for another connection, and goes with its own")
def _(client):
    owner = client.connect()
    name = queue(owner.channel())
    refused(405, client.channel().queue_declare, name, exclusive=True)
    refused(405, client.channel().basic_get, name)
    refused(405, client.channel().queue_delete, name)
    owner.close()
    refused(404, client.channel().queue_declare, name, passive=True)


@check("auto-delete queue goes with its last consumer")
def _(client):
    channel = client.channel()
    name = queue(channel, exclusive=False, auto_delete=True)
    tags = [channel.basic_consume(name, lambda *_: None) for _ in range(2)]
    channel.basic_cancel(tags[0])
    channel.queue_declare(name, passive=True)
    channel.basic_cancel(tags[1])
    refused(404, channel.queue_declare, name, passive=True)


@check("purge and delete tell how many messages they dropped")
def _(client):
    channel = client.channel()
    name = queue(channel)
    for _ in range(5):
        channel.basic_publish("", name, b"")
    equal(channel.queue_purge(name).method.message_count, 5, "purged")
    for _ in range(3):
        channel.basic_publish("", name, b"")
    equal(channel.queue_delete(name).method.message_count, 3, "deleted")
    refused(404, channel.queue_declare, name, passive=True)


@check("delete if-empty and if-unused are 406 where it is not so")
def _(client):
    channel = client.channel()
    name = queue(channel, exclusive=False, auto_delete=True)
    channel.basic_publish("", name, b"")
    refused(406, client.channel().queue_delete, name, if_empty=True)
    channel.basic_consume(name, lambda *_: None)
    refused(406, client.channel().queue_delete, name, if_unused=True)


@check("delete of what is not there succeeds")
def _(client):
    channel = client.channel()
    equal(channel.queue_delete(fresh("absent")).method.message_count, 0, "deleted")
    channel.exchange_delete(fresh("absent"))


# --- consumers and settling


@check("consume and ack, in order")
def _(client):
    channel = client.channel()
    name = queue(channel)
    for number in range(20):
        channel.basic_publish("", name, str(number).encode())
    for number in range(20):
        method, _, body = next_message(channel, name)
        equal((body, method.redelivered), (str(number).encode(), False), "delivery")
        channel.basic_ack(method.delivery_tag)
    channel.cancel()
    equal(ready(channel, name), 0, "messages")


@check("ack of several at once")
def _(client):
    channel = client.channel()
    name = queue(channel)
    for _ in range(10):
        channel.basic_publish("", name, b"")
    tags = [get(channel, name, auto_ack=False)[0].delivery_tag for _ in range(10)]
    channel.basic_ack(tags[6], multiple=True)
    channel.basic_nack(0, multiple=True, requeue=True)
    wait_until(lambda: ready(channel, name) == 3)


@check("nack and reject with requeue: back in place, redelivered")
def _(client):
    channel = client.channel()
    name = queue(channel)
    for body in (b"first", b"second"):
        channel.basic_publish("", name, body)
    for settle in (channel.basic_nack, channel.basic_reject):
        method = get(channel, name, auto_ack=False)[0]
        settle(method.delivery_tag, requeue=True)
        wait_until(lambda: ready(channel, name) == 2)
    method, _, body = get(channel, name)
    equal((body, method.redelivered), (b"first", True), "first message")
    method, _, body = get(channel, name)
    equal((body, method.redelivered), (b"second", False), "second message")


@check("nack and reject without requeue: gone")
def _(client):
    channel = client.channel()
    name = queue(channel)
    for settle in (channel.basic_nack, channel.basic_reject):
        channel.basic_publish("", name, b"")
        settle(get(channel, name, auto_ack=False)[0].delivery_tag, requeue=False)
        equal(ready(channel, name), 0, "messages")


@check("what a closed channel had unacked comes back in order, redelivered")
def _(client):
    connection = client.connect()
    channel, other = connection.channel(), client.channel()
    name = queue(other, exclusive=False, auto_delete=True)
    for number in range(5):
        other.basic_publish("", name, str(number).encode())
    for _ in range(3):
        get(channel, name, auto_ack=False)
    connection.close()
    wait_until(lambda: ready(other, name) == 5)
    seen = [(get(other, name)) for _ in range(5)]
    equal([body for _, _, body in seen], [b"0", b"1", b"2", b"3", b"4"], "order")
    equal([method.redelivered for method, _, _ in seen], [True, True, True, False, False], "redelivered")


@check("get tells how many are left, and get-empty")
def _(client):
    channel = client.channel()
    name = queue(channel)
    for _ in range(3):
        channel.basic_publish("", name, b"")
    equal([get(channel, name)[0].message_count for _ in range(3)], [2, 1, 0], "message counts")
    equal(get(channel, name), (None, None, None), "get-empty")


@check("prefetch of a consumer bounds what is unacked")
def _(client):
    channel = client.channel()
    name = queue(channel)
    for _ in range(10):
        channel.basic_publish("", name, b"")
    tags = []
    channel.basic_qos(prefetch_count=3)
    channel.basic_consume(name, lambda _c, method, _p, _b: tags.append(method.delivery_tag))
    channel.connection.sleep(0.3)
    equal(len(tags), 3, "deliveries")
    channel.basic_ack(tags[1], multiple=True)
    channel.connection.sleep(0.3)
    equal(len(tags), 5, "deliveries after two acks")


@check("prefetch is each consumer's own, or with global the channel's")
def _(client):
    for is_global, expected in ((False, 4), (True, 2)):
        channel = client.channel()
        name = queue(channel)
        for _ in range(10):
            channel.basic_publish("", name, b"")
        seen = []
        channel.basic_qos(prefetch_count=2, global_qos=is_global)
        for _ in range(2):
            channel.basic_consume(name, lambda *message: seen.append(message))
        channel.connection.sleep(0.3)
        equal(len(seen), expected, f"deliveries with global {is_global}")


@check("messages go round among equal consumers")
def _(client):
    channel = client.channel()
    name = queue(channel)
    seen = [[], []]
    for mine in seen:
        channel.basic_consume(name, lambda *message, mine=mine: mine.append(message), auto_ack=True)
    for _ in range(10):
        channel.basic_publish("", name, b"")
    channel.connection.sleep(0.3)
    equal([len(mine) for mine in seen], [5, 5], "shares")


@check("exclusive consumer is 403 for a second")
def _(client):
    channel = client.channel()
    name = queue(channel)
    channel.basic_consume(name, lambda *_: None, exclusive=True)
    refused(403, channel.connection.channel().basic_consume, name, lambda *_: None)


@check("consume from a missing queue is 404")
def _(client):
    refused(404, client.channel().basic_consume, fresh("absent"), lambda *_: None)


@check("a consumer tag used twice is 530")
def _(client):
    connection = client.connect()
    channel = connection.channel()
    name = queue(channel)
    channel._impl.basic_consume(name, lambda *_: None, consumer_tag="tag")
    consume = pika.spec.Basic.Consume(queue=name, consumer_tag="tag")
    channel._impl._send_method(consume)
    refused(530, connection.process_data_events, 5)


@check("cancelled consumer gets nothing more")
def _(client):
    channel = client.channel()
    name = queue(channel)
    seen = []
    tag = channel.basic_consume(name, lambda *message: seen.append(message), auto_ack=True)
    channel.basic_cancel(tag)
    channel.basic_publish("", name, b"")
    channel.connection.sleep(0.2)
    equal((len(seen), ready(channel, name)), (0, 1), "delivered and ready")


@check("the client is told when its consumer's queue goes")
def _(client):
    channel = client.channel()
    name = queue(channel)
    cancelled = []
    channel.add_on_cancel_callback(cancelled.append)
    tag = channel.basic_consume(name, lambda *_: None)
    channel.connection.channel().queue_delete(name)
    channel.connection.sleep(0.3)
    equal([frame.method.consumer_tag for frame in cancelled], [tag], "cancelled consumers")


@check("ack of an unknown tag is 406, and so is a second ack")
def _(client):
    channel = client.channel()
    channel.basic_ack(99)
    refused(406, channel.queue_declare, "", exclusive=True)
    channel = client.channel()
    name = queue(channel)
    channel.basic_publish("", name, b"")
    tag = get(channel, name, auto_ack=False)[0].delivery_tag
    channel.basic_ack(tag)
    channel.basic_ack(tag)
    refused(406, channel.queue_declare, "", exclusive=True)


@check("recover requeues what is unacked")
def _(client):
    channel = client.channel()
    name = queue(channel)
    channel.basic_publish("", name, b"again")
    get(channel, name, auto_ack=False)
    channel.basic_recover(requeue=True)
    method, _, body = get(channel, name)
    equal((body, method.redelivered), (b"again", True), "message")


@check("direct reply-to")
def _(client):
    asker, answerer = client.channel(confirms=False), client.channel(confirms=False)
    name = queue(answerer)
    answers = []
    asker.basic_consume("amq.rabbitmq.reply-to", lambda *message: answers.append(message[3]), auto_ack=True)
    answerer_queue = fresh("requests")
    answerer.queue_declare(answerer_queue, auto_delete=True)
    asker.basic_publish("", answerer_queue, b"question", pika.BasicProperties(reply_to="amq.rabbitmq.reply-to"))
    _, properties, body = next_message(answerer, answerer_queue, auto_ack=True)
    assert properties.reply_to.startswith("amq.rabbitmq.reply-to."), properties.reply_to
    answerer.basic_publish("", properties.reply_to, body + b" answered")
    answerer.queue_declare(name, passive=True)
    asker.connection.sleep(0.3)
    equal(answers, [b"question answered"], "answers")


# --- transactions


@check("tx: commit publishes and settles, rollback does neither")
def _(client):
    channel, other = client.channel(confirms=False), client.channel()
    name = queue(other, exclusive=False, auto_delete=True)
    other.basic_publish("", name, b"there")
    channel.tx_select()
    channel.basic_publish("", name, b"rolled back")
    channel.tx_rollback()
    equal(ready(other, name), 1, "messages after rollback")
    channel.basic_publish("", name, b"committed")
    equal(ready(other, name), 1, "messages before commit")
    method = get(channel, name, auto_ack=False)[0]
    channel.basic_ack(method.delivery_tag)
    channel.tx_commit()
    equal(get(other, name)[2], b"committed", "body")
    equal(get(other, name), (None, None, None), "get-empty")


@check("tx and confirms on one channel are 406")
def _(client):
    refused(406, client.channel(confirms=True).tx_select)
    channel = client.channel(confirms=False)
    refused(406, channel.tx_commit)


# --- delayed messages


def delayed(channel, kind="direct"):
    name = fresh("delayed")
    channel.exchange_declare(name, "x-delayed-message", auto_delete=True, arguments={"x-delayed-type": kind})
    queue_name = queue(channel)
    channel.queue_bind(queue_name, name, "key")
    return name, queue_name


def publish_delayed(channel, name, body, delay):
    channel.basic_publish(name, "key", body, pika.BasicProperties(headers={"x-delay": delay}), mandatory=True)


@check("x-delay 1500 arrives after 1.5 s and before 1.6 s", delayed=True)
def _(client):
    channel = client.channel()
    name, queue_name = delayed(channel)
    arrivals = []
    channel.basic_consume(queue_name, lambda *message: arrivals.append((message, Stopwatch())), auto_ack=True)
    sent = Stopwatch()
    publish_delayed(channel, name, b"later", 1500)
    while not arrivals and time.monotonic() < sent.start + 5:
        channel.connection.process_data_events(0.5)
    assert arrivals, "not within 5 s"
    sent.between(1.5, 1.6)
    (_, method, properties, body), _ = arrivals[0]
    equal((body, method.exchange, method.routing_key), (b"later", name, "key"), "message")
    equal(properties.headers["x-delay"], -1500, "x-delay as seen by the consumer")


@check("shorter delays overtake longer ones, none waits without a delay", delayed=True)
def _(client):
    channel = client.channel()
    name, queue_name = delayed(channel)
    for body, delay in ((b"600", 600), (b"200", 200), (b"400", "400"), (b"0", 0), (b"-1", -1)):
        publish_delayed(channel, name, body, delay)
    channel.basic_publish(name, "key", b"none", mandatory=True)
    order = [next_message(channel, queue_name, auto_ack=True)[2] for _ in range(6)]
    equal(order, [b"0", b"-1", b"none", b"200", b"400", b"600"], "order")


@check("mandatory on a delayed exchange is judged at publish", delayed=True)
def _(client):
    channel = client.channel()
    name, _ = delayed(channel)
    returned(channel, name, "nowhere")


@check("x-delayed-type is required and must be known", delayed=True)
def _(client):
    for arguments in (None, {"x-delayed-type": "no-such-type"}, {"x-delayed-type": "x-delayed-message"}):
        refused(406, client.channel().exchange_declare, fresh("x"), "x-delayed-message", arguments=arguments)


if __name__ == "__main__":
    check.main(Client)
