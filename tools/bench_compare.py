#!/usr/bin/env python3
"""Lapidary and llama.cpp on the same file, in turn; a row in bench/machines/CPU.csv after every measurement.

    bench_compare.py PROGRAM MODEL [OPTIONS]     measures what is missing, then prints the ratios
    bench_compare.py --document                  writes docs/machines.md and its charts from the rows
    bench_compare.py --self-test

A comparison that was interrupted goes on where it stopped: rows of this build, file, machine and round are not measured again.
The yardstick is a program `llama_bench` with llama.cpp's libraries in `libs` beside it (--yardstick, or LAPIDARY_YARDSTICK): it takes
--model, --libs, --cpu, --threads, --pp, --pp-reps, --tg, --depths, --reps, --verify, --verify-depth, --state and prints medians as JSON.
"""
import argparse
import contextlib
import csv
import datetime
import html
import io
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
MACHINES = ROOT / "bench" / "machines"
COLUMNS = ["time", "cpu", "engine", "build", "variant", "threads", "file", "bytes", "kv", "round", "measure", "tokens", "depth", "value",
           "unit", "min", "max"]
# What identifies a measurement; the rest is its result.
KEY = ["engine", "build", "variant", "threads", "file", "bytes", "kv", "round", "measure", "tokens", "depth"]
OURS, THEIRS, MACHINE = "lapidary", "llama.cpp", "machine"
# The kernels of llama.cpp for the instructions that ours use; the first that its libraries have and the CPU runs.
VARIANTS = {"avx512vnni": ["zen4", "icelake"], "avxvnni": ["alderlake"], "avx2": ["haswell"]}


def fail(message):
    sys.exit(f"bench compare: {message}")


def slug(cpu):
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"\((r|tm)\)|processor|cpu", " ", cpu.lower())).strip("-")


class Rows:
    """The rows of one CPU's file. Every row is on disk before the next measurement begins."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        if self.path.exists() and (text := self.path.read_text()) and not text.endswith("\n"):
            self.path.write_text(text + "\n")  # cut off in the middle of a line
        self.rows = read_rows(self.path)
        self.keys = {self.key(row) for row in self.rows}

    @staticmethod
    def key(row):
        return tuple(str(row[column]) for column in KEY)

    def has(self, row):
        return self.key(row) in self.keys

    def add(self, row):
        row = {column: str(row.get(column, "")) for column in COLUMNS}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = not self.path.exists() or self.path.stat().st_size == 0
        with open(self.path, "a", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(row)
            file.flush()
            os.fsync(file.fileno())
        self.rows.append(row)
        self.keys.add(self.key(row))


def read_rows(path):
    if not path.exists():
        return []
    with open(path, newline="") as file:
        # A row that was cut off in the middle of its line is measured again.
        return [row for row in csv.DictReader(file) if None not in row.values() and row.get("max") not in (None, "")]


def run_json(command, **environment):
    result = subprocess.run(command, capture_output=True, text=True, errors="replace", env={**os.environ, **environment})
    if result.returncode != 0:
        fail(f"{' '.join(map(str, command))}\nended with {result.returncode}: {result.stderr.strip()[-2000:]}")
    return json.loads(result.stdout)


class Ours:
    name = OURS

    def __init__(self, program, model, variant, threads):
        self.program, self.model, self.variant, self.threads = program, model, variant, threads
        # This first run also brings the file into memory, and counts for nothing but the machine's own figures.
        self.first = self.bench(pp=0, tg=2, depth=0)
        self.threads, self.variant, self.build = self.first["threads"], self.first["variant"], self.first["commit"]

    def bench(self, pp, tg, depth, verify="none", verify_depth=0):
        environment = {"LAPIDARY_KERNELS": self.variant} if self.variant else {}
        threads = ["--threads", str(self.threads)] if self.threads else []
        return run_json([self.program, "bench", self.model, "--json", "--reps", "1", "--pp", str(pp), "--tg", str(tg), "--depth", str(depth),
                         "--verify", verify, "--verify-depth", str(verify_depth), *threads], **environment)

    def prefill(self, tokens):
        result = self.bench(tokens, 0, 0)
        return [result["pp"][0]["tokens_per_s"]] * 3, result["peak_rss_bytes"]

    def decode(self, tokens, depth):
        result = self.bench(0, tokens, depth)
        return [result["tg"][0]["tokens_per_s"]] * 3, result["peak_rss_bytes"]

    def calls(self, rows, depth):
        result = self.bench(0, 0, depth, ",".join(map(str, rows)), depth)
        return {call["m"]: [call["ms"], call["min"], call["max"]] for call in result["verify"]}


class Theirs:
    name = THEIRS

    def __init__(self, program, libraries, model, variant, threads, states):
        self.program, self.libraries, self.model, self.threads, self.states = program, libraries, model, threads, states
        present = {path.stem.removeprefix("libggml-cpu-") for path in pathlib.Path(libraries).glob("libggml-cpu-*.so")}
        flags = pathlib.Path("/proc/cpuinfo").read_text()
        wanted = [name for name in VARIANTS.get(variant, []) if name in present and (name != "zen4" or "avx512_bf16" in flags)]
        if not wanted:
            fail(f"no library of llama.cpp in {libraries} fits the kernels {variant}")
        self.variant = wanted[0]
        source = pathlib.Path(libraries).parent / "source"
        described = subprocess.run(["git", "-C", source, "describe", "--tags", "--always"], capture_output=True, text=True)
        self.build = described.stdout.strip() or "unknown"

    def bench(self, *arguments):
        return run_json([self.program, "--model", self.model, "--libs", self.libraries, "--cpu", self.variant, "--threads", str(self.threads),
                         "--reps", "1", *arguments])

    @staticmethod
    def spread(value):
        return [value["median"], value["min"], value["max"]] if isinstance(value, dict) else [value] * 3

    def prefill(self, tokens):
        result = self.bench("--pp", str(tokens), "--pp-reps", "1", "--tg", "0", "--verify", "none")
        return self.spread(result["runs"][0][f"pp{tokens}_tps"]), int(result["peak_rss_mb"] * 1e6)

    def decode(self, tokens, depth):
        state = ["--state", f"{self.states}/state"] if depth else []
        result = self.bench("--pp-reps", "0", "--tg", str(tokens), "--depths", str(depth), "--verify", "none", *state)
        return self.spread(result["runs"][0][f"tg{tokens}_depth{depth}_tps"]), int(result["peak_rss_mb"] * 1e6)

    def calls(self, rows, depth):
        result = self.bench("--pp-reps", "0", "--tg", "0", "--verify", ",".join(map(str, rows)), "--verify-depth", str(depth), "--state",
                            f"{self.states}/state")
        return {int(m): self.spread(ms) for m, ms in result["runs"][0]["verify_ms"].items()}


def measure(engines, rows, shared, options):
    """Both engines in turn, the order swapped from round to round."""

    def row(engine, measure, tokens, depth, number):
        return {**shared, "engine": engine.name, "build": engine.build, "variant": engine.variant, "threads": engine.threads,
                "round": number, "measure": measure, "tokens": tokens, "depth": depth}

    def store(row, spread, unit):
        rows.add({**row, "time": datetime.datetime.now().astimezone().isoformat(timespec="seconds"), "value": spread[0], "min": spread[1],
                  "max": spread[2], "unit": unit})
        print(f"  round {row['round']}  {row['engine']:<10} {row['measure']} {row['tokens']} at {row['depth']}: {spread[0]:.4g} {unit}",
              flush=True)

    for number in range(1, options.rounds + 1):
        order = engines if number % 2 else engines[::-1]
        steps = [("prefill", options.pp, 0)] if options.pp else []
        steps += [("decode", options.tg, depth) for depth in options.depth] if options.tg else []
        for measure_name, tokens, depth in steps:
            for engine in order:
                wanted = row(engine, measure_name, tokens, depth, number)
                if rows.has(wanted):
                    continue
                spread, resident = engine.prefill(tokens) if measure_name == "prefill" else engine.decode(tokens, depth)
                store(wanted, spread, "tokens/s")
                memory = row(engine, f"resident_{measure_name}", tokens, depth, number)
                if not rows.has(memory):
                    store(memory, [resident] * 3, "bytes")
        for engine in order if options.verify else []:
            if all(rows.has(row(engine, "call", m, options.verify_depth, number)) for m in options.verify):
                continue
            for m, spread in engine.calls(options.verify, options.verify_depth).items():
                if not rows.has(row(engine, "call", m, options.verify_depth, number)):
                    store(row(engine, "call", m, options.verify_depth, number), spread, "ms")


def summary(rows):
    """(file, threads, our variant's family, measure, tokens, depth) -> engine -> (median, min, max, count), the newest build of each."""
    family = {theirs: ours for ours, names in VARIANTS.items() for theirs in names}
    newest = {}
    for row in rows:
        group = (row["engine"], row["file"], row["threads"], family.get(row["variant"], row["variant"]), row["measure"], row["tokens"], row["depth"])
        if group not in newest or row["time"] > newest[group][0]:
            newest[group] = (row["time"], row["build"], row["variant"])
    table = {}
    for row in rows:
        variant = family.get(row["variant"], row["variant"])
        group = (row["engine"], row["file"], row["threads"], variant, row["measure"], row["tokens"], row["depth"])
        if newest[group][1:] != (row["build"], row["variant"]):
            continue
        place = (row["file"], int(row["threads"]), variant, row["measure"], int(row["tokens"]), int(row["depth"]))
        table.setdefault(place, {}).setdefault(row["engine"], []).append(float(row["value"]))
    return {place: {engine: (statistics.median(values), min(values), max(values), len(values)) for engine, values in engines.items()}
            for place, engines in table.items()}


def said(figures, unit):
    if figures is None:
        return ""
    median, low, high, count = figures
    if unit == "GB":
        return f"{median / 1e9:.2f}"
    def text(value):
        return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"

    return text(median) + (f" ({text(low)}–{text(high)})" if count > 1 and high > low else "")


NAMES = {"prefill": "reads {} tokens at {}, tokens/s", "decode": "writes {} tokens at {}, tokens/s", "call": "a call with {} at {}, ms",
         "resident_prefill": "resident, reading {} at {}, GB", "resident_decode": "resident, writing {} at {}, GB"}
ORDER = list(NAMES)


def lines_of(table):
    """One line a measure: (file, threads, variant), what, ours, theirs, by how much ours is better."""
    lines = []
    for place in sorted(table, key=lambda p: (p[:3], ORDER.index(p[3]) if p[3] in ORDER else 99, p[5], p[4])):
        engines = table[place]
        if place[3] not in NAMES or OURS not in engines:
            continue
        unit = "GB" if place[3].startswith("resident") else ""
        ours, theirs = engines[OURS], engines.get(THEIRS)
        better = None
        if theirs and ours[0] > 0 and theirs[0] > 0:
            better = ours[0] / theirs[0] if place[3] in ("prefill", "decode") else theirs[0] / ours[0]
        lines.append((place[:3], NAMES[place[3]].format(place[4], place[5]), said(ours, unit), said(theirs, unit), better))
    return lines


def print_table(rows):
    group = None
    for own, what, ours, theirs, better in lines_of(summary(rows)):
        if own != group:
            print(f"\n{own[0]}, {own[1]} threads, {own[2]}\n{'':<34} {OURS:>22} {THEIRS:>22}   better by")
            group = own
        print(f"{what:<34} {ours:>22} {theirs:>22}   {'' if better is None else f'{better:.2f}'}")


def chart(title, lines):
    """Bars: how many times as good as llama.cpp, which is the line at 1."""
    lines = [(what, better) for _, what, _, _, better in lines if better is not None]
    if not lines:
        return None
    left, width, step = 300, 420, 26
    most = max(2.0, max(better for _, better in lines) * 1.08)
    height = 60 + step * len(lines)
    at = lambda value: left + width * value / most
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 70} {height}" font-family="sans-serif" font-size="13">',
             '<style>text{fill:#222}.bar{fill:#2b6e6a}.one{stroke:#888}@media(prefers-color-scheme:dark){text{fill:#ddd}.bar{fill:#5fb3ad}}</style>',
             f'<text x="8" y="22" font-size="15">{html.escape(title)}</text>']
    for i, (what, better) in enumerate(lines):
        y = 40 + step * i
        parts.append(f'<text x="{left - 10}" y="{y + 14}" text-anchor="end">{html.escape(what.rsplit(",", 1)[0])}</text>'
                     f'<rect class="bar" x="{left}" y="{y + 2}" width="{at(better) - left:.1f}" height="16" rx="2"/>'
                     f'<text x="{at(better) + 6:.1f}" y="{y + 14}">{better:.2f} ×</text>')
    parts.append(f'<line class="one" x1="{at(1):.1f}" x2="{at(1):.1f}" y1="34" y2="{height - 16}" stroke-dasharray="3 3"/>'
                 f'<text x="{at(1):.1f}" y="{height - 3}" text-anchor="middle" font-size="11">llama.cpp</text></svg>')
    return "\n".join(parts) + "\n"


def document(machines, docs):
    text = ["# Measured beside llama.cpp\n", "Written by `./dev bench document` from the rows in [bench/machines](../bench/machines), which "
            "`./dev bench compare MODEL` adds. Medians over the rounds, lowest and highest in brackets. Only the ratios travel.\n"]
    for path in sorted(pathlib.Path(machines).glob("*.csv")):
        rows = read_rows(path)
        if not rows:
            continue
        text.append(f"## {rows[0]['cpu']}\n")
        walls = {}
        for row in rows:
            if row["engine"] == MACHINE:
                walls.setdefault((row["measure"], row["variant"], row["threads"], row["unit"]), []).append(float(row["value"]))
        for (measure_name, variant, threads, unit), values in sorted(walls.items()):
            text.append(f"* {measure_name}, {variant}, {threads} threads: {statistics.median(values):.4g} {unit}")
        lines = lines_of(summary(rows))
        for i, group in enumerate(sorted({line[0] for line in lines})):
            own = [line for line in lines if line[0] == group]
            title = f"{group[0]}, {group[1]} threads, {group[2]}"
            text.append(f"\n### {title}\n\n| | {OURS} | {THEIRS} | better by |\n|---|---|---|---|")
            text += [f"| {what} | {ours} | {theirs} | {'' if better is None else f'{better:.2f} ×'} |" for _, what, ours, theirs, better in own]
            picture = chart(f"{title}: times as good", own)
            if picture:
                (pathlib.Path(docs) / "machines").mkdir(parents=True, exist_ok=True)
                name = f"{path.stem}-{i + 1}.svg"
                (pathlib.Path(docs) / "machines" / name).write_text(picture)
                text.append(f"\n![{title}](machines/{name})")
        builds = sorted({f"{row['engine']} {row['build']} ({row['variant']})" for row in rows if row["engine"] != MACHINE})
        text.append("\nBuilds: " + "; ".join(builds) + ".\n")
    (pathlib.Path(docs) / "machines.md").write_text("\n".join(text).rstrip() + "\n")


def self_test():
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        rows = Rows(f"{folder}/m/cpu.csv")
        shared = {"cpu": "Test CPU", "file": "f.gguf", "bytes": 1, "kv": "f16"}

        class Fake:
            def __init__(self, name, variant, speed):
                self.name, self.build, self.variant, self.threads, self.speed, self.asked = name, "b1", variant, 2, speed, 0

            def prefill(self, tokens):
                self.asked += 1
                return [self.speed] * 3, 7e9

            def decode(self, tokens, depth):
                self.asked += 1
                return [self.speed / 4] * 3, 7e9

            def calls(self, counts, depth):
                self.asked += 1
                return {m: [m * 10.0] * 3 for m in counts}

        engines = [Fake(OURS, "avx2", 20.0), Fake(THEIRS, "haswell", 10.0)]
        options = argparse.Namespace(rounds=2, pp=512, tg=64, depth=[0, 2048], verify=[1, 4], verify_depth=512)
        measure(engines, rows, shared, options)
        assert [e.asked for e in engines] == [8, 8]
        # Interrupted: the last line is cut off in the middle; that row and no other is measured again.
        text = rows.path.read_text()
        rows.path.write_text(text[:-12])
        again = Rows(rows.path)
        measure(engines, again, shared, options)
        assert [e.asked for e in engines] in ([9, 8], [8, 9]), [e.asked for e in engines]
        lines = lines_of(summary(again.rows))
        assert [line[4] for line in lines if line[1].startswith(("reads", "writes"))] == [2.0, 2.0, 2.0], lines
        assert all(line[4] == 1.0 for line in lines if line[1].startswith("a call")), lines
        (pathlib.Path(folder) / "docs").mkdir()
        document(f"{folder}/m", f"{folder}/docs")
        page = (pathlib.Path(folder) / "docs" / "machines.md").read_text()
        assert "2.00 ×" in page and "Test CPU" in page and "machines/cpu-1.svg" in page
        import xml.dom.minidom
        xml.dom.minidom.parse(f"{folder}/docs/machines/cpu-1.svg")
    assert slug("AMD EPYC 9B14 96-Core Processor") == "amd-epyc-9b14-96-core"
    assert slug("Intel(R) Xeon(R) CPU @ 2.20GHz") == "intel-xeon-2-20ghz"


def numbers(text):
    return [int(word) for word in text.split(",")] if text != "none" else []


def main():
    if "--self-test" in sys.argv:
        return self_test()
    if "--document" in sys.argv:
        return document(MACHINES, ROOT / "docs")
    parser = argparse.ArgumentParser(prog="./dev bench compare")
    parser.add_argument("program", help=argparse.SUPPRESS)
    parser.add_argument("model")
    parser.add_argument("--yardstick", default=os.environ.get("LAPIDARY_YARDSTICK"), help="the program llama_bench, or its folder")
    parser.add_argument("--libs", help="llama.cpp's libraries; default: libs beside the yardstick")
    parser.add_argument("--variant", help="our kernels, as LAPIDARY_KERNELS; default: the best")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--pp", type=int, default=512)
    parser.add_argument("--tg", type=int, default=64)
    parser.add_argument("--depth", type=numbers, default=[0, 2048])
    parser.add_argument("--verify", type=numbers, default=[1, 2, 4, 8], help="tokens in one call; none: left out")
    parser.add_argument("--verify-depth", type=int, default=512)
    parser.add_argument("--only-ours", action="store_true", help="measure Lapidary alone")
    parser.add_argument("--states", help="where llama.cpp's caches at each depth are kept; default: a folder that is removed afterwards")
    options = parser.parse_args()
    ours = Ours(os.path.abspath(options.program), options.model, options.variant, options.threads)
    size = sum(file.stat().st_size for file in ([pathlib.Path(options.model)] if os.path.isfile(options.model)
                                                else pathlib.Path(options.model).glob("*.safetensors")))
    shared = {"cpu": ours.first["cpu"], "file": ours.first["file"], "bytes": size, "kv": ours.first["kv"]}
    rows = Rows(MACHINES / f"{slug(shared['cpu'])}.csv")
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    for measure_name, value, unit in (("stream", ours.first["stream_gb_s"], "GB/s"), ("int8", ours.first["int8_peak_gops"], "Gop/s")):
        if value:
            rows.add({**shared, "time": now, "engine": MACHINE, "build": ours.build, "variant": ours.variant, "threads": ours.threads, "round": 0,
                      "measure": measure_name, "tokens": 0, "depth": 0, "value": value, "unit": unit, "min": value, "max": value})
    with tempfile.TemporaryDirectory() as folder:
        engines = [ours]
        if not options.only_ours:
            if not options.yardstick:
                fail("--yardstick PATH (or LAPIDARY_YARDSTICK) names the program llama_bench; --only-ours does without")
            program = pathlib.Path(options.yardstick).resolve()
            program = program / "llama_bench" if program.is_dir() else program
            libraries = options.libs or program.parent / "libs"
            engines.append(Theirs(program, libraries, options.model, ours.variant, ours.threads, options.states or folder))
        print(f"{shared['cpu']}: {shared['file']}, {ours.threads} threads, rows in {rows.path.relative_to(ROOT)}", flush=True)
        measure(engines, rows, shared, options)
    print_table(row for row in rows.rows if row["file"] == shared["file"] and row["threads"] == str(ours.threads))


if __name__ == "__main__":
    main()
