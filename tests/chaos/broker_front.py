"""A front for the Pub/Sub emulator that notices when a client dies, as a broker is expected to.

The emulator goes on handing messages to a streaming pull whose client was killed, cancelled it or closed its connection,
for as long as it runs: every ack deadline the dead streams take their share again, and after some kills next to nothing
reaches the living. Only a half-closed stream is forgotten. So the front half-closes, on the emulator's side, every stream
that has ended on the client's. What the dead client held stays leased until its deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import grpc
import grpc.aio

_ANY_SIZE = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))


@asynccontextmanager
async def broker_front(emulator_host: str) -> AsyncIterator[str]:
    """Listen on a port of its own, pass every call on to the emulator, and yield "127.0.0.1:PORT"."""
    async with grpc.aio.insecure_channel(emulator_host, options=_ANY_SIZE) as channel:
        front = _Front(channel)
        server = grpc.aio.server(handlers=(front,), options=_ANY_SIZE)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            await server.stop(None)
            await front.close()


class _Front(grpc.GenericRpcHandler):
    """Passes bytes on, whatever the method."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._tasks: set[asyncio.Task[None]] = set()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        method = handler_call_details.method
        if method.endswith("/StreamingPull"):
            return grpc.stream_stream_rpc_method_handler(partial(self._stream, method))
        return grpc.unary_unary_rpc_method_handler(partial(self._call, method))

    async def close(self) -> None:
        """Wait until the emulator has ended every stream."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=5)
            for task in late:
                task.cancel()

    async def _call(self, method: str, request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        try:
            answer: bytes = await self._channel.unary_unary(method)(request)
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "")
        return answer

    async def _stream(
        self, method: str, requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        call = self._channel.stream_stream(method)()
        responses: asyncio.Queue[bytes | None] = asyncio.Queue()
        # Tasks of their own: cancelling one that reads from or writes to a call would cancel the call.
        self._spawn(self._read(call, responses))
        forward = asyncio.create_task(self._forward(requests, call))
        try:
            while (response := await responses.get()) is not None:
                await context.write(response)
        finally:
            forward.cancel()
            self._spawn(_half_close(call))

    async def _read(self, call: Any, responses: asyncio.Queue[bytes | None]) -> None:
        with contextlib.suppress(grpc.aio.AioRpcError):
            async for response in call:
                responses.put_nowait(response)
        responses.put_nowait(None)

    async def _forward(self, requests: AsyncIterator[bytes], call: Any) -> None:
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            async for request in requests:
                await asyncio.shield(call.write(request))
            await asyncio.shield(call.done_writing())

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _half_close(call: Any) -> None:
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        await call.done_writing()
