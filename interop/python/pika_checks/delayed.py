"""Exchanges of type x-delayed-message."""

import time

import pika

from checks import Stopwatch, equal, fresh
from pika_checks.client import check, next_message, queue, refused, returned


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
