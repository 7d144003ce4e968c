"""Declaring exchanges and routing through them."""

import pika
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker

from checks import equal, fresh
from pika_checks.client import bound, check, exchange, get, queue, ready, refused, returned


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


@check("the default exchange cannot be declared, bound or deleted")
def _(client):
    refused(403, client.channel().exchange_declare, "", "direct", durable=True)
    channel = client.channel()
    refused(403, channel.queue_bind, queue(channel), "", "key")
    refused(403, client.channel().exchange_delete, "")


@check("predeclared exchanges may be declared as they are, never deleted")
def _(client):
    client.channel().exchange_declare("amq.direct", "direct", durable=True)
    refused(406, client.channel().exchange_declare, "amq.direct", "fanout", durable=True)
    refused(403, client.channel().exchange_delete, "amq.direct")


@check("bind and unbind of what is missing")
def _(client):
    channel = client.channel()
    name = queue(channel)
    refused(404, channel.queue_bind, name, fresh("absent"), "key")
    refused(404, client.channel().queue_bind, fresh("absent"), "amq.direct", "key")
    refused(404, client.channel().exchange_bind, "amq.direct", fresh("absent"), "key")
    channel = client.channel()
    channel.queue_unbind(queue(channel), "amq.direct", "never bound")
    channel.queue_declare("", exclusive=True)


@check("a binding made twice routes once")
def _(client):
    channel = client.channel()
    exchange_name, queue_name = bound(channel)
    channel.queue_bind(queue_name, exchange_name, "key")
    channel.basic_publish(exchange_name, "key", b"")
    equal(ready(channel, queue_name), 1, "messages")


@check("headers exchange: values are compared by what they are")
def _(client):
    channel = client.channel()
    name = exchange(channel, "headers")
    number, anything = queue(channel), queue(channel)
    channel.queue_bind(number, name, arguments={"x-match": "all", "a": 1})
    channel.queue_bind(anything, name, arguments={"x-match": "all", "a": None})
    for headers in ({"a": 1}, {"a": "1"}, {"b": 1}, None):
        channel.basic_publish(name, "", b"", pika.BasicProperties(headers=headers))
    equal([ready(channel, number), ready(channel, anything)], [1, 2], "matches")


@check("headers exchange: an unknown x-match is 406")
def _(client):
    channel = client.channel()
    name = exchange(channel, "headers")
    refused(406, channel.queue_bind, queue(channel), name, arguments={"x-match": "some"})


@check("exchanges bound in a circle deliver once")
def _(client):
    channel = client.channel()
    first, queue_name = bound(channel, "fanout")
    second = exchange(channel, "fanout")
    channel.exchange_bind(second, first)
    channel.exchange_bind(first, second)
    channel.basic_publish(first, "", b"round")
    equal(ready(channel, queue_name), 1, "messages")
    channel.exchange_delete(second)


@check("an alternate exchange of an alternate exchange, and none that is missing")
def _(client):
    channel = client.channel()
    last, queue_name = bound(channel, "fanout")
    middle = exchange(channel, "direct", arguments={"alternate-exchange": last})
    first = exchange(channel, "direct", arguments={"alternate-exchange": middle})
    channel.basic_publish(first, "nowhere", b"", mandatory=True)
    equal(ready(channel, queue_name), 1, "messages")
    lost = exchange(channel, "direct", arguments={"alternate-exchange": fresh("absent")})
    returned(channel, lost, "nowhere")


@check("names and keys of 255 bytes")
def _(client):
    channel = client.channel()
    name, key = fresh("long").ljust(255, "n"), "k" * 255
    channel.queue_declare(name, exclusive=True)
    channel.queue_bind(name, "amq.direct", key)
    channel.basic_publish("amq.direct", key, b"")
    equal(get(channel, name)[0].routing_key, key, "routing key")
