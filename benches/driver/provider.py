"""A provider where everything is still being rendered. A process of its own; see `service.BusyProvider`."""

import asyncio
import json

LATENCY_S = 0.15


def answer(items):
    data = [
        {"taskType": "videoInference", "taskUUID": item.get("taskUUID"), "status": "processing", "progress": 50}
        for item in items
    ]
    return json.dumps({"data": data}).encode()


async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = 0
            for line in head.split(b"\r\n"):
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            body = answer(json.loads(await reader.readexactly(length)))
            await asyncio.sleep(LATENCY_S)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
            writer.write(body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    print(json.dumps({"api": f"http://{host}:{port}/v1"}), flush=True)
    await server.serve_forever()


asyncio.run(main())
