"""tx: what waits for the commit."""

from checks import equal
from pika_checks.client import check, get, queue, ready, refused, wait_until


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


@check("tx: what is unroutable is returned at the commit")
def _(client):
    channel = client.channel(confirms=False)
    channel.tx_select()
    back = []
    channel.add_on_return_callback(lambda _c, method, _p, body: back.append((method.reply_code, body)))
    channel.basic_publish("", "nowhere", b"back", mandatory=True)
    channel.connection.sleep(0.2)
    equal(back, [], "returned before the commit")
    channel.tx_commit()
    wait_until(lambda: channel.connection.process_data_events() or back)
    equal(back, [(312, b"back")], "returned")


@check("tx: an ack that was rolled back can be given again")
def _(client):
    channel = client.channel(confirms=False)
    name = queue(channel)
    channel.basic_publish("", name, b"")
    wait_until(lambda: ready(channel, name) == 1)
    channel.tx_select()
    tag = get(channel, name, auto_ack=False)[0].delivery_tag
    channel.basic_ack(tag)
    channel.tx_rollback()
    channel.basic_ack(tag)
    channel.tx_commit()
    channel.queue_declare(name, passive=True)


@check("tx: confirm.select on a tx channel is 406")
def _(client):
    channel = client.channel(confirms=False)
    channel.tx_select()
    refused(406, channel.confirm_delivery)
