"""The list of named checks of a suite, and how a suite is run: a line for each check that fails, a closing
count, and an exit code. Knows no client library."""

import argparse
import asyncio
import inspect
import pathlib
import signal
import sys
import time
import traceback
import uuid

CHECK_LIMIT_S = 30


class Checks:
    """The checks of one suite, in the order in which they were written."""

    def __init__(self, suite):
        self.suite = suite
        self.checks = []

    def __call__(self, name, delayed=False):
        """Names a function a check. `delayed`: it needs x-delayed-message exchanges."""

        def register(function):
            self.checks.append((name, function, delayed))
            return function

        return register

    def main(self, make_client):
        """Runs the suite against the URL of the command line. `make_client` takes the URL; what it makes is
        handed to each check and closed after it."""
        options = arguments(self.suite)
        passed, failed = 0, 0
        for name, function, delayed in self.checks:
            if delayed and options.no_delayed:
                print(f"{self.suite}: {name}: skipped, because the broker has no x-delayed-message exchanges")
                continue
            try:
                run(function, make_client(options.url))
                passed += 1
            except Exception as error:
                failed += 1
                print(f"{self.suite}: {name}: FAILED: {reason(error)}")
                if options.verbose:
                    traceback.print_exc()
        print(f"{self.suite}: {passed} passed, {failed} failed")
        sys.exit(1 if failed else 0)


def arguments(suite):
    parser = argparse.ArgumentParser(description=f"Drives an AMQP broker with {suite}.")
    parser.add_argument("url", help="amqp://USER:PASSWORD@HOST:PORT")
    parser.add_argument(
        "--no-delayed", action="store_true", help="the broker has no x-delayed-message exchanges"
    )
    parser.add_argument("--dead-letters", action="store_true", help="accepted for the other suites' sake")
    parser.add_argument("--verbose", action="store_true", help="print a traceback for each failure")
    return parser.parse_args()


def run(function, client):
    if inspect.iscoroutinefunction(function):
        asyncio.run(run_async(function, client))
        return
    signal.signal(signal.SIGALRM, overdue)
    signal.alarm(CHECK_LIMIT_S)
    try:
        try:
            function(client)
        finally:
            client.close()
    finally:
        signal.alarm(0)


def overdue(*_):
    # Closing what hangs may hang as well.
    signal.alarm(CHECK_LIMIT_S)
    raise TimeoutError(f"not done within {CHECK_LIMIT_S} s")


async def run_async(function, client):
    try:
        await asyncio.wait_for(function(client), CHECK_LIMIT_S)
    finally:
        await client.close()


def reason(error):
    here = pathlib.Path(__file__)
    frames = [
        (pathlib.Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)
    ]
    place = [f"{file.name}:{line}" for file, line in frames if here.parent in file.parents and file != here]
    return f"{' > '.join(place)}: {type(error).__name__}: {error}".replace("\n", " ")


def equal(actual, expected, what="value"):
    if actual != expected:
        raise AssertionError(f"{what} is {shorten(actual)}, expected {shorten(expected)}")


def shorten(value):
    text = repr(value)
    return text if len(text) < 300 else text[:300] + "..."


def fresh(kind):
    """A name that no other check uses."""
    return f"interop.{kind}.{uuid.uuid4().hex[:12]}"


LATE_AT_MOST_S = 0.1


def is_on_time(delay_s, took_s, at_once_s):
    """Never early; late by no more than it may, besides what one without a delay took: that is what the machine is slow by."""
    if took_s < delay_s:
        raise AssertionError(f"took {took_s:.4f} s, expected {delay_s} s")
    return took_s <= delay_s + LATE_AT_MOST_S + at_once_s
