"""Drives a broker with pika's blocking connection: the widest of the suites, every method that pika has."""

# Importing a module lists its checks.
from pika_checks import (
    connection,
    consumers,
    delayed,
    exchanges,
    publishing,
    queues,
    transactions,
)  # noqa: F401
from pika_checks.client import Client, check

if __name__ == "__main__":
    check.main(Client)
