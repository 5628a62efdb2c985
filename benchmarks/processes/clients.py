"""Clients without a socket: they call an app as a server does, and count its answers.

Each speaks only when it has been answered. An app that reads ahead, in a task of its own, has to wait for that, as it
has to on a server. What they cost is in every figure, also in the raw app's, so they do as little as they can.
"""

from __future__ import annotations

from asyncio import Future, get_running_loop

from benchmarks.scenarios import Message


class SocketClient:
    """Opens a WebSocket, sends so many messages, and leaves.

    Attributes:
        answers: How many answers there were: to the handshake, and to each message.
        log: What came back, if it is to be kept.
    """

    __slots__ = ("_count", "_given", "_key", "_sent", "_waiter", "answers", "log")

    def __init__(self, sent: str | bytes, count: int, log: list[Message] | None = None) -> None:
        self._sent = sent
        self._key = "text" if isinstance(sent, str) else "bytes"
        self._count = count
        self._given = 0
        self._waiter: Future[None] | None = None
        self.answers = 0
        self.log = log

    async def receive(self) -> Message:
        given = self._given
        if given > self.answers:
            self._waiter = get_running_loop().create_future()
            await self._waiter
        self._given = given + 1
        if 0 < given <= self._count:
            return {"type": "websocket.receive", self._key: self._sent}
        if given == 0:
            return {"type": "websocket.connect"}
        return {"type": "websocket.disconnect", "code": 1000, "reason": ""}

    async def send(self, message: Message) -> None:
        self.answers += 1
        if self.log is not None:
            self.log.append(message)
        if self._waiter is not None:
            wake(self._waiter)
            self._waiter = None


class HTTPClient:
    """Sends a request in pieces, and leaves when it has the whole answer.

    Attributes:
        complete: Whether the answer came to its end.
        log: The messages of the answer, if they are to be kept.
    """

    __slots__ = ("_given", "_pieces", "_waiter", "complete", "log")

    def __init__(self, pieces: tuple[bytes, ...], log: list[Message] | None = None) -> None:
        self._pieces = pieces
        self._given = 0
        self._waiter: Future[None] | None = None
        self.complete = False
        self.log = log

    async def receive(self) -> Message:
        given = self._given
        if given < len(self._pieces):
            self._given = given + 1
            more = given + 1 < len(self._pieces)
            return {"type": "http.request", "body": self._pieces[given], "more_body": more}
        if not self.complete:
            self._waiter = get_running_loop().create_future()
            await self._waiter
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self.log is not None:
            self.log.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self.complete = True
            if self._waiter is not None:
                wake(self._waiter)


def wake(waiter: Future[None]) -> None:
    """Let a receive go on that waits; it may have been cancelled."""
    if not waiter.done():
        waiter.set_result(None)


class IdleClient:
    """Opens a WebSocket and says nothing, until it is told to; it may be told when the last message is answered."""

    __slots__ = ("_accepted", "_events", "_unanswered", "_waiter", "log")

    def __init__(self, log: list[Message] | None = None) -> None:
        self._events: list[Message] = [{"type": "websocket.connect"}]
        self._accepted = False
        self._unanswered = 0
        self._waiter: Future[None] | None = None
        self.log = log

    async def receive(self) -> Message:
        if not self._events:
            self._waiter = get_running_loop().create_future()
            await self._waiter
            self._waiter = None
        return self._events.pop()

    async def send(self, message: Message) -> None:
        if self.log is not None:
            self.log.append(message)
        if message["type"] == "websocket.send":
            self._unanswered -= 1
        elif message["type"] == "websocket.accept":
            self._accepted = True

    def say(self, sent: str | bytes) -> None:
        """Send a message."""
        self._unanswered += 1
        self._come({"type": "websocket.receive", "text" if isinstance(sent, str) else "bytes": sent})

    def leave(self) -> None:
        """Close the connection."""
        self._come({"type": "websocket.disconnect", "code": 1000, "reason": ""})

    def is_answered(self) -> bool:
        return not self._unanswered

    def is_waiting(self) -> bool:
        """Whether the handshake is over, and the app waits for a message."""
        return self._accepted and self._waiter is not None

    def _come(self, event: Message) -> None:
        self._events.append(event)
        if self._waiter is not None:
            wake(self._waiter)
