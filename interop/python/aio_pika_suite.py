"""Drives a broker with aio-pika (aiormq): many publishes in flight on one channel, asynchronous consumers."""

import asyncio
import datetime
import decimal
import logging
import time

import aio_pika
from aio_pika import ExchangeType, Message
from yarl import URL
from aiormq.exceptions import (
    AMQPConnectionError,
    ChannelAccessRefused,
    ChannelLockedResource,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    PublishError,
)

from checks import Checks, equal, fresh, is_on_time

check = Checks("aio-pika")
MIB = 1 << 20
# Longest wait for what has to come.
PATIENCE_S = 20
REFUSALS = {
    403: ChannelAccessRefused,
    404: ChannelNotFoundEntity,
    405: ChannelLockedResource,
    406: ChannelPreconditionFailed,
}


class Client:
    """The connections of one check."""

    def __init__(self, url):
        # The library logs what the checks provoke.
        logging.disable(logging.CRITICAL)
        self.url = url
        self.open = []

    async def connect(self, **settings):
        connection = await aio_pika.connect(self.url, **settings)
        self.open.append(connection)
        return connection

    async def channel(self, publisher_confirms=True):
        connection = await self.connect()
        return await connection.channel(
            publisher_confirms=publisher_confirms, on_return_raises=publisher_confirms
        )

    async def close(self):
        for connection in self.open:
            await connection.close()


async def bound(channel, kind=ExchangeType.DIRECT, **settings):
    exchange = await channel.declare_exchange(fresh("exchange"), kind, auto_delete=True, **settings)
    queue = await channel.declare_queue(fresh("queue"), exclusive=True)
    await queue.bind(exchange, "key")
    return exchange, queue


async def refused(code, action):
    try:
        await action
    except REFUSALS[code]:
        return
    raise AssertionError(f"accepted, expected {code}")


async def returned(exchange, key):
    """aiormq raises only where the return came before the confirm."""
    try:
        await exchange.publish(Message(b"back", message_id="42"), key, mandatory=True)
    except PublishError as error:
        equal(error.frame.reply_code, 312, "reply code")
        equal(error.message.body, b"back", "body")
        equal(error.message.header.properties.message_id, "42", "message id")
        return
    raise AssertionError("not returned")


async def ready(channel, queue, count, within_s=PATIENCE_S):
    """Waits until that many messages are ready."""
    deadline = time.monotonic() + within_s
    while True:
        found = (await channel.declare_queue(queue.name, passive=True)).declaration_result.message_count
        if found == count:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"{found} messages ready, expected {count}")
        await asyncio.sleep(0.02)


async def come(messages, count, what):
    """Waits until so many messages have come, and a little longer for one that should not."""
    deadline = time.monotonic() + PATIENCE_S
    while len(messages) < count and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.2)
    equal(len(messages), count, what)


@check("declare, bind, publish with confirms, get")
async def _(client):
    channel = await client.channel()
    exchange, queue = await bound(channel)
    confirmed = await exchange.publish(Message(b"body"), "key")
    equal(type(confirmed).__name__, "Ack", "confirm")
    message = await queue.get(no_ack=True)
    equal((message.body, message.routing_key, message.exchange), (b"body", "key", exchange.name), "message")


@check("a thousand persistent publishes in flight on a channel, all confirmed")
async def _(client):
    channel = await client.channel()
    queue = await channel.declare_queue(fresh("queue"), durable=True)
    try:
        messages = [
            Message(str(n).encode(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT) for n in range(1000)
        ]
        await asyncio.gather(*(channel.default_exchange.publish(one, queue.name) for one in messages))
        bodies = [(await queue.get(no_ack=True)).body for _ in messages]
        equal(bodies, [message.body for message in messages], "bodies")
    finally:
        await queue.delete(if_empty=False)


@check("mandatory: unroutable is returned with 312 before the confirm")
async def _(client):
    channel = await client.channel()
    exchange, _ = await bound(channel)
    await returned(exchange, "nowhere")
    await returned(channel.default_exchange, fresh("absent"))
    await exchange.publish(Message(b""), "key", mandatory=True)


@check("returns and confirms of many publishes in flight keep apart")
async def _(client):
    channel = await client.channel()
    exchange, queue = await bound(channel)
    keys = ["key" if number % 3 else "nowhere" for number in range(300)]
    publishes = [exchange.publish(Message(b""), key, mandatory=True) for key in keys]
    outcomes = await asyncio.gather(*publishes, return_exceptions=True)
    equal(
        [isinstance(outcome, PublishError) for outcome in outcomes],
        [key == "nowhere" for key in keys],
        "returned",
    )
    await ready(channel, queue, 200)


@check("unroutable without mandatory is confirmed")
async def _(client):
    channel = await client.channel()
    await channel.default_exchange.publish(Message(b""), fresh("absent"), mandatory=False)


@check("passive declare errors: 404, and 406 on a redeclare")
async def _(client):
    await refused(404, (await client.channel()).declare_queue(fresh("absent"), passive=True))
    await refused(404, (await client.channel()).get_exchange(fresh("absent")))
    channel = await client.channel()
    exchange, queue = await bound(channel)
    await refused(
        406, (await client.channel()).declare_exchange(exchange.name, ExchangeType.TOPIC, auto_delete=True)
    )
    await refused(406, channel.declare_queue(queue.name, exclusive=True, auto_delete=True))


@check("consume and ack, in order")
async def _(client):
    channel = await client.channel()
    exchange, queue = await bound(channel)
    for number in range(50):
        await exchange.publish(Message(str(number).encode()), "key")
    bodies = []
    async with queue.iterator(timeout=PATIENCE_S) as messages:
        async for message in messages:
            bodies.append(message.body)
            await message.ack()
            if len(bodies) == 50:
                break
    equal(bodies, [str(number).encode() for number in range(50)], "bodies")
    await ready(channel, queue, 0)


@check("nack and reject with requeue: redelivered")
async def _(client):
    channel = await client.channel()
    exchange, queue = await bound(channel)
    await exchange.publish(Message(b"again"), "key")
    first = await queue.get()
    equal(first.redelivered, False, "redelivered at first")
    await first.nack(requeue=True)
    await ready(channel, queue, 1)
    second = await queue.get()
    equal((second.body, second.redelivered), (b"again", True), "after nack")
    await second.reject(requeue=True)
    await ready(channel, queue, 1)
    third = await queue.get(no_ack=True)
    equal((third.body, third.redelivered), (b"again", True), "after reject")


@check("nack and reject without requeue: gone")
async def _(client):
    channel = await client.channel()
    exchange, queue = await bound(channel)
    for _ in range(2):
        await exchange.publish(Message(b""), "key")
    await (await queue.get()).nack(requeue=False)
    await (await queue.get()).reject(requeue=False)
    equal(await queue.get(fail=False), None, "get")


@check("get tells how many are left, and get-empty")
async def _(client):
    channel = await client.channel()
    exchange, queue = await bound(channel)
    for _ in range(3):
        await exchange.publish(Message(b""), "key")
    equal([(await queue.get(no_ack=True)).message_count for _ in range(3)], [2, 1, 0], "message counts")
    equal(await queue.get(fail=False), None, "get-empty")


@check("prefetch bounds what is unacked")
async def _(client):
    channel = await client.channel()
    exchange, queue = await bound(channel)
    for _ in range(10):
        await exchange.publish(Message(b""), "key")
    await channel.set_qos(prefetch_count=3)
    seen = []

    async def keep(message):
        seen.append(message)

    await queue.consume(keep)
    await come(seen, 3, "deliveries")
    await seen[1].ack(multiple=True)
    await come(seen, 5, "deliveries after two acks")


@check("exclusive queue is 405 for another connection")
async def _(client):
    _, queue = await bound(await client.channel())
    await refused(405, (await client.channel()).declare_queue(queue.name, exclusive=True))


@check("auto-delete queue goes with its last consumer")
async def _(client):
    channel = await client.channel()
    queue = await channel.declare_queue(fresh("queue"), auto_delete=True)
    tag = await queue.consume(lambda message: None)
    await queue.cancel(tag)
    await refused(404, channel.declare_queue(queue.name, passive=True))


@check("tx: commit publishes, rollback does not")
async def _(client):
    channel = await client.channel(publisher_confirms=False)
    exchange, queue = await bound(channel)
    async with channel.transaction():
        await exchange.publish(Message(b"committed"), "key")
        await ready(channel, queue, 0)
    await ready(channel, queue, 1)
    transaction = channel.transaction()
    await transaction.select()
    await exchange.publish(Message(b"rolled back"), "key")
    await transaction.rollback()
    await ready(channel, queue, 1)


@check("large bodies, several frames each, in flight together")
async def _(client):
    channel = await client.channel()
    exchange, queue = await bound(channel)
    bodies = [bytes([number]) * (MIB + number) for number in range(8)]
    await asyncio.gather(*(exchange.publish(Message(body), "key") for body in bodies))
    received = [(await queue.get(no_ack=True)).body for _ in bodies]
    assert received == bodies, f"sizes {[len(body) for body in received]}"


@check("a hundred channels at work at once")
async def _(client):
    connection = await client.connect()

    async def work():
        channel = await connection.channel()
        exchange, queue = await bound(channel)
        for number in range(5):
            await exchange.publish(Message(str(number).encode()), "key")
        return [(await queue.get(no_ack=True)).body for _ in range(5)]

    bodies = await asyncio.gather(*(work() for _ in range(100)))
    assert all(each == [b"0", b"1", b"2", b"3", b"4"] for each in bodies), bodies


@check("headers of every field type that aio-pika has come through")
async def _(client):
    channel = await client.channel()
    exchange, queue = await bound(channel)
    headers = {
        "true": True,
        "int": -5,
        "long": 1 << 60,
        "double": 2.5,
        "decimal": decimal.Decimal("-1.25"),
        "text": "兔",
        "bytes": bytearray(b"\x00\xfe"),
        "time": datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc),
        "none": None,
        "table": {"inner": {"deep": 1}},
        "list": [1, "two", None, {"three": [3]}],
    }
    await exchange.publish(Message(b"", headers=headers), "key")
    equal((await queue.get(no_ack=True)).headers, headers, "headers")


@check("every property comes through")
async def _(client):
    channel = await client.channel()
    exchange, queue = await bound(channel)
    sent = Message(
        b"body",
        content_type="text/plain",
        content_encoding="utf-8",
        delivery_mode=2,
        priority=5,
        correlation_id="correlation",
        reply_to="reply",
        expiration=60,
        message_id="id",
        timestamp=1700000000,
        type="type",
        app_id="app",
    )
    await exchange.publish(sent, "key")
    got = await queue.get(no_ack=True)
    for name in (
        "content_type content_encoding delivery_mode priority correlation_id reply_to expiration message_id "
        "timestamp type app_id"
    ).split():
        equal(getattr(got, name), getattr(sent, name), name)


@check("wrong password is refused")
async def _(client):
    url = URL(client.url).with_password("not the password")
    try:
        await aio_pika.connect(url)
    except AMQPConnectionError as error:
        assert "403" in str(error) or "ACCESS_REFUSED" in str(error), str(error)
        return
    raise AssertionError("accepted")


@check("an error closes its channel only")
async def _(client):
    connection = await client.connect()
    broken, whole = await connection.channel(), await connection.channel()
    await refused(404, broken.declare_queue(fresh("absent"), passive=True))
    await bound(whole)
    await whole.close()
    await connection.close()
    assert connection.is_closed


async def delayed(channel):
    return await bound(channel, ExchangeType.X_DELAYED_MESSAGE, arguments={"x-delayed-type": "direct"})


# The best of three, here and below, since the machine may be busy with something else during one.
@check("x-delay 1500 arrives after 1.5 s and before 1.6 s", delayed=True)
async def _(client):
    channel = await client.channel()
    exchange, queue = await delayed(channel)
    arrived = asyncio.Queue()

    async def note(message):
        arrived.put_nowait((time.monotonic(), message))

    async def arrival(delay):
        sent = time.monotonic()
        await exchange.publish(Message(b"later", headers={"x-delay": delay}), "key", mandatory=True)
        at, message = await asyncio.wait_for(arrived.get(), 5)
        return at - sent, message

    await queue.consume(note, no_ack=True)
    late = []
    for _ in range(3):
        (at_once, _), (took, message) = await arrival(0), await arrival(1500)
        equal((message.body, message.headers["x-delay"]), (b"later", -1500), "message")
        if is_on_time(1.5, took, at_once):
            return
        late.append((at_once, took))
    raise AssertionError(f"late each time, seconds without delay and with it: {late}")


@check("two hundred delayed messages arrive on time and in order of their times", delayed=True)
async def _(client):
    channel = await client.channel()
    exchange, queue = await delayed(channel)
    arrivals = []

    async def note(message):
        arrivals.append((int(message.body), time.monotonic()))

    async def latest(delays_ms):
        """By how much the latest of them came after its delay, in seconds."""
        arrivals.clear()
        due = {}
        for number, delay_ms in enumerate(delays_ms):
            due[number] = time.monotonic() + delay_ms / 1000
            await exchange.publish(Message(str(number).encode(), headers={"x-delay": delay_ms}), "key")
        deadline = time.monotonic() + PATIENCE_S
        while len(arrivals) < len(due) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        equal(len(arrivals), len(due), "arrivals")
        lateness_s = [at - due[number] for number, at in arrivals]
        assert min(lateness_s) >= 0, f"{-min(lateness_s):.4f} s early"
        return max(lateness_s)

    await queue.consume(note, no_ack=True)
    late = []
    for _ in range(3):
        at_once = await latest([0] * 200)
        lateness = await latest([300 + (number * 37) % 700 for number in range(200)])
        if is_on_time(0, lateness, at_once):
            return
        late.append((at_once, lateness))
    raise AssertionError(f"late each time, seconds without delay and with it: {late}")


@check("mandatory on a delayed exchange is judged at publish", delayed=True)
async def _(client):
    exchange, _ = await delayed(await client.channel())
    await returned(exchange, "nowhere")


@check("x-delayed-type is required", delayed=True)
async def _(client):
    channel = await client.channel()
    await refused(406, channel.declare_exchange(fresh("x"), ExchangeType.X_DELAYED_MESSAGE))


if __name__ == "__main__":
    check.main(Client)
