"""A way to the emulators on which answers get lost: a TCP proxy that cuts the connection when it is told to.

In front of the emulator a gRPC front passes every call on. When the answer to a chosen call is there - the commit or the
publish has happened - the TCP connection it came by is cut instead of the answer being passed on, and with it whatever
else was under way on it: the client sees a broken connection, as if the network had failed at that moment.
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
_STREAMED = ("/BatchGetDocuments", "/RunQuery")
_CHUNK = 65536


class LossyProxy:
    """Loses the answer to every `every`-th successful call of `method`, until `losses` are lost."""

    def __init__(self, method: str, *, every: int, losses: int) -> None:
        self._method = method
        self._every = every
        self.left = losses
        self._calls = 0
        self._connections: dict[str, asyncio.StreamWriter] = {}
        self.lost = 0

    def connect(self, local: str, client: asyncio.StreamWriter) -> None:
        """Note by which connection a call from this local address has come."""
        self._connections[local] = client

    def disconnect(self, local: str) -> None:
        """Forget a connection."""
        self._connections.pop(local, None)

    def cut(self, method: str, peer: str) -> bool:
        """Lose the answer of this call if it is its turn, together with its connection."""
        if not method.endswith(self._method) or not self.left:
            return False
        self._calls += 1
        connection = self._connections.get(peer)
        if self._calls % self._every or connection is None or connection.is_closing():
            return False
        connection.transport.abort()
        self.left -= 1
        self.lost += 1
        return True


class _Front(grpc.GenericRpcHandler):
    """Passes calls on, and asks the proxy before an answer goes back."""

    def __init__(self, channel: grpc.aio.Channel, proxy: LossyProxy) -> None:
        self._channel = channel
        self._proxy = proxy

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        method = handler_call_details.method
        if method.endswith(_STREAMED):
            return grpc.unary_stream_rpc_method_handler(partial(self._stream, method))
        if method.endswith("/StreamingPull"):
            return grpc.stream_stream_rpc_method_handler(partial(self._both_ways, method))
        return grpc.unary_unary_rpc_method_handler(partial(self._call, method))

    async def _call(self, method: str, request: bytes, context: Any) -> bytes:
        try:
            answer: bytes = await self._channel.unary_unary(method)(
                request, metadata=_metadata(context), timeout=context.time_remaining()
            )
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "")
        if self._proxy.cut(method, context.peer().removeprefix("ipv4:")):
            await context.abort(grpc.StatusCode.UNAVAILABLE, "never arrives: the connection is gone")
        return answer

    async def _stream(self, method: str, request: bytes, context: Any) -> AsyncIterator[bytes]:
        call = self._channel.unary_stream(method)(
            request, metadata=_metadata(context), timeout=context.time_remaining()
        )
        try:
            async for answer in call:
                yield answer
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "")

    async def _both_ways(
        self, method: str, requests: AsyncIterator[bytes], context: Any
    ) -> AsyncIterator[bytes]:
        call = self._channel.stream_stream(method)(requests)
        try:
            async for answer in call:
                yield answer
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "")


def _metadata(context: Any) -> tuple[tuple[str, str], ...]:
    """Return what the client sent along, without what gRPC writes itself."""
    return tuple(
        (key, value)
        for key, value in context.invocation_metadata()
        if key not in ("user-agent", "grpc-accept-encoding")
    )


@asynccontextmanager
async def lossy_proxy(emulator_host: str, proxy: LossyProxy) -> AsyncIterator[str]:
    """Listen on a port of its own, pass everything on to the emulator, and yield "127.0.0.1:PORT"."""
    async with grpc.aio.insecure_channel(emulator_host, options=_ANY_SIZE) as channel:
        front = grpc.aio.server(handlers=(_Front(channel, proxy),), options=_ANY_SIZE)
        front_port = front.add_insecure_port("127.0.0.1:0")
        await front.start()
        listener = await asyncio.start_server(partial(_serve, proxy, front_port), "127.0.0.1", 0)
        try:
            yield f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        finally:
            listener.close()
            await front.stop(None)


async def _serve(
    proxy: LossyProxy, front_port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    front_reader, front_writer = await asyncio.open_connection("127.0.0.1", front_port)
    host, port = front_writer.get_extra_info("sockname")
    local = f"{host}:{port}"
    proxy.connect(local, writer)
    try:
        await asyncio.gather(_copy(reader, front_writer), _copy(front_reader, writer))
    finally:
        proxy.disconnect(local)


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Pass bytes on until one side is gone, which ends the other."""
    with contextlib.suppress(ConnectionError):
        while chunk := await source.read(_CHUNK):
            target.write(chunk)
            await target.drain()
    target.transport.abort()
