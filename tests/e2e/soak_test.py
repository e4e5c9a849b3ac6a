"""`lapidary serve` under what clients and machines do to it: clients that vanish at any byte, kills while it writes, readers that
hardly read, more clients than slots.

    soak_test.py PROGRAM [--full] [--count N] [--seed N] [PART…]

PART: disconnects, kills, slow, crowd. --full: as long as a user would have to trust; --count and --seed cut disconnects and kills into
pieces that fit between other work: so many, drawn by this seed.
Prints what it measured; fails where a promise of docs/api.md is broken.
"""
import argparse
import collections
import concurrent.futures
import json
import os
import random
import signal
import socket
import statistics
import tempfile
import threading
import time

from lapidary_server import BABBLER, SPARK, Server

CHAT = "/v1/chat/completions"
MEGABYTE = 1 << 20


def chat(words, **more):
    return {"messages": [{"role": "user", "content": words}], "temperature": 0, **more}


def request_bytes(server, body):
    data = json.dumps(body).encode()
    return (f"POST {CHAT} HTTP/1.1\r\nHost: localhost:{server.port}\r\nAuthorization: Bearer {server.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n").encode() + data


def dial(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=60)


def resident_bytes(server):
    with open(f"/proc/{server.process.pid}/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def metrics(server, *names):
    """Their sum."""
    lines = server.ask("GET", "/metrics")[2].decode().split("\n")
    return sum(float(line.split()[-1]) for line in lines if line.startswith(tuple(f"lapidary_{name} " for name in names)))


def busy(server):
    return metrics(server, "requests_running", "requests_waiting")


def wait_idle(server, most_s):
    begin = time.monotonic()
    while busy(server) > 0:
        if time.monotonic() - begin > most_s:
            raise AssertionError(f"a request still runs {most_s} s after its client left")
        time.sleep(0.002)
    return time.monotonic() - begin


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def vanish(server, body, rng):
    """Sends a request, or a part of it, reads some of the answer, or nothing, and leaves in one of three ways."""
    sent = request_bytes(server, body)
    with dial(server) as s:
        if rng.random() < 0.3:
            s.sendall(sent[:rng.randrange(len(sent))])
        else:
            s.sendall(sent)
            left = rng.choice([0, rng.randrange(1, 400), rng.randrange(1, 20_000)])
            while left > 0:
                got = s.recv(min(left, 4096))
                if not got:
                    break
                left -= len(got)
        how = rng.randrange(3)
        try:
            if how == 0:
                s.shutdown(socket.SHUT_WR)  # and reads on, like a client that half-closes, until the server hangs up
                s.settimeout(20)
                while s.recv(65536):
                    pass
            elif how == 1:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        except (ConnectionError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise AssertionError("half-closed, and still connected after 20 s") from error
    return how


def disconnects(program, options):
    full = options.full
    count = options.count or (10_000 if full else 300)
    server = Server(program, "--slots", "2", models=(BABBLER,))
    try:
        long = chat("Go on.", max_tokens=3000, stream=True)
        # One after another: how soon the slot is free.
        begin = time.monotonic()
        server.post(CHAT, chat("Go on.", max_tokens=200))
        step = (time.monotonic() - begin) / 200
        freed = []
        for _ in range(100 if full else 20):
            with dial(server) as s:
                s.sendall(request_bytes(server, long))
                stream = s.makefile("rb")
                for _ in range(40):
                    stream.readline()
                stream.close()
            freed.append(wait_idle(server, 5))
        # Many at once, at random bytes.
        resident, prefixes = [], []  # after each fifth; the states of ended requests are kept on purpose, within a budget
        done = 0
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            seeds = iter(range(options.seed * 1_000_000, options.seed * 1_000_000 + count))
            while done < count:
                batch = [next(seeds) for _ in range(min(100, count - done))]
                list(pool.map(lambda seed: vanish(server, long, random.Random(seed)), batch))
                done += len(batch)
                if done >= count * (len(resident) + 1) // 5:
                    wait_idle(server, 10)
                    resident.append(resident_bytes(server))
                    prefixes.append(metrics(server, "prefix_cache_bytes"))
        growth = resident[-1] - prefixes[-1] - (resident[0] - prefixes[0])
        answer = server.post(CHAT, chat("Go on.", max_tokens=3))
        assert answer["usage"]["completion_tokens"] == 3, answer
        print(f"disconnects: {count} at random bytes; slot seen free after median {1e3 * statistics.median(freed):.1f} ms, "
              f"p99 {1e3 * percentile(freed, 0.99):.1f} ms (a step: {1e3 * step:.1f} ms; the look itself takes some); "
              f"resident after each fifth {', '.join(f'{n / MEGABYTE:.1f}' for n in resident)} MB, "
              f"of which prefixes that are kept {', '.join(f'{n / MEGABYTE:.1f}' for n in prefixes)} MB", flush=True)
        assert growth < 16 * MEGABYTE, "memory grows with clients that left"
        assert percentile(freed, 0.99) < 0.5, "slots are freed late"
    finally:
        server.stop(signal.SIGKILL)


def kills(program, options):
    count = options.count or (1000 if options.full else 25)
    rng = random.Random(5 + options.seed)
    topics = [" ".join(f"Rule {i} of set {n} holds." for i in range(60)) for n in range(6)]
    asks = [{"messages": [{"role": "system", "content": topic}, {"role": "user", "content": "Who are you?"}], "temperature": 0, "max_tokens": 12,
             "logprobs": True, "top_logprobs": 2} for topic in topics]

    def bits(reply):
        return json.dumps(reply["choices"][0]["logprobs"])

    cold = Server(program)
    expected = [bits(cold.post(CHAT, ask)) for ask in asks]
    cold.stop()
    reused = starts_ms = 0
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(count):
            begin = time.monotonic()
            server = Server(program, "--cache-dir", folder, "--cache-disk", "8M")
            starts_ms += 1e3 * (time.monotonic() - begin)
            try:
                for which in rng.sample(range(len(asks)), rng.randint(1, 3)):
                    reply = server.post(CHAT, asks[which])
                    assert bits(reply) == expected[which], f"a wrong prefix was served: {reply}"
                    reused += reply["usage"]["prompt_tokens_details"]["cached_tokens"] > 64
                time.sleep(rng.random() * 0.03)  # files are written when nothing else is to do: now
            finally:
                server.stop(signal.SIGKILL)
        left = sum(1 for _, _, files in os.walk(folder) for name in files if not name.endswith(".kv"))
    print(f"kills: {count} while states were written; every start worked (mean {starts_ms / count:.0f} ms), every answer had the bits of a cold run, "
          f"{reused} were taken up from disk; {left} partial files at the end", flush=True)
    assert reused > count // 10, "hardly any state was found again: nothing was tested"


def slow(program, options):
    seconds = 60 if options.full else 6
    server = Server(program, "--slots", "3", models=(BABBLER, SPARK))
    try:
        ask = chat("Who are you?", model="spark", max_tokens=8)

        def times(count):
            taken = []
            for _ in range(count):
                begin = time.monotonic()
                server.post(CHAT, ask)
                taken.append(time.monotonic() - begin)
                time.sleep(0.02)
            return taken

        times(5)
        alone = times(30)
        before = resident_bytes(server)
        over = threading.Event()

        def read_slowly():
            with dial(server) as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                s.sendall(request_bytes(server, chat("Go on.", model="default", max_tokens=4000, stream=True)))
                while not over.wait(1) and s.recv(1):
                    pass

        def send_slowly():  # a header that never ends; dialled again when the server hangs up
            while not over.is_set():
                with dial(server) as s:
                    try:
                        s.sendall(b"POST " + CHAT.encode() + b" HTTP/1.1\r\nX: ")
                        while not over.wait(1):
                            s.sendall(b"a")
                    except OSError:
                        pass

        def say_nothing():
            with dial(server):
                over.wait()

        threads = [threading.Thread(target=work) for work in [read_slowly] * 2 + [send_slowly] * 20 + [say_nothing] * 20]
        for thread in threads:
            thread.start()
        beside, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            beside += times(5)
        growth = resident_bytes(server) - before
        over.set()
        for thread in threads:
            thread.join()
        print(f"slow: 2 readers of 1 B/s, 20 headers of 1 B/s and 20 silent connections for {seconds} s; an answer takes median "
              f"{1e3 * statistics.median(alone):.1f} ms alone, {1e3 * statistics.median(beside):.1f} ms beside them "
              f"(p95 {1e3 * percentile(alone, 0.95):.1f}, {1e3 * percentile(beside, 0.95):.1f}); resident {growth / MEGABYTE:+.1f} MB", flush=True)
        assert growth < 64 * MEGABYTE, "memory grows with slow clients"
        assert statistics.median(beside) < 10 * statistics.median(alone) + 0.1, "slow clients hold up the others"
    finally:
        server.stop(signal.SIGKILL)


def crowd(program, options):
    seconds = 600 if options.full else 10
    server = Server(program, "--slots", "2")
    try:
        done, waits = collections.Counter(), []
        end = time.monotonic() + seconds

        def client(number):
            rng = random.Random(number)
            while time.monotonic() < end:
                begin = time.monotonic()
                reply = server.post(CHAT, chat(f"Clean up this dictation: uh we need {rng.randint(1, 99)} chairs", max_tokens=16))
                assert reply["choices"][0]["message"]["content"], reply
                waits.append(time.monotonic() - begin)
                done[number] += 1

        with concurrent.futures.ThreadPoolExecutor(64) as pool:
            list(pool.map(client, range(64)))  # raises what a client raised
        counts = [done[n] for n in range(64)]
        mean = statistics.mean(counts)
        print(f"crowd: 64 clients on 2 slots for {seconds} s: {sum(counts)} answers, none failed; a client had {min(counts)} to {max(counts)} "
              f"(mean {mean:.1f}), waited {1e3 * statistics.mean(waits):.0f} ms in the mean, {1e3 * max(waits):.0f} at most", flush=True)
        assert min(counts) * 2 >= mean, "a client starved"
    finally:
        server.stop(signal.SIGKILL)


PARTS = {"disconnects": disconnects, "kills": kills, "slow": slow, "crowd": crowd}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_intermixed_args()  # parts may follow options
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    for name in options.parts or PARTS:
        PARTS[name](os.path.abspath(options.program), options)


if __name__ == "__main__":
    main()
