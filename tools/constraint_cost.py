#!/usr/bin/env python3
"""What a constraint costs a run, or saves: tokens a second with and without a schema, in turn.

    constraint_cost.py PROGRAM MODEL [--tokens 128] [--rounds 5] [--threads 2] [--only free|string|keys]

Three cases, greedily and without drafts: `free` is any JSON value's schema around one long string, so that nothing is forced
but its quotes; `string` is an object of one string; `keys` an object of twenty numbers under long names, most of whose tokens
follow without choice. Each round runs every case with its schema and the same prompt without one, one behind the other;
printed are the medians, the ratio of the medians and the least and greatest ratio of a round.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile

LONG = "Write a very long story of a lighthouse, as one JSON string. Do not stop before ten pages."
KEYS = [f"measurement_of_station_{word}" for word in
        ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliett", "kilo", "lima", "mike",
         "november", "oscar", "papa", "quebec", "romeo", "sierra", "tango")]
CASES = {
    "free": ({"type": "string", "minLength": 100_000}, LONG),
    "string": ({"type": "object", "properties": {"story": {"type": "string", "minLength": 100_000}}, "required": ["story"],
                "additionalProperties": False}, LONG),
    "keys": ({"type": "object", "properties": {key: {"type": "integer", "minimum": 0, "maximum": 99} for key in KEYS},
              "required": KEYS, "additionalProperties": False}, "Invent a whole number for each of twenty stations, as JSON."),
}


def rate(options, prompt, schema):
    command = [options.program, "run", options.model, prompt, "--json", "--greedy", "--draft", "off", "-n", str(options.tokens),
               "-t", str(options.threads), "-c", "1024"] + (["--schema", schema] if schema else [])
    output = subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
    usage = [event for event in map(json.loads, output.splitlines()) if event.get("type") == "usage"][0]
    tokens, seconds = usage["reply_tokens"], usage["reply_seconds"]
    return tokens / seconds, tokens


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=CASES)
    options = parser.parse_args()
    cases = {name: case for name, case in CASES.items() if options.only in (None, name)}
    found = {name: [] for name in cases}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            for name, (schema, prompt) in cases.items():
                path = pathlib.Path(folder, f"{name}.json")
                path.write_text(json.dumps(schema), encoding="utf-8")
                order = [str(path), None] if number % 2 else [None, str(path)]
                rates = {bool(one): rate(options, prompt, one) for one in order}
                found[name].append((rates[True][0], rates[False][0]))
                print(f"round {number + 1}, {name}: with {rates[True][0]:.2f} tokens/s ({rates[True][1]} tokens), "
                      f"without {rates[False][0]:.2f} ({rates[False][1]})", flush=True)
    for name, pairs in found.items():
        with_it, without = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratios = sorted(a / b for a, b in pairs)
        print(f"{name}: {with_it:.2f} with, {without:.2f} without: {with_it / without:.3f} x ({ratios[0]:.3f} to {ratios[-1]:.3f})")


if __name__ == "__main__":
    main()
