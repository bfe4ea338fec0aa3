"""Many scripts that each ask for a token on a connection of their own, at a steady pace, until a file is there.

Usage: load.py SOCKET REQUESTS_PER_SECOND FILE. A script waits 30 s at most. The last line tells how many asked, how
many did not get a token, and how long the slowest one waited.
"""

import errno
import os
import selectors
import socket
import sys
import time

PATIENCE = 30
REQUEST = b"GET /token HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def main():
    path, pace, end = sys.argv[1], float(sys.argv[2]), sys.argv[3]
    stopping = False
    ready = selectors.DefaultSelector()
    waiting = {}
    asked, failures, slowest = 0, {}, 0.0

    def failed(why):
        failures[why] = failures.get(why, 0) + 1

    print("asking", flush=True)
    start = time.monotonic()
    while waiting or not stopping:
        now = time.monotonic()
        stopping = stopping or os.path.exists(end)
        while not stopping and asked < (now - start) * pace:
            asked += 1
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            try:
                # The whole request fits into the socket's buffer, also while nobody has accepted yet.
                client.connect(path)
                client.send(REQUEST)
            except OSError as error:
                failed(errno.errorcode.get(error.errno, str(error)))
                client.close()
                continue
            ready.register(client, selectors.EVENT_READ)
            waiting[client] = (now, b"")
        for key, _ in ready.select(0.5 / pace):
            client = key.fileobj
            since, text = waiting[client]
            try:
                piece = client.recv(65536)
            except OSError as error:
                failed(errno.errorcode.get(error.errno, str(error)))
                piece, text = b"", None
            if piece:
                waiting[client] = (since, text + piece)
                continue
            del waiting[client]
            ready.unregister(client)
            client.close()
            slowest = max(slowest, time.monotonic() - since)
            if text is not None and not text.startswith(b"HTTP/1.1 200 "):
                failed(text.split(b"\r\n")[0].decode("ascii", "replace") or "no answer")
        for client in [client for client, (since, _) in waiting.items() if now - since > PATIENCE]:
            del waiting[client]
            ready.unregister(client)
            client.close()
            failed("too slow")
    print(f"asked={asked} failed={sum(failures.values())} slowest_ms={slowest * 1000:.0f} {failures or ''}", flush=True)


main()
