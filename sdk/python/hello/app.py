"""Greets who is named in the payload. The twin of the handlers in Rust and JavaScript.

This file is run once while the component is built, and each message sees what that left behind: import
everything at the top, and read nothing there that can change, such as the time.
"""

from typing import Iterator

import wharf
from wit_world import exports
from wit_world.imports.types import Message, Outgoing


class Handler(exports.Handler):
    def handle(self, message: Message) -> list[Outgoing]:
        return wharf.run(greet, message)


def greet(message: Message) -> Iterator[Outgoing]:
    if message.tombstone:
        yield wharf.outgoing(
            "greetings",
            message.payload,
            key=message.key,
            headers=message.headers,
            tombstone=True,
            content_type=message.content_type,
            correlation_id=message.correlation_id,
            reply_to=message.reply_to,
            priority=message.priority,
        )
        return
    if not message.payload:
        return

    hello = wharf.from_json(message)
    if not isinstance(hello, dict):
        wharf.reject("the payload is not a JSON object", "invalid-json")
    if needs := hello.get("needs"):
        wharf.unavailable(f"{needs} is down", needs)
    if message.attempt < hello.get("from_attempt", 0):
        wharf.retry("not ready yet", "not-ready", after_ms=250)
    name = hello.get("name")
    if not name:
        wharf.reject("nobody to greet", "no-name")

    greeting = f"Hello, {name}!"
    yield wharf.to_json(
        "greetings",
        {"greeting": greeting, "at": message.timestamp_ms},
        key=message.key,
        correlation_id=message.correlation_id,
        headers=[header for header in message.headers if header.name == "tag"],
    )
    if message.reply_to is not None:
        correlation_id = message.correlation_id or message.id
        yield wharf.outgoing("reply", greeting.encode(), correlation_id=correlation_id)
