"""A TCP proxy that can go silent: connections stay open and nothing passes, as on a network that is cut."""

from __future__ import annotations

import asyncio
import contextlib
import threading


class Proxy:
    """Forwards a port of its own to (host, port). Runs on a thread of its own."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._loop = asyncio.new_event_loop()
        # Set: that direction is open.
        self._to_server, self._to_client = asyncio.Event(), asyncio.Event()
        self._to_server.set()
        self._to_client.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop
        ).result()
        self.port: int = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._to_server.wait()
            onward = await asyncio.open_connection(*self._target)
            await asyncio.gather(
                self._pump(reader, onward[1], self._to_server), self._pump(onward[0], writer, self._to_client)
            )
        except (OSError, asyncio.CancelledError):
            pass  # either side is gone: the other learns of it by the close
        finally:
            self._tasks.discard(task)
            writer.close()

    @staticmethod
    async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_open: asyncio.Event) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await is_open.wait()
                writer.write(data)
                await writer.drain()
        await is_open.wait()
        writer.close()

    def cut(self, *, to_server: bool = True, to_client: bool = True) -> None:
        for event, is_cut in ((self._to_server, to_server), (self._to_client, to_client)):
            if is_cut:
                self._loop.call_soon_threadsafe(event.clear)

    def heal(self) -> None:
        for event in (self._to_server, self._to_client):
            self._loop.call_soon_threadsafe(event.set)

    def close(self) -> None:
        async def end() -> None:
            self._server.close()
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()
