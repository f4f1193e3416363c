"""The few lines between the contract and a handler written as a function: copy it along.

What a handler raises of its own accord is a retry, with the traceback in the reason and the instance
alive. Without this it would be a trap.
"""

import json
import traceback
from typing import Any, Callable, Iterable, NoReturn, Optional

from componentize_py_types import Err
from wit_world.imports.types import (
    Failure_Reject,
    Failure_Retry,
    Failure_Unavailable,
    FailureInfo,
    Message,
    Outgoing,
)


def reject(reason: str, code: Optional[str] = None) -> NoReturn:
    """Never try this message again."""
    raise Err(Failure_Reject(FailureInfo(reason, code, None)))


def retry(reason: str, code: Optional[str] = None, after_ms: Optional[int] = None) -> NoReturn:
    """Try again later."""
    raise Err(Failure_Retry(FailureInfo(reason, code, after_ms)))


def unavailable(reason: str, code: Optional[str] = None, after_ms: Optional[int] = None) -> NoReturn:
    """A dependency is down. Not charged as an attempt."""
    raise Err(Failure_Unavailable(FailureInfo(reason, code, after_ms)))


def outgoing(destination: str, payload: bytes, **rest: Any) -> Outgoing:
    """What to publish: bytes for a destination, and any other field of an outgoing message."""
    fields: dict[str, Any] = dict.fromkeys(Outgoing.__dataclass_fields__)
    fields |= {"headers": [], "tombstone": False, "attributes": []} | rest
    return Outgoing(**fields | {"destination": destination, "payload": payload})


def to_json(destination: str, body: Any, **rest: Any) -> Outgoing:
    """The same with a JSON document."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return outgoing(destination, text.encode(), **{"content_type": "application/json"} | rest)


def from_json(message: Message) -> Any:
    """The payload as JSON, or a rejection: what does not parse today will not parse tomorrow."""
    try:
        return json.loads(message.payload.decode())
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are such.
        reject(f"the payload is not JSON: {error}", "invalid-json")


def run(handle: Callable[[Message], Iterable[Outgoing]], message: Message) -> list[Outgoing]:
    """Calls the handler's function for one message."""
    try:
        return list(handle(message))
    except Err:
        raise
    except Exception:
        retry(traceback.format_exc())
