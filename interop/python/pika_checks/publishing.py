"""Confirms, returns, properties, bodies, and what a publish is refused for."""

import datetime
import decimal

import pika

from checks import equal, fresh
from pika_checks.client import MIB, PATIENCE_S, bound, check, get, next_message, queue, ready, refused, returned


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
    refused(540, connection.process_data_events, PATIENCE_S)


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
    equal(
        {(body[0], len(body), len(set(body))) for body in bodies}, {(n, MIB, 1) for n in range(4)}, "bodies"
    )


@check("CC and BCC route too, BCC unseen")
def _(client):
    channel = client.channel()
    names = [queue(channel) for _ in range(3)]
    headers = {"CC": [names[1]], "BCC": [names[2]]}
    channel.basic_publish("", names[0], b"copy", pika.BasicProperties(headers=headers))
    for name in names:
        equal(get(channel, name)[1].headers, {"CC": [names[1]]}, "headers")


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


@check("an expiration below zero is 406, and none that is zero or more")
def _(client):
    channel = client.channel()
    refused(406, channel.basic_publish, "", queue(channel), b"", pika.BasicProperties(expiration="-1"))
    channel = client.channel()
    channel.basic_publish("", queue(channel), b"", pika.BasicProperties(expiration="60000"))


@check("CC that is no list is 406")
def _(client):
    channel = client.channel()
    refused(406, channel.basic_publish, "", queue(channel), b"", pika.BasicProperties(headers={"CC": "x"}))


@check("a large message comes back whole when it is unroutable")
def _(client):
    channel = client.channel()
    body = bytes(range(256)) * 4096 * 2
    try:
        channel.basic_publish("", fresh("absent"), body, mandatory=True)
    except pika.exceptions.UnroutableError as error:
        assert error.messages[0].body == body
        return
    raise AssertionError("not returned")


@check("a message confirmed is a message ready")
def _(client):
    channel, other = client.channel(), client.channel()
    name = queue(other, exclusive=False, auto_delete=True)
    for count in range(1, 50):
        channel.basic_publish("", name, b"")
        equal(ready(other, name), count, "messages seen by another connection")


@check("an error names the method that it is about")
def _(client):
    channel = client.channel()
    frames = []
    channel._impl.callbacks.add(
        channel.channel_number, pika.spec.Channel.Close, lambda f: frames.append(f.method)
    )
    refused(404, channel.queue_declare, fresh("absent"), passive=True)
    equal((frames[0].class_id, frames[0].method_id), (50, 10), "class and method")
