"""A forwarding HTTP proxy that counts requests and, at a chosen one, kills the client.

The `Host` header is passed on as the client sent it, so that signatures stay valid. Bodies are streamed.
"""

import os
import signal
import socket
import socketserver
import sys
import threading
import time
import urllib.parse

PIECE = 256 << 10
# When the client is killed, seen from the request chosen.
BEFORE, DURING, AFTER = "before", "during", "after"
VARIANTS = (BEFORE, DURING, AFTER)


class Gone(Exception):
    """The other side closed the connection."""


class Brake:
    """Passes connections on to `endpoint`, from a port of `address`, no more than so many bytes a second in each direction over
    all of them: what a client moves takes its time, however fast client and server are."""

    def __init__(self, endpoint, address, bytes_per_second):
        self.upstream, self.rate = urllib.parse.urlsplit(endpoint), bytes_per_second
        self.lock, self.free = threading.Lock(), {}
        brake = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                brake.serve(self.request)

        class Listener(socketserver.ThreadingTCPServer):
            daemon_threads, request_queue_size, block_on_close, allow_reuse_address = True, 128, False, True

        self.listener = Listener((address, 0), Handler)
        self.endpoint = f"http://{address}:{self.listener.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, kind, value, trace):
        self.listener.shutdown()
        self.listener.server_close()

    def wait(self, direction, count):
        """Until the line is free for so many bytes."""
        with self.lock:
            now = time.monotonic()
            start = max(now, self.free.get(direction, now))
            self.free[direction] = start + count / self.rate
        time.sleep(start - now)

    def serve(self, client):
        try:
            server = socket.create_connection((self.upstream.hostname, self.upstream.port), timeout=600)
        except OSError:
            return

        def forward(direction, source, sink):
            try:
                while data := source.recv(64 << 10):
                    self.wait(direction, len(data))
                    sink.sendall(data)
                sink.shutdown(socket.SHUT_WR)
            except OSError:
                for end in (client, server):
                    try:
                        end.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        pass
        with server:
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=forward, args=("down", server, client), daemon=True)
            back.start()
            forward("up", client, server)
            back.join()


class CountingProxy:
    """Forwards to `endpoint`; `arm` it with a request's number, a variant and the client's process."""

    def __init__(self, endpoint):
        self.upstream = urllib.parse.urlsplit(endpoint)
        self.condition = threading.Condition()
        self.busy = 0
        self.reset()
        proxy = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                Exchange(proxy, self.request).serve()

        class Listener(socketserver.ThreadingTCPServer):
            daemon_threads, request_queue_size, block_on_close = True, 128, False

            def handle_error(self, request, client_address):
                proxy.errors.append(repr(sys.exc_info()[1]))

        self.errors = []
        self.listener = Listener(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.listener.server_address[1]}"
        self.thread = threading.Thread(target=self.listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def reset(self):
        """Counts from zero and kills nobody."""
        with self.condition:
            self.count, self.number, self.variant, self.victim, self.struck = 0, None, None, None, None
            self.seen = []

    def arm(self, number, variant):
        """At request `number` (from 1) of those to come, the victim will be killed."""
        self.reset()
        with self.condition:
            self.number, self.variant = number, variant

    def aim(self, process):
        """Names the process to kill; requests wait until it is known."""
        with self.condition:
            self.victim = process
            self.condition.notify_all()

    def arrive(self, method, path):
        """Counts a request; returns the variant if it is the chosen one."""
        with self.condition:
            while self.number is not None and self.victim is None:
                self.condition.wait()
            self.count += 1
            self.busy += 1
            self.seen.append((method, path))
            chosen = self.number is not None and self.count == self.number
            if chosen:
                self.struck = f"{method} {path}"
            return self.variant if chosen else None

    def depart(self):
        with self.condition:
            self.busy -= 1
            self.condition.notify_all()

    def strike(self):
        """Kills the client and waits until it is gone, so that it hears nothing any more."""
        os.kill(self.victim.pid, signal.SIGKILL)
        os.waitid(os.P_PID, self.victim.pid, os.WEXITED | os.WNOWAIT)

    def settle(self):
        """Waits until no request is under way."""
        with self.condition:
            if not self.condition.wait_for(lambda: self.busy == 0, timeout=60):
                raise TimeoutError("a request is still under way at the server after a minute")

    def close(self):
        self.listener.shutdown()
        self.listener.server_close()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close()


class Exchange:
    """One client connection with the connection to the server that belongs to it."""

    def __init__(self, proxy, client):
        self.proxy, self.client = proxy, client
        self.reader = client.makefile("rb")
        self.server = self.answers = None

    def serve(self):
        try:
            while self.request():
                pass
        except (Gone, OSError):
            pass
        finally:
            for side in (self.answers, self.server, self.reader):
                if side is not None:
                    side.close()

    def head(self, reader):
        """The first line and the raw lines of a message's head."""
        first = reader.readline(65536)
        if not first:
            raise Gone
        lines = [first]
        while True:
            line = reader.readline(65536)
            if not line:
                raise Gone
            lines.append(line)
            if line in (b"\r\n", b"\n"):
                break
        fields = {}
        for line in lines[1:-1]:
            name, _, value = line.partition(b":")
            fields[name.strip().lower()] = value.strip()
        return first, lines, fields

    def pieces(self, reader, fields, until_close=False):
        """The raw bytes of a body as they stand on the wire."""
        if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
            while True:
                line = reader.readline(1024)
                if not line:
                    raise Gone
                yield line
                size = int(line.split(b";")[0], 16)
                left = size + 2
                if size == 0:
                    yield from iter(lambda: reader.readline(65536), b"\r\n")
                    yield b"\r\n"
                    return
                while left:
                    piece = reader.read(min(left, PIECE))
                    if not piece:
                        raise Gone
                    left -= len(piece)
                    yield piece
        elif b"content-length" in fields:
            left = int(fields[b"content-length"])
            while left:
                piece = reader.read1(min(left, PIECE))
                if not piece:
                    raise Gone
                left -= len(piece)
                yield piece
        elif until_close:
            while piece := reader.read1(PIECE):
                yield piece

    def connect(self):
        host, _, port = self.proxy.upstream.netloc.partition(":")
        self.server = socket.create_connection((host, int(port or 80)), timeout=120)
        self.server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.answers = self.server.makefile("rb")

    def request(self):
        """Passes one request on; returns whether the connection stays open."""
        first, lines, fields = self.head(self.reader)
        method, path = first.split(b" ")[:2]
        strike = self.proxy.arrive(method.decode(), path.decode())
        try:
            if strike == BEFORE:
                self.proxy.strike()
                return False
            return self.forward(method, lines, fields, strike)
        finally:
            self.proxy.depart()

    def forward(self, method, lines, fields, strike):
        for attempt in (1, 2):
            if self.server is None:
                self.connect()
                attempt = 2
            try:
                self.server.sendall(b"".join(lines))
                break
            except OSError:
                if attempt == 2:
                    raise
                self.server.close()
                self.server = None
        if fields.get(b"expect", b"").lower() == b"100-continue":
            # The server may ask for the body or refuse at once; either is passed on.
            first, answer, answer_fields = self.head(self.answers)
            self.client.sendall(b"".join(answer))
            if first.split(b" ")[1] != b"100":
                for piece in self.pieces(self.answers, answer_fields, until_close=True):
                    self.client.sendall(piece)
                return False
        if strike == DURING:
            # Half of the body reaches the server; a request without one is killed once its head is sent.
            body = b"".join(self.pieces(self.reader, fields))
            self.server.sendall(body[: len(body) // 2])
            self.proxy.strike()
            if not body:
                self.absorb(method)
            return False
        for piece in self.pieces(self.reader, fields):
            self.server.sendall(piece)
        while True:
            first, answer, answer_fields = self.head(self.answers)
            status = first.split(b" ")[1]
            if status[:1] != b"1":
                break
            if strike is None:
                self.client.sendall(b"".join(answer))
        bodiless = method == b"HEAD" or status in (b"204", b"304")
        if strike == AFTER:
            if not bodiless:
                for _ in self.pieces(self.answers, answer_fields, until_close=True):
                    pass
            self.proxy.strike()
            return False
        self.client.sendall(b"".join(answer))
        framed = bodiless or b"content-length" in answer_fields or b"transfer-encoding" in answer_fields
        if not bodiless:
            for piece in self.pieces(self.answers, answer_fields, until_close=True):
                self.client.sendall(piece)
        closing = b"close" in (fields.get(b"connection", b"").lower(), answer_fields.get(b"connection", b"").lower())
        return framed and not closing

    def absorb(self, method):
        """Reads the answer that nobody waits for, so that the server has done its work when the proxy is idle."""
        first, _, fields = self.head(self.answers)
        if method != b"HEAD" and first.split(b" ")[1] not in (b"204", b"304"):
            for _ in self.pieces(self.answers, fields, until_close=True):
                pass
