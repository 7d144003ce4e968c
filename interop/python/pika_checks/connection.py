"""Opening, tuning, closing: the connection and its channels."""

import pika
from pika.exceptions import ConnectionClosedByBroker, ProbableAccessDeniedError, ProbableAuthenticationError

from checks import equal, fresh
from pika_checks.client import check, get, queue, ready, refused, wait_until


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
