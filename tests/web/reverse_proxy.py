"""Reverse proxy like nginx or Traefik, which serves a server under a path and strips that path."""

from __future__ import annotations

import asyncio
import threading


class Proxy:
    """Proxy from `port` of 127.0.0.1 to port `upstream` under `prefix`; other paths are 404.

    headers: set on every request, such as Host.
    """

    def __init__(self, prefix: str, headers: dict[str, str] | None = None) -> None:
        self.upstream = 0
        self.port = 0
        # One request per connection, so that bodies need no parsing.
        self._prefix, self._headers = prefix, {"Connection": "close", **(headers or {})}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._started = threading.Event()

    def __enter__(self) -> Proxy:
        self._thread.start()
        assert self._started.wait(20), "the proxy did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)

    def _run(self) -> None:
        async def start() -> None:
            server = await asyncio.start_server(self._forward, "127.0.0.1", 0, limit=1 << 20)
            self.port = server.sockets[0].getsockname()[1]
            self._started.set()

        asyncio.set_event_loop(self._loop)
        task = self._loop.create_task(start())
        self._loop.run_forever()
        task.cancel()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, *rest = head.strip().split("\r\n")
            method, path, version = line.split()
            if path != self._prefix and not path.startswith((f"{self._prefix}/", f"{self._prefix}?")):
                writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            path = path.removeprefix(self._prefix)
            path = path if path.startswith("/") else f"/{path}"
            names = {name.lower() for name in self._headers}
            kept = [one for one in rest if one.split(":")[0].lower() not in names]
            lines = [
                f"{method} {path} {version}",
                *kept,
                *(f"{name}: {value}" for name, value in self._headers.items()),
            ]
            upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
            upstream_writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
            pipes = (_pipe(reader, upstream_writer), _pipe(upstream_reader, writer))
            await asyncio.wait(
                [asyncio.ensure_future(pipe) for pipe in pipes], return_when=asyncio.FIRST_COMPLETED
            )
            upstream_writer.close()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
