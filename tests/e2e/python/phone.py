"""A phone on Python's `websockets`: commands as JSON lines on stdin, what happens as JSON lines on stdout.

Usage: phone.py ws://HOST:PORT, with the core token in E2E_TOKEN.
"""

import asyncio
import base64
import json
import os
import sys
from urllib.parse import quote

import websockets
from websockets.asyncio.client import connect

PING_EVERY = 5.0
PONG_WITHIN = 5.0


def report(event, **more):
    print(json.dumps({"event": event, **more}), flush=True)


class Phone:
    def __init__(self, socket):
        self.socket = socket
        self.pong = asyncio.Event()

    async def keep_pinging(self):
        """A phone drops its connection when a pong takes longer than 5 s; this one reports it."""
        while True:
            self.pong.clear()
            await self.socket.send(json.dumps({"type": "ping"}))
            try:
                await asyncio.wait_for(self.pong.wait(), PONG_WITHIN)
            except asyncio.TimeoutError:
                report("fault", text="no pong within 5 s")
            await asyncio.sleep(PING_EVERY)

    async def listen(self):
        async for frame in self.socket:
            if isinstance(frame, bytes):
                report("binary", length=len(frame))
                continue
            message = json.loads(frame)
            if message["type"] == "pong":
                self.pong.set()
            report("message", message=message)

    async def obey(self, lines):
        while line := await lines.readline():
            command = json.loads(line)
            await getattr(self, "do_" + command.pop("do"))(**command)

    async def do_send(self, message):
        await self.socket.send(json.dumps(message))

    async def do_audio(self, base64=None, fragments=None, zeros=None):
        if zeros is not None:
            await self.socket.send(bytes(zeros))
        elif fragments is not None:
            await self.socket.send([decode(part) for part in fragments])
        else:
            await self.socket.send(decode(base64))

    async def do_ping(self):
        answered = await self.socket.ping()
        report("protocol_pong", seconds=await answered)

    async def do_close(self, code, reason=""):
        await self.socket.close(code, reason)


def decode(text):
    return base64.b64decode(text)


async def stdin_lines():
    reader = asyncio.StreamReader(limit=64 * 1024 * 1024)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def main(base):
    url = f"{base}/glasses-ws?token={quote(os.environ['E2E_TOKEN'])}&livekit=true&udpEncryption=true"
    try:
        # No pings of its own, and no compression: what real phones do.
        socket = await connect(url, compression=None, ping_interval=None, max_size=None, proxy=None)
    except websockets.exceptions.InvalidStatus as refusal:
        response = refusal.response
        report("refused", status=response.status_code, body=(response.body or b"").decode())
        return
    report("open", extensions=[str(e) for e in socket.protocol.extensions], subprotocol=socket.subprotocol)
    phone = Phone(socket)
    tasks = [asyncio.ensure_future(work) for work in (phone.keep_pinging(), phone.obey(await stdin_lines()))]
    try:
        await phone.listen()
    except websockets.exceptions.ConnectionClosed:
        pass
    await socket.wait_closed()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    received = socket.protocol.close_rcvd
    report(
        "closed",
        code=socket.close_code,
        reason=socket.close_reason,
        rcvd=received.code if received else None,
        clean=received is not None and socket.protocol.close_sent is not None,
    )


asyncio.run(main(sys.argv[1]))
