"""Exchanges of type x-delayed-message."""

import time

import pika

from checks import equal, fresh, is_on_time
from pika_checks.client import check, next_message, queue, refused, returned


def delayed(channel, kind="direct"):
    name = fresh("delayed")
    channel.exchange_declare(name, "x-delayed-message", auto_delete=True, arguments={"x-delayed-type": kind})
    queue_name = queue(channel)
    channel.queue_bind(queue_name, name, "key")
    return name, queue_name


def publish_delayed(channel, name, body, delay):
    channel.basic_publish(name, "key", body, pika.BasicProperties(headers={"x-delay": delay}), mandatory=True)


# The best of three, since the machine may be busy with something else during one.
@check("x-delay 1500 arrives after 1.5 s and before 1.6 s", delayed=True)
def _(client):
    channel = client.channel()
    name, queue_name = delayed(channel)
    arrivals = []
    channel.basic_consume(queue_name, lambda *message: arrivals.append(message), auto_ack=True)

    def arrival(delay):
        arrivals.clear()
        sent = time.monotonic()
        publish_delayed(channel, name, b"later", delay)
        while not arrivals and time.monotonic() < sent + 5:
            channel.connection.process_data_events(0.5)
        assert arrivals, "not within 5 s"
        return time.monotonic() - sent

    late = []
    for _ in range(3):
        at_once, took = arrival(0), arrival(1500)
        _, method, properties, body = arrivals[0]
        equal((body, method.exchange, method.routing_key), (b"later", name, "key"), "message")
        equal(properties.headers["x-delay"], -1500, "x-delay as seen by the consumer")
        if is_on_time(1.5, took, at_once):
            return
        late.append((at_once, took))
    raise AssertionError(f"late each time, seconds without delay and with it: {late}")


@check("shorter delays overtake longer ones, none waits without a delay", delayed=True)
def _(client):
    channel = client.channel()
    name, queue_name = delayed(channel)
    for body, delay in ((b"2100", 2100), (b"700", 700), (b"1400", "1400"), (b"0", 0), (b"-1", -1)):
        publish_delayed(channel, name, body, delay)
    channel.basic_publish(name, "key", b"none", mandatory=True)
    order = [next_message(channel, queue_name, auto_ack=True)[2] for _ in range(6)]
    equal(order, [b"0", b"-1", b"none", b"700", b"1400", b"2100"], "order")


@check("mandatory on a delayed exchange is judged at publish", delayed=True)
def _(client):
    channel = client.channel()
    name, _ = delayed(channel)
    returned(channel, name, "nowhere")


@check("x-delayed-type is required and must be known", delayed=True)
def _(client):
    for arguments in (None, {"x-delayed-type": "no-such-type"}, {"x-delayed-type": "x-delayed-message"}):
        refused(406, client.channel().exchange_declare, fresh("x"), "x-delayed-message", arguments=arguments)
