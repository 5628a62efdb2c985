"""An answer in pieces: one function steps its generator, and ends it when the client leaves.

All of that happens in the task that answers the request, and in its context: a generator may set a context variable,
or open a timeout or a group of tasks around its ``yield``, as if it were the handler.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from types import AsyncGeneratorType
from typing import TYPE_CHECKING, Any, TypeVar

from micropie.concurrency import LeftBehind, Outcome, Pool, Watch, go_on, put_aside, reveal, uninterrupted
from micropie.response.responses import Measured, encode_chunk

if TYPE_CHECKING:
    from micropie.request.request import Request

T = TypeVar("T")

logger: logging.Logger = logging.getLogger("micropie")

#: How long an answer waits for its first piece before it begins all the same, in seconds.  A look into a database
#: takes less, so that what is not found is still a 404; nobody who opens a stream of news notices so much.
FIRST_CHANCE = 0.25

#: After how many pieces everybody else has a turn.  Neither a generator nor send() need ever wait for something, so
#: that a stream could hold up the whole server, and never learn that its client has left.
_TURN = 32

_END = object()
_NOTHING = object()


class Stream:
    """The pieces of a streamed answer.

    Args:
        source: What yields them: an async or a sync iterator.  A sync one runs in the thread pool, so it may block.
        request: The request that they answer.
    """

    __slots__ = ("_error", "_first", "_request", "_source", "_step", "_waits_for", "watch")

    def __init__(self, source: Any, request: Request) -> None:
        if type(source) is not AsyncGeneratorType:
            source = (
                source.__aiter__()
                if isinstance(source, AsyncIterable)
                else _Threaded(source, request.x_core.pool)
            )
        self._source: Any = source
        self._request = request
        # The first piece, if it has come, or the error in its place; the step to it and what that waits for, if not.
        self._first: Any = _NOTHING
        self._error: BaseException | None = None
        self._step: Any = None
        self._waits_for: Any = None
        #: Who looks whether the client leaves; None as long as nothing has waited, so that nobody need look.
        self.watch: Watch | None = None

    # --- the first piece ---------------------------------------------------------------------------------

    def begin(self) -> bool:
        """Run the generator up to its first piece or its end, or until it waits for something.

        Returns:
            Whether it waits.

        Raises:
            TypeError: If it yields neither text nor bytes.
        """
        source = self._source
        self._step = source.__anext__() if type(source) is AsyncGeneratorType else _next(source)
        self._advance(self._step.send, None)
        return self._step is not None

    async def wait_for_first(self) -> None:
        """Give a generator that waits its chance: until its first piece, the client's end, or FIRST_CHANCE.

        So what goes wrong at first is still an answer of its own, and a stream that has nothing to say yet begins.
        """
        loop = asyncio.get_running_loop()
        watch = self._watched()
        time_is_up = loop.create_future()
        timer = loop.call_later(FIRST_CHANCE, time_is_up.set_result, None)
        try:
            while self._step is not None and not watch.over and not time_is_up.done():
                waits_for = self._waits_for
                try:
                    await _any_of(waits_for, time_is_up, watch.event)
                except asyncio.CancelledError as error:
                    watch.interrupted = True
                    # As a Task does it: what is waited for is cancelled, and that tells the generator.
                    if waits_for is None or not waits_for.cancel():
                        self._advance(self._step.throw, error)
                else:
                    if waits_for is None or waits_for.done():
                        self._advance(self._step.send, None)
        finally:
            timer.cancel()

    async def beside(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in this task while a generator goes on that is silent: it may hold a lock that both want."""
        try:
            waits_for = put_aside(coroutine.send(None))
            while True:
                try:
                    await _any_of(waits_for, *(() if self._step is None else (self._waits_for,)))
                except asyncio.CancelledError as error:
                    if waits_for is None or not waits_for.cancel():
                        waits_for = put_aside(coroutine.throw(error))
                else:
                    if self._step is not None and (self._waits_for is None or self._waits_for.done()):
                        self._go_on()
                    if waits_for is None or waits_for.done():
                        waits_for = put_aside(coroutine.send(None))
        except StopIteration as end:
            result: T = end.value
            return result

    def _go_on(self) -> None:
        try:
            self._advance(self._step.send, None)
        except BaseException as error:
            self._error = error  # for who asks for the first piece

    def _advance(self, how: Callable[[Any], Any], value: Any) -> None:
        try:
            self._waits_for = put_aside(how(value))
        except StopIteration as end:
            self._step, self._first = None, end.value
            if type(end.value) is not bytes:
                encode_chunk(end.value)
        except StopAsyncIteration:
            self._step, self._first = None, _END
        except BaseException:
            self._step = None
            raise

    @property
    def is_silent(self) -> bool:
        """Whether it has begun and its first piece has not come."""
        return self._step is not None

    # --- all pieces --------------------------------------------------------------------------------------

    def send(self) -> Awaitable[None] | None:
        """Send the pieces, to the end or until the client leaves; what is left to await.

        A stream that never waits for anything is sent at once: then nobody need look for its client.
        """
        if self.watch is not None and self.watch.over:
            return None
        sending = self._send_each()
        try:
            waits_for = sending.send(None)
        except StopIteration:
            return None
        return self._send_rest(sending, waits_for)

    async def _send_rest(self, sending: Coroutine[Any, Any, None], waits_for: Any) -> None:
        try:
            await self._watched().run(sending, waits_for)
        except LeftBehind:
            self._source = None
            raise

    async def _send_each(self) -> None:
        source, send, left = self._source, self._request.x_send, _TURN
        piece, self._first = self._first, _NOTHING
        if piece is _NOTHING:
            piece = await anext(self, _END)
        if self.watch is not None and self.watch.interrupted:
            await self._end_if_cancelled()
        while piece is not _END:
            try:
                body = piece if type(piece) is bytes else encode_chunk(piece)
                await send({"type": "http.response.body", "body": body, "more_body": True})
                async for piece in source:
                    if self.watch is not None and self.watch.interrupted:
                        await self._end_if_cancelled()
                    # PERF: most are bytes
                    body = piece if type(piece) is bytes else encode_chunk(piece)
                    await send({"type": "http.response.body", "body": body, "more_body": True})
                    left -= 1
                    if not left:
                        left = _TURN
                        await asyncio.sleep(0)
            except asyncio.CancelledError as error:
                piece = await self._throw(error)
            else:
                break
        if type(send) is Measured and not self._is_cancelled():
            send.check(ended=True)

    async def _throw(self, error: asyncio.CancelledError) -> Any:
        """Cancel a generator where it stands: that may be meant for a timeout around its ``yield``.

        Returns:
            Its next piece, if it goes on, and _END if it ends.
        """
        source = self._source
        if not isinstance(source, AsyncGeneratorType) or source.ag_frame is None:
            raise error
        try:
            piece = await source.athrow(error)
        except StopAsyncIteration:
            return _END
        await self._end_if_cancelled()
        return piece

    async def _end_if_cancelled(self) -> None:
        """Close a generator that goes on after a cancellation which nobody has taken back."""
        self._watched().interrupted = False
        if self._is_cancelled():
            await self.aclose()
            raise asyncio.CancelledError

    def _is_cancelled(self) -> bool:
        return self.watch is not None and self.watch.is_cancelled(by_anybody=True)

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Any:
        if self._step is not None:
            step, self._step = self._step, None
            return await go_on(step, self._waits_for)
        self._raise_error()
        piece, self._first = self._first, _NOTHING
        if piece is _NOTHING:
            return await anext(self._source)
        if piece is _END:
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        """Run the generator's ``finally``, wherever it stands."""
        step, self._step = self._step, None
        try:
            if step is not None:
                await self._watched().end(step, self._waits_for)
        finally:
            await self._close()
        self._raise_error()

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    async def _close(self) -> None:
        close = getattr(self._source, "aclose", None)
        if close is not None:
            try:
                await close()
            except BaseExceptionGroup as group:
                # A group of tasks around the yield makes one of what closes the generator.
                if group.split(GeneratorExit)[1] is not None:
                    raise

    def _watched(self) -> Watch:
        if self.watch is None:
            self.watch = Watch(_client_left(self._request))
        return self.watch


async def _any_of(*awaited: Any) -> None:
    """Wait for one of these futures; None stands for a turn of the loop."""
    if None in awaited:
        await asyncio.sleep(0)
    else:
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)


async def _next(source: AsyncIterator[Any]) -> Any:
    return await anext(source)


async def _client_left(request: Request) -> None:
    if request.x_form is not None:
        await request.x_form.ended()
    while (await request.x_receive())["type"] != "http.disconnect":
        pass


class _Threaded:
    """A sync iterator as an async one, whose steps run in threads and share one context."""

    def __init__(self, source: Iterator[Any], pool: Pool) -> None:
        self._source = source
        self._pool = pool
        self._context = contextvars.copy_context()
        self._step: asyncio.Task[Outcome[Any]] | None = None

    def __aiter__(self) -> _Threaded:
        return self

    async def __anext__(self) -> Any:
        # A thread cannot be cancelled: the step is kept, so that aclose() can wait for it.
        # One that a cancellation left running is taken up again.
        if self._step is None:
            self._step = asyncio.create_task(self._outcome(next, self._source, _END))
        outcome = await asyncio.shield(self._step)
        self._step = None
        piece = reveal(outcome)
        if piece is _END:
            raise StopAsyncIteration
        return piece

    def _outcome(self, function: Callable[..., Any], *arguments: Any) -> Coroutine[Any, Any, Outcome[Any]]:
        return self._pool.outcome(function, *arguments, context=self._context)

    async def aclose(self) -> None:
        # Here it makes no difference whose task that is, and a thread that is left alone would not be closed.
        outcome: Outcome[Any] = []
        try:
            await uninterrupted(self._close(outcome))
        except asyncio.CancelledError:
            if any(outcome):
                logger.exception("error at the end of a stream", exc_info=outcome[1])
            raise
        if outcome:
            reveal(outcome)

    async def _close(self, outcome: Outcome[Any]) -> None:
        if self._step is not None:
            await asyncio.wait([self._step])
            if self._step.cancelled():
                return  # the loop is at its end, and leaves the thread alone with the generator
        if hasattr(self._source, "close"):
            outcome += await self._outcome(self._source.close)
