#!/usr/bin/env python3
"""Throughput of `ink serve`: tokens a second of one client and of several at a time. Only the standard library.

    bench/serve_load.py --model gpt2.gguf [--ink build/release/ink] [--clients 1 8] [--tokens 64] [--rounds 3]
                        [--peer 'llama-server -m {model} --port {port} -np 8']

Every client asks again as soon as it has its answer, each time with a prompt of its own, for whole answers and for
streams. Servers take turns, round by round, since machines drift; what is printed are medians of the rounds, a ratio
being taken within its round. A peer is any server of OpenAI's completions. Prints a Markdown table at the end.
"""
import argparse
import http.client
import json
import shlex
import socket
import statistics
import subprocess
import sys
import threading
import time


def complete(port, prompt, tokens, seed, stream):
    """The number of tokens, and the seconds until the first of them came (of a whole answer: all)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    body = {"prompt": prompt, "max_tokens": tokens, "seed": seed, "ignore_eos": True}
    if stream:
        body.update({"stream": True, "stream_options": {"include_usage": True}})
    begin, first, last = time.perf_counter(), None, None
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    for line in response:
        if line.startswith((b"data: {", b"{")):
            first = first or time.perf_counter() - begin
            last = line
    connection.close()
    if response.status != 200:
        raise RuntimeError(last)
    answer = json.loads(last[len(b"data: "):] if stream else last)
    return answer["usage"]["completion_tokens"], first


def measure(port, clients, tokens, requests, stream):
    """Tokens a second, and the longest time until a first token, of clients that ask so many times each."""
    results, errors = [], []

    def client(number):
        try:
            for i in range(requests):
                prompt = "%d %d: The history of" % (number, i)
                results.append(complete(port, prompt, tokens, 100 * number + i, stream))
        except Exception as error:  # in a thread: told below
            errors.append(error)

    threads = [threading.Thread(target=client, args=(n,)) for n in range(clients)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    seconds = time.perf_counter() - begin
    return sum(count for count, _ in results) / seconds, max(first for _, first in results)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A program that serves the model, until it is stopped."""

    def __init__(self, name, command, port):
        self.name, self.port = name, port
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def wait_until_ready(self):
        for _ in range(600):
            if self.process.poll() is not None:
                break
            try:
                complete(self.port, "a", 1, 1, False)
                return
            except (OSError, RuntimeError, ValueError, TypeError, http.client.HTTPException):
                time.sleep(0.1)
        sys.exit("serve_load: %s does not answer" % self.name)

    def stop(self):
        self.process.terminate()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--ink", default="build/release/ink")
    parser.add_argument("--peer", help="the command of another server; {model} and {port} are put in")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8], help="the first is what ratios are to")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--requests", type=int, default=2, help="of each client, one after the other")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    port = free_port()
    servers = [Server("Inkling", [options.ink, "serve", "--model", options.model, "--port", str(port)], port)]
    try:
        if options.peer:
            port = free_port()
            command = [word.format(model=options.model, port=port) for word in shlex.split(options.peer)]
            servers.append(Server(command[0].rsplit("/", 1)[-1], command, port))
        for server in servers:
            server.wait_until_ready()
            measure(server.port, options.clients[-1], options.tokens, 1, False)  # not counted: what is only done once
        rates, ratios, firsts = {}, {}, {}
        for _ in range(options.rounds):
            for stream in (False, True):
                for server in servers:
                    base = None
                    for clients in options.clients:
                        key = (server.name, stream, clients)
                        rate, first = measure(server.port, clients, options.tokens, options.requests, stream)
                        base = base or rate
                        rates.setdefault(key, []).append(rate)
                        ratios.setdefault(key, []).append(rate / base)
                        firsts.setdefault(key, []).append(first)
    finally:
        for server in servers:
            server.stop()

    print("| server | answers | clients | tokens/s | to %d client%s | first token, at most |"
          % (options.clients[0], "" if options.clients[0] == 1 else "s"))
    print("|---|---|---:|---:|---:|---:|")
    for (name, stream, clients), values in rates.items():
        key = (name, stream, clients)
        print("| %s | %s | %d | %.1f | %.2fx (%.2f–%.2f) | %s |" % (
            name, "streamed" if stream else "whole", clients, statistics.median(values), statistics.median(ratios[key]),
            min(ratios[key]), max(ratios[key]), "%.0f ms" % (1000 * max(firsts[key])) if stream else ""))


if __name__ == "__main__":
    main()
