#!/usr/bin/env python3
"""`ink serve` under many clients at once, kind and hostile ones. Only the standard library.

    tests/serve_soak.py --ink build/asan/ink [--clients 200] [--seconds 60] [--memory-mb 1024] [--seed 1]

Trains a tiny model for some steps, serves it, and computes what every request gets from an idle server. Then clients ask
all at once for the seconds given: whole texts, streams, several texts at a time, slow readers, connections cut in the
middle, requests sent by half or byte by byte, and a table of what is no valid request. The model is loaded anew every
other second meanwhile. At the end SIGTERM comes while texts run. Fails unless
- every answer is exactly that of the idle server, and every bad request gets the status of the table,
- all slots, queue and connections are free when all have gone, and the cache's pages too,
- the memory stays below --memory-mb more than at the beginning (Linux),
- texts that run at SIGTERM are finished, the exit status is 0 and nothing is on stderr, as a sanitizer's report.
Nothing is a matter of speed: a busy machine does less in the time, and only what hangs for minutes fails.
"""
import argparse
import collections
import http.client
import json
import os
import pathlib
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

CONTEXT = 96
RUNNING, RECENT, PAGE = 16, 4, 32  # texts at a time, kept ones, tokens in a page of the cache
PATIENCE = 240  # seconds for any answer: only a server that hangs takes them


def prepare_model(ink, folder):
    text = folder / "text.txt"
    text.write_text("".join(f"line {i} the quick brown fox jumps over the lazy dog\n" for i in range(1000)))
    subprocess.run([ink, "train", "--data", text, "--tokenizer", "byte", "--layers", "2", "--heads", "2", "--channels",
                    "16", "--context", str(CONTEXT), "--steps", "20", "--lr", "0.003", "--val-every", "0",
                    "--sample-every", "0", "--out", folder / "run"], check=True, stdout=subprocess.DEVNULL)
    return folder / "run"


def good_requests():
    """Bodies that have one right answer each: greedy, or with a seed."""
    common = "the quick brown fox jumps over the lazy dog. "  # more than a page that prompts share
    prompts = ["line", "", "a\u00e9\u4f60\U0001f600", common, common + "line 7", common + "fox", "x" * 40, "\x00\x01"]
    requests = []
    for i, prompt in enumerate(prompts):
        requests.append({"prompt": prompt, "max_tokens": 24, "temperature": 0})
        requests.append({"prompt": prompt, "max_tokens": 32, "seed": i, "ignore_eos": True})
    requests += [
        {"prompt": "line", "max_tokens": CONTEXT - 4, "seed": 3, "ignore_eos": True, "temperature": 2},
        {"prompt": [108, 105, 110], "max_tokens": 9, "seed": 18446744073709551615, "top_k": 5, "min_p": 0.01},
        {"prompt": ["a", "b", [99]], "n": 2, "max_tokens": 12, "seed": 9},
        {"prompt": common, "n": 4, "max_tokens": 8, "seed": 5, "logprobs": 2, "return_token_ids": True},
        {"prompt": "fox", "echo": True, "logprobs": 0, "max_tokens": 0},
        {"prompt": "fox", "seed": 1, "max_tokens": 40, "stop": ["e", "\n"], "logit_bias": {"101": 2}},
        {"prompt": "dog", "seed": 2, "max_tokens": 20, "repetition_penalty": 1.5, "frequency_penalty": 1, "top_p": 0.5},
    ]
    return requests


def post(body, extra="", length=None):
    size = len(body) if length is None else length
    head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{extra}"
    return f"{head}Content-Length: {size}\r\nConnection: close\r\n\r\n".encode() + body


def hostile_requests():
    """(bytes, the statuses that may answer them). 0: no answer at all, the connection just ends."""
    bodies = [b"", b"{", b"[]", b"null", b"\x00", b"{}x", b"{'a': 1}", b'{"n": 1, "n": 1}', b'{"prompt": "\xff"}',
              b'{"prompt": "\\ud800"}', b'{"prompt": NaN}', b'{"temperature": 1e999}', b'{"temperature": -0.1}',
              b'{"max_tokens": 99999999999999999999}', b'{"max_tokens": 97}', b'{"max_tokens": -1}',
              b'{"max_tokens": 9007199254740993}', b'{"n": 0}', b'{"n": 65}', b'{"n": 2, "best_of": 3}',
              b'{"prompt": [256]}', b'{"prompt": [-1]}', b'{"prompt": [1.5]}', b'{"prompt": []}', b'{"prompt": [[]]}',
              b'{"prompt": {"a": 1}}', b'{"promt": "a"}', b'{"__proto__": {}}', b'{"stream": 1}', b'{"logprobs": 21}',
              b'{"stream_options": {"include_usage": true}}', b'{"suffix": "a"}', b'{"seed": 0.5}', b'{"top_p": 2}',
              b"[" * 100000, b'{"a":' * 50000, b'{"prompt": "' + b"a" * 200000 + b'"}',
              b'{"stop": ["' + b"a" * 100000 + b'"]}', b'{"prompt": [' + b"1," * 100000 + b"1]}",
              b'{"logit_bias": {' + b",".join(b'"%d": 1' % i for i in range(60000)) + b"}}",
              b'{"stop": [' + b'"a",' * 1000 + b'"a"]}', b'{"prompt": [' + b'"a",' * 64 + b'"a"]}']
    table = [(post(body), (400,)) for body in bodies]
    table.append((post(b'{"model": "../../etc/passwd"}'), (404,)))
    get = "GET /metrics HTTP/1.1\r\n"
    json_post = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    raw = [
        ("nonsense\r\n\r\n", (400,)),
        (get + "\r\n", (400,)),
        (get + "Host: evil.example\r\n\r\n", (403,)),
        (get + "Host: localhost\r\nHost: localhost\r\n\r\n", (400,)),
        (get + "Host: localhost\r\nOrigin: null\r\n\r\n", (403,)),
        (get + "Host: localhost\r\nOrigin: http://evil.example\r\n\r\n", (403,)),
        (get + "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n\r\n", (403,)),
        (get + "Host: localhost\r\nContent-Length: 5\r\n\r\nabcde", (400,)),
        (get + "Host: localhost\r\nX: " + "a" * 100000 + "\r\n\r\n", (400, 431)),
        (get + "Host: localhost\r\n" + "X: y\r\n" * 20000 + "\r\n", (431,)),
        (get + "Host: localhost\r\nRange: bytes=" + "0-0," * 2000 + "0-0\r\nConnection: close\r\n\r\n", (200, 400, 416)),
        ("GET /" + "a" * 100000 + " HTTP/1.1\r\nHost: localhost\r\n\r\n", (414,)),
        ("GET /" + "a" * 7000 + " HTTP/1.1\r\nHost: localhost\r\n\r\n", (404,)),
        ("GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", (404,)),
        ("GET /%2e%2e/%00 HTTP/1.1\r\nHost: localhost\r\n\r\n", (404,)),
        ("GET /v1/completions HTTP/1.1\r\nHost: localhost\r\n\r\n", (405,)),
        ("DELETE /v1/completions HTTP/1.1\r\nHost: localhost\r\n\r\n", (405,)),
        ("OPTIONS /v1/completions HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n", (403,)),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400,)),
        (json_post + "\r\n", (411,)),
        (json_post + "Content-Length: 99999999999999999999\r\n\r\n", (413,)),
        (json_post + "Content-Length: 1048577\r\n\r\n", (413,)),
        (json_post + "Content-Length: -1\r\n\r\n", (400,)),
        (json_post + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", (400,)),
        (json_post + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (400,)),
        (json_post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", (400,)),
        (json_post + "Transfer-Encoding: gzip\r\n\r\n", (400,)),
        (json_post + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", (400,)),
        (json_post + "Transfer-Encoding: chunked\r\n\r\n" + ("800\r\n" + " " * 2048 + "\r\n") * 2000, (413,)),
        (json_post + "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", (415,)),
        ("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}",
         (415,)),
        ("POST /detokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 17\r\n"
         "Connection: close\r\n\r\n{\"tokens\": [256]}", (400,)),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", (400,)),
    ]
    return table + [(text.encode("latin-1"), statuses) for text, statuses in raw]


class Wrong(Exception):
    """What the server should not have done."""


class Busy(Exception):
    """Refused for now, as it should be: the queue or the connections are full."""


def text_of(answer):
    """What must be the same each time: everything but the answer's name and time."""
    return [(c["index"], c["text"], c["logprobs"], c["finish_reason"]) for c in answer["choices"]], answer["usage"]


class Connection:
    """A client's connection that can misbehave."""

    def __init__(self, port, buffer=None):
        self.socket = socket.socket()
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(("127.0.0.1", port))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        """As much as is taken: a refused request's body may not be read."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def read(self, size=65536):
        try:
            return self.socket.recv(size)
        except ConnectionResetError:
            return b""

    def read_all(self):
        return b"".join(iter(self.read, b""))

    def reset(self):
        """Goes without a goodbye."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def status_of(reply):
    return int(reply.split(b" ", 2)[1]) if reply.startswith(b"HTTP/1.1 ") else 0


def ask(port, body):
    """The whole answer, by an ordinary client."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
    finally:
        connection.close()
    if response.status in (429, 503):
        raise Busy
    if response.status != 200:
        raise Wrong(f"{response.status} for {body}: {answer[:300]}")
    return json.loads(answer)


def metric(port, name):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    return int(next(line.split()[1] for line in lines if line.startswith(f"ink_{name} ")))


def dechunk(data):
    body = b""
    while data:
        size, _, rest = data.partition(b"\r\n")
        body, data = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return body


def put_together(reply, body):
    """The answer that a stream's events make."""
    status, (head, _, data) = status_of(reply), reply.partition(b"\r\n\r\n")
    if status in (429, 503):
        raise Busy
    if status != 200:
        raise Wrong(f"{status} for a stream of {body}: {reply[:300]}")
    events = dechunk(data).decode().split("\n\n")
    if events[-2:] != ["data: [DONE]", ""]:
        raise Wrong(f"a stream of {body} ends so: {events[-3:]}")
    choices = {}
    usage = None
    for event in events[:-2]:
        event = json.loads(event.removeprefix("data: "))
        if "error" in event:
            raise Wrong(f"in a stream of {body}: {event}")
        usage = event["usage"] or usage
        for new in event["choices"]:
            old = choices.setdefault(new["index"], {"index": new["index"], "text": "", "logprobs": None})
            old["text"] += new["text"]
            old["finish_reason"] = new["finish_reason"]
            if new["logprobs"]:
                old["logprobs"] = old["logprobs"] or {name: [] for name in new["logprobs"]}
                for name, values in new["logprobs"].items():
                    old["logprobs"][name] += values
    return {"choices": [choices[i] for i in sorted(choices)], "usage": usage}


class Soak:
    def __init__(self, port, options):
        self.port = port
        self.requests = good_requests()
        self.hostile = hostile_requests()
        self.expected = [text_of(ask(port, body)) for body in self.requests]
        self.end = None
        self.seed = options.seed
        self.counts = collections.Counter()
        self.lock = threading.Lock()
        self.wrong = []

    def pick(self, rng):
        i = rng.randrange(len(self.requests))
        return self.requests[i], self.expected[i]

    def compare(self, answer, expected, body):
        got = text_of(answer)
        if got != expected:
            raise Wrong(f"{body} gave {got}, alone it gives {expected}")

    def stream_request(self, rng):
        body, expected = self.pick(rng)
        streamed = body | {"stream": True, "stream_options": {"include_usage": True}}
        return post(json.dumps(streamed).encode()), expected, body

    # What a client does:

    def whole(self, rng):
        body, expected = self.pick(rng)
        self.compare(ask(self.port, body), expected, body)

    def stream(self, rng):
        request, expected, body = self.stream_request(rng)
        with Connection(self.port) as c:
            c.send(request)
            self.compare(put_together(c.read_all(), body), expected, body)

    def slow_reader(self, rng):
        request, expected, body = self.stream_request(rng)
        with Connection(self.port, buffer=2048) as c:
            c.send(request)
            reply = b""
            while piece := c.read(rng.randrange(1, 1000)):
                reply += piece
                time.sleep(rng.random() * 0.02)
            self.compare(put_together(reply, body), expected, body)

    def byte_by_byte(self, rng):
        request, expected, body = self.stream_request(rng)
        with Connection(self.port) as c:
            at = 0
            while at < len(request):
                size = rng.randrange(1, 60)
                c.send(request[at : at + size])
                at += size
                time.sleep(0.001)
            self.compare(put_together(c.read_all(), body), expected, body)

    def one_connection(self, rng):
        """Several requests after one another, the last two sent at once."""
        head = b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 13\r\n"
        with Connection(self.port) as c:
            for _ in range(rng.randrange(3)):
                c.send(head + b"\r\n" + b'{"text": "a"}')
                reply = c.read()
                if status_of(reply) == 503:
                    raise Busy
                if b'"count":1' not in reply and b'"count":1' not in c.read():
                    raise Wrong(f"the text \"a\" gave {reply}")
            c.send(head + b"\r\n" + b'{"text": "b"}' + head + b"Connection: close\r\n\r\n" + b'{"text": "c"}')
            reply = c.read_all()
            if status_of(reply) == 503:
                raise Busy
            if reply.count(b"HTTP/1.1 200") != 2:
                raise Wrong(f"two requests at once gave {reply}")

    def cut(self, rng):
        request = self.stream_request(rng)[0]
        with Connection(self.port) as c:
            c.send(request)
            for _ in range(rng.randrange(4)):
                c.read(200)
            if rng.random() < 0.5:
                c.reset()

    def gone_before_the_first_token(self, rng):
        body = self.pick(rng)[0] | {"max_tokens": 40, "n": 8, "prompt": str(rng.random())}
        with Connection(self.port) as c:
            c.send(post(json.dumps(body).encode()))
            if rng.random() < 0.5:
                c.reset()

    def half(self, rng):
        request = rng.choice((self.stream_request(rng)[0], post(b"{", length=1000)))
        with Connection(self.port) as c:
            c.send(request[: rng.randrange(1, len(request))])
            time.sleep(rng.random() * 0.3)

    def hostile_request(self, rng):
        request, statuses = rng.choice(self.hostile)
        with Connection(self.port) as c:
            c.send(request)
            reply = c.read_all()
        status = status_of(reply)
        if b"too_many_connections" in reply:
            raise Busy
        # An answer may be lost to a reset where much is sent that nobody reads.
        if status not in statuses and not (status == 0 and len(request) > 60000):
            raise Wrong(f"{request[:200]} gave {reply[:300]}")

    def watcher(self, rng):
        path = rng.choice(("/", "/metrics", "/v1/models", "/healthz", "/api/runs", "/main.js"))
        with Connection(self.port) as c:
            c.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            reply = c.read_all()
        if b"too_many_connections" in reply:
            raise Busy
        if status_of(reply) != 200:
            raise Wrong(f"{path} gave {reply[:300]}")

    def count(self, what):
        with self.lock:
            self.counts[what] += 1

    def client(self, number):
        rng = random.Random(self.seed * 1000003 + number)
        behaviours = (self.whole, self.whole, self.stream, self.stream, self.slow_reader, self.byte_by_byte,
                      self.one_connection, self.cut, self.gone_before_the_first_token, self.half, self.hostile_request,
                      self.hostile_request, self.hostile_request, self.watcher)
        while time.monotonic() < self.end and not self.wrong:
            behaviour = rng.choice(behaviours)
            try:
                behaviour(rng)
                self.count(behaviour.__name__)
            except (Busy, ConnectionResetError, BrokenPipeError) as busy:
                # One that is refused at the door may find it shut before it has said what it wants.
                self.count("refused for now" if isinstance(busy, Busy) else "connection lost")
                time.sleep(rng.random() * 0.2)
            except Exception as error:  # in a thread: told at the end
                self.wrong.append(f"{behaviour.__name__}: {type(error).__name__}: {error}")

    def run(self, server, clients, seconds):
        self.end = time.monotonic() + seconds
        threads = [threading.Thread(target=self.client, args=(i,)) for i in range(clients)]
        for thread in threads:
            thread.start()
        memory = [resident_mb(server.pid)]
        while any(thread.is_alive() for thread in threads):
            time.sleep(1)
            memory.append(resident_mb(server.pid))
            if len(memory) % 2 == 0:
                server.send_signal(signal.SIGHUP)
            if server.poll() is not None:
                self.wrong.append(f"the server has ended with status {server.returncode}")
                break
        for thread in threads:
            thread.join()
        return memory


def resident_mb(pid):
    try:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmRSS:"))) // 1024
    except (OSError, StopIteration):
        return 0


def wait_until_idle(port):
    """Nobody is there any more: everything must become free."""
    deadline = time.monotonic() + PATIENCE
    while True:
        busy = {name: metric(port, name) for name in ("sequences_running", "sequences_waiting", "http_connections")}
        used = metric(port, "cache_pages") - metric(port, "cache_free_pages")
        kept = metric(port, "sequences_recent") * -(-CONTEXT // PAGE)
        # The connection that asks is one.
        if busy["sequences_running"] + busy["sequences_waiting"] + busy["http_connections"] == 1 and used <= kept:
            return
        if time.monotonic() > deadline:
            raise Wrong(f"all clients have gone, but the server is busy: {busy}, {used} pages used, {kept} for kept texts")
        time.sleep(0.2)


def drain(soak, server):
    """SIGTERM while streams run: they come to their ends, and so does the server."""
    body = {"prompt": "line", "max_tokens": CONTEXT - 4, "n": 32, "seed": 1, "ignore_eos": True}
    expected = text_of(ask(soak.port, body))
    streamed = body | {"stream": True, "stream_options": {"include_usage": True}}
    with Connection(soak.port) as running:
        running.send(post(json.dumps(streamed).encode()))
        reply = running.read()
        server.send_signal(signal.SIGTERM)
        soak.compare(put_together(reply + running.read_all(), body), expected, body)
    status = server.wait(timeout=PATIENCE)
    if status != 0:
        raise Wrong(f"the server ended with status {status}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ink", default="build/asan/ink")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    # Every connection may hold a body of 1 MiB twice, and answers 128 MiB in all; malloc keeps some of what was freed.
    parser.add_argument("--memory-mb", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    ink = os.path.abspath(options.ink)
    with tempfile.TemporaryDirectory() as name, open(pathlib.Path(name) / "stderr", "w+b") as errors:
        run = prepare_model(ink, pathlib.Path(name))
        # Freed memory that a sanitizer holds back, looking for late uses, would hide what the server itself takes.
        environment = os.environ | {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=16"}
        environment.pop("INK_API_KEY", None)
        server = subprocess.Popen([ink, "serve", "--model", run, "--run", run, "--port", "0", "--parallel", str(RUNNING),
                                   "--recent", str(RECENT)], stdout=subprocess.PIPE, stderr=errors, env=environment)
        failures = []
        try:
            port = int(server.stdout.readline().rsplit(b":", 1)[1])
            # Its other lines are of no interest, but a full pipe would stop it.
            threading.Thread(target=server.stdout.read, daemon=True).start()
            soak = Soak(port, options)
            memory = soak.run(server, options.clients, options.seconds)
            failures += soak.wrong
            if not failures:
                wait_until_idle(port)
                soak.compare(ask(port, soak.requests[0]), soak.expected[0], soak.requests[0])
                reloads = metric(port, "reloads_total")
                drain(soak, server)
                grown = max(memory) - memory[0]
                print(", ".join(f"{name} {count}" for name, count in sorted(soak.counts.items())))
                print(f"{sum(soak.counts.values())} requests of {options.clients} clients, {reloads} reloads, memory "
                      f"{memory[0]} MB at first, {memory[len(memory) // 2]} MB half-way, at most {max(memory)} MB")
                if grown > options.memory_mb:
                    failures.append(f"the memory grew by {grown} MB")
        except Exception as error:
            failures.append(f"{type(error).__name__}: {error}")
        finally:
            if server.poll() is None:
                server.kill()
            server.wait()
        errors.seek(0)
        if said := errors.read():
            failures.append("on stderr: " + said.decode(errors="replace")[:20000])
    if failures:
        sys.exit("\n".join(failures[:5]))


if __name__ == "__main__":
    main()
