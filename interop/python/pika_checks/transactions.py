"""tx: what waits for the commit."""

from checks import equal
from pika_checks.client import check, get, queue, ready, refused


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
