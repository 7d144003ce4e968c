"""Declaring, purging and deleting queues."""

from checks import equal, fresh
from pika_checks.client import check, get, queue, ready, refused, wait_until


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


@check("without a queue name and without a last queue: 404")
def _(client):
    refused(404, client.channel().queue_bind, "", "amq.direct", "key")
    refused(404, client.channel().basic_get, "")


@check("purge leaves what is unacked")
def _(client):
    channel = client.channel()
    name = queue(channel)
    for body in (b"unacked", b"ready"):
        channel.basic_publish("", name, body)
    tag = get(channel, name, auto_ack=False)[0].delivery_tag
    equal(channel.queue_purge(name).method.message_count, 1, "purged")
    channel.basic_nack(tag, requeue=True)
    wait_until(lambda: ready(channel, name) == 1)
    equal(get(channel, name)[2], b"unacked", "body")


@check("purge of a missing queue is 404")
def _(client):
    refused(404, client.channel().queue_purge, fresh("absent"))


@check("declare counts what is ready and who consumes")
def _(client):
    channel = client.channel()
    name = queue(channel)
    for _ in range(3):
        channel.basic_publish("", name, b"")
    get(channel, name, auto_ack=False)
    declared = channel.queue_declare(name, exclusive=True).method
    equal((declared.message_count, declared.consumer_count), (2, 0), "counts")
    channel.connection.channel().basic_consume(name, lambda *_: None)
    wait_until(lambda: channel.queue_declare(name, passive=True).method.consumer_count == 1)


@check("a server-named queue declared again is another one")
def _(client):
    channel = client.channel()
    names = {channel.queue_declare("", exclusive=True).method.queue for _ in range(3)}
    equal(len(names), 3, "different names")


@check("a deleted queue's bindings are gone when it is declared again")
def _(client):
    channel = client.channel()
    name = queue(channel)
    channel.queue_bind(name, "amq.direct", name)
    channel.queue_delete(name)
    channel.queue_declare(name, exclusive=True)
    channel.basic_publish("amq.direct", name, b"")
    equal(ready(channel, name), 0, "messages")
