"""Deliveries, acks, requeues, prefetch, cancels, replies."""

import pika

from checks import equal, fresh
from pika_checks.client import PATIENCE_S, check, come, get, next_message, queue, ready, refused, wait_until


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
    come(channel, tags, 3, "deliveries")
    channel.basic_ack(tags[1], multiple=True)
    come(channel, tags, 5, "deliveries after two acks")


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
        come(channel, seen, expected, f"deliveries with global {is_global}")


@check("messages go round among equal consumers")
def _(client):
    channel = client.channel()
    name = queue(channel)
    seen = [[], []]
    for mine in seen:
        channel.basic_consume(name, lambda *message, mine=mine: mine.append(message), auto_ack=True)
    for _ in range(10):
        channel.basic_publish("", name, b"")
    wait_until(lambda: channel.connection.process_data_events() or sum(map(len, seen)) >= 10)
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
    refused(530, connection.process_data_events, PATIENCE_S)


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
    wait_until(lambda: channel.connection.process_data_events() or cancelled)
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
    asker.basic_publish(
        "", answerer_queue, b"question", pika.BasicProperties(reply_to="amq.rabbitmq.reply-to")
    )
    _, properties, body = next_message(answerer, answerer_queue, auto_ack=True)
    assert properties.reply_to.startswith("amq.rabbitmq.reply-to."), properties.reply_to
    answerer.basic_publish("", properties.reply_to, body + b" answered")
    answerer.queue_declare(name, passive=True)
    wait_until(lambda: asker.connection.process_data_events() or answers)
    equal(answers, [b"question answered"], "answers")


@check("a consumer tag from the server begins with amq.ctag-")
def _(client):
    channel = client.channel()
    consume = pika.spec.Basic.Consume(queue=queue(channel), consumer_tag="")
    answer = []
    channel._impl._rpc(consume, lambda frame: answer.append(frame.method), [pika.spec.Basic.ConsumeOk])
    wait_until(lambda: channel.connection.process_data_events() or answer)
    assert answer[0].consumer_tag.startswith("amq.ctag-"), answer[0].consumer_tag


@check("cancel of an unknown consumer succeeds")
def _(client):
    channel = client.channel()
    answer = []
    cancel = pika.spec.Basic.Cancel(consumer_tag="unknown")
    channel._impl._rpc(cancel, lambda frame: answer.append(frame.method), [pika.spec.Basic.CancelOk])
    wait_until(lambda: channel.connection.process_data_events() or answer)
    equal(answer[0].consumer_tag, "unknown", "consumer tag")


@check("exclusive consumer is 403 where there is a consumer already")
def _(client):
    channel = client.channel()
    name = queue(channel)
    channel.basic_consume(name, lambda *_: None)
    refused(403, channel.connection.channel().basic_consume, name, lambda *_: None, exclusive=True)


@check("prefetch does not bound a consumer without acks")
def _(client):
    channel = client.channel()
    name = queue(channel)
    for _ in range(10):
        channel.basic_publish("", name, b"")
    seen = []
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(name, lambda *message: seen.append(message), auto_ack=True)
    wait_until(lambda: channel.connection.process_data_events() or len(seen) == 10)


@check("prefetch of bytes is 540")
def _(client):
    refused(540, client.channel().basic_qos, prefetch_size=1000)


@check("recover without requeue is 540")
def _(client):
    refused(540, client.channel().basic_recover, requeue=False)


@check("ack of everything where nothing is unacked")
def _(client):
    channel = client.channel()
    channel.basic_ack(0, multiple=True)
    channel.queue_declare("", exclusive=True)
    channel.basic_ack(5, multiple=True)
    refused(406, channel.queue_declare, "", exclusive=True)


@check("several requeued at once keep their order")
def _(client):
    channel = client.channel()
    name = queue(channel)
    for number in range(6):
        channel.basic_publish("", name, str(number).encode())
    tags = [get(channel, name, auto_ack=False)[0].delivery_tag for _ in range(4)]
    channel.basic_ack(tags[1])
    channel.basic_nack(tags[3], multiple=True, requeue=True)
    wait_until(lambda: ready(channel, name) == 5)
    equal([get(channel, name)[2] for _ in range(5)], [b"0", b"2", b"3", b"4", b"5"], "order")


@check("a cancelled consumer's unacked messages stay unacked")
def _(client):
    channel = client.channel()
    name = queue(channel)
    channel.basic_publish("", name, b"")
    tags = []
    consumer = channel.basic_consume(name, lambda _c, method, _p, _b: tags.append(method.delivery_tag))
    wait_until(lambda: channel.connection.process_data_events() or tags)
    # pika itself would reject them.
    cancel = pika.spec.Basic.Cancel(consumer_tag=consumer)
    channel._impl._rpc(cancel, lambda _frame: tags.append(None), [pika.spec.Basic.CancelOk])
    wait_until(lambda: channel.connection.process_data_events() or len(tags) == 2)
    equal(ready(channel, name), 0, "messages")
    channel.basic_ack(tags[0])
    channel.queue_declare(name, passive=True)


@check("delivery tags count up on each channel by itself")
def _(client):
    connection = client.connect()
    channels = [connection.channel() for _ in range(2)]
    name = queue(channels[0])
    for _ in range(4):
        channels[0].basic_publish("", name, b"")
    wait_until(lambda: ready(channels[0], name) == 4)
    tags = [get(channel, name, auto_ack=False)[0].delivery_tag for channel in channels * 2]
    equal(tags, [1, 1, 2, 2], "delivery tags")
    refused(406, ack_and_wait, channels[0], 3)


def ack_and_wait(channel, tag):
    channel.basic_ack(tag)
    channel.queue_declare("", exclusive=True)


@check("channel.flow is answered")
def _(client):
    channel = client.channel()
    equal(channel.flow(True), True, "active")
