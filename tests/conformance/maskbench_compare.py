#!/usr/bin/env python3
"""MaskBench by `lapidary bench --grammar` and by LLGuidance (PyPI: llguidance), in turn, on the same texts.

    maskbench_compare.py PROGRAM TOKENIZER MASKBENCH.jsonl[.xz] [--shards N] [--only FIRST:LAST]

Both get every N-th schema, one after the other, N times, so that a machine whose speed changes is fair to both. An instance
is a text as json.dumps writes it. It is accepted if each of its tokens is in the mask before it and the text may end
behind it. Times are those of masks alone (what a token's acceptance costs is not in it), on one thread, and of compilations
that succeed. Held back are the schemas whose name's SHA-256 begins with a byte below 32.
"""
import argparse
import ctypes
import hashlib
import json
import lzma
import pathlib
import subprocess
import tempfile
import time

import llguidance


def dumped(value):
    return json.dumps(value, ensure_ascii=False)


def held_back(name):
    return hashlib.sha256(name.encode()).digest()[0] < 32


class Tally:
    def __init__(self):
        self.schemas = self.compiled = self.right = self.false_accepts = self.false_refusals = 0
        self.masks, self.compiles = [], []

    def add(self, outcome):
        self.schemas += 1
        if outcome["compiled"]:
            self.compiled += 1
            self.compiles.append(outcome["compile_ms"])
            self.right += outcome["false_accepts"] + outcome["false_refusals"] == 0
            self.false_accepts += outcome["false_accepts"]
            self.false_refusals += outcome["false_refusals"]
        self.masks += outcome["mask_us"]

    def row(self):
        def percentile(values, share):
            return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0

        mean = sum(self.masks) / len(self.masks) if self.masks else 0
        return (f"{self.compiled} of {self.schemas} compiled, {self.right} fully right ({100 * self.right / max(1, self.schemas):.2f} %), "
                f"{self.false_accepts} false accepts, {self.false_refusals} false refusals, mask mean {mean:.1f} µs, "
                f"p99 {percentile(self.masks, 0.99):.0f} µs ({len(self.masks)} masks), compile p95 {percentile(self.compiles, 0.95):.2f} ms")


class LlGuidance:
    def __init__(self, tokenizer):
        self.tokenizer = llguidance.LLTokenizer(tokenizer, slices=llguidance.LLTokenizer.json_slices())
        self.mask = bytearray((self.tokenizer.vocab_size + 31) // 32 * 4)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.mask))

    def accepts(self, matcher, text, times):
        for token in self.tokenizer.tokenize_str(text):
            begin = time.perf_counter()
            matcher.unsafe_compute_mask_ptr(self.address, len(self.mask))
            times.append((time.perf_counter() - begin) * 1e6)
            if not self.mask[token // 8] >> (token % 8) & 1 or not matcher.consume_token(token):
                return False
        return matcher.is_accepting()

    def judge(self, item):
        begin = time.perf_counter()
        matcher = None
        try:
            matcher = llguidance.LLMatcher(self.tokenizer, llguidance.LLMatcher.grammar_from_json_schema(item["schema"]))
        except ValueError:
            pass
        outcome = {"compile_ms": (time.perf_counter() - begin) * 1e3, "compiled": matcher is not None and not matcher.is_error(),
                   "false_accepts": 0, "false_refusals": 0, "mask_us": []}
        if not outcome["compiled"]:
            return outcome
        for test in item["tests"]:
            accepted = self.accepts(matcher.deep_copy(), dumped(test["data"]), outcome["mask_us"])
            outcome["false_accepts"] += accepted and not test["valid"]
            outcome["false_refusals"] += not accepted and test["valid"]
        return outcome


def ours(program, tokenizer, items):
    with tempfile.TemporaryDirectory() as folder:
        source, details = pathlib.Path(folder, "shard.jsonl"), pathlib.Path(folder, "details.jsonl")
        source.write_text("".join(dumped(item) + "\n" for item in items), encoding="utf-8")
        subprocess.run([program, "bench", tokenizer, "--grammar", str(source), "--details", str(details), "--json"],
                       check=True, capture_output=True)
        for line in details.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("tokenizer")
    parser.add_argument("file")
    parser.add_argument("--shards", type=int, default=24)
    parser.add_argument("--only", default=":", help="of the file's schemas, these")
    options = parser.parse_args()
    opened = lzma.open if options.file.endswith(".xz") else open
    with opened(options.file, "rt", encoding="utf-8") as lines:
        items = [json.loads(line) for line in lines]
    first, last = (int(part) if part else None for part in options.only.split(":"))
    items = items[first:last]
    other = LlGuidance(options.tokenizer)
    tallies = {(who, part): Tally() for who in ("lapidary", "llguidance") for part in ("all", "held back", "compiled by both")}
    both = {"lapidary right alone": 0, "llguidance right alone": []}
    for shard in range(options.shards):
        mine = items[shard::options.shards]
        found = {"lapidary": list(ours(options.program, options.tokenizer, mine)), "llguidance": [other.judge(item) for item in mine]}
        for who, outcomes in found.items():
            for item, outcome in zip(mine, outcomes, strict=True):
                tallies[who, "all"].add(outcome)
                if held_back(item["name"]):
                    tallies[who, "held back"].add(outcome)
        for a, b in zip(*found.values(), strict=True):
            if a["compiled"] and b["compiled"]:
                tallies["lapidary", "compiled by both"].add(a)
                tallies["llguidance", "compiled by both"].add(b)
        for item, a, b in zip(mine, found["lapidary"], found["llguidance"], strict=True):
            right = [o["compiled"] and o["false_accepts"] + o["false_refusals"] == 0 for o in (a, b)]
            both["lapidary right alone"] += right == [True, False]
            if right == [False, True]:
                both["llguidance right alone"].append(item["name"])
            if a["false_accepts"] or a["false_refusals"]:
                print(f"lapidary wrong: {item['name']}: {a['outcome']}")
        print(f"shard {shard + 1} of {options.shards}", flush=True)
    print("llguidance", llguidance.__version__)
    for (who, part), tally in tallies.items():
        print(f"{who}, {part}: {tally.row()}")
    print(f"right alone: lapidary {both['lapidary right alone']}, llguidance {len(both['llguidance right alone'])}")
    print("\n".join(f"  {name}" for name in both["llguidance right alone"]))


if __name__ == "__main__":
    main()
