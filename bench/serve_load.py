#!/usr/bin/env python3
"""Throughput of `ink serve`: tokens a second of one client and of several at a time. Only the standard library.

    bench/serve_load.py --model gpt2.gguf [--ink build/release/ink] [--clients 1 8] [--tokens 64] [--rounds 2] [--stream]

Starts the server on a port of its own. Every client asks again as soon as it has its answer, each time with a prompt of
its own; the first round of all is not counted. Prints a line for each number of clients, with the longest time that a
client waited for its first token (with --stream) or its answer.
"""
import argparse
import http.client
import json
import subprocess
import sys
import threading
import time


def complete(port, prompt, tokens, seed, stream):
    """The number of tokens, and the seconds until the first of them came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    body = {"prompt": prompt, "max_tokens": tokens, "seed": seed, "ignore_eos": True}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
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
    return json.loads(last.removeprefix(b"data: "))["usage"]["completion_tokens"], first


def measure(port, clients, tokens, rounds, stream):
    results, errors = [], []

    def client(number, round_count):
        try:
            for i in range(round_count):
                results.append(complete(port, f"{number} {i}: The history of", tokens, 100 * number + i, stream))
        except Exception as error:  # in a thread: told below
            errors.append(error)

    def run(round_count):
        threads = [threading.Thread(target=client, args=(n, round_count)) for n in range(clients)]
        begin = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return time.perf_counter() - begin

    run(1)
    results.clear()
    seconds = run(rounds)
    return sum(count for count, _ in results) / seconds, max(first for _, first in results)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--ink", default="build/release/ink")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--stream", action="store_true", help="token by token, as a chat page asks")
    options = parser.parse_args()
    server = subprocess.Popen([options.ink, "serve", "--model", options.model, "--port", "0"], stdout=subprocess.PIPE,
                              text=True)
    try:
        line = server.stdout.readline()
        if "http://" not in line:
            sys.exit("the server did not start")
        port = int(line.rsplit(":", 1)[1])
        base = None
        for clients in options.clients:
            rate, first = measure(port, clients, options.tokens, options.rounds, options.stream)
            base = base or rate
            print(f"{clients:3} clients: {rate:7.1f} tokens/s ({rate / base:.2f}x), {'first token' if options.stream else 'answer'} "
                  f"after at most {1000 * first:.0f} ms", flush=True)
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
