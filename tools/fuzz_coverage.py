#!/usr/bin/env python3
"""How many lines of each parser the fuzz corpora reach.

    fuzz_coverage.py FOLDER CORPORA [TARGET…]

FOLDER holds the fuzz_* programs, which are built to count. Below LEAST per cent for any file of the table it fails, and names the lines.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parent.parent / "src"
LEAST = 85.0
# the parsers' sources, under src -> the targets whose corpora count for it; not those files of which half is no parsing
PARSERS = {
    "app/serve/dialect_anthropic.cc": ["serve_requests"],
    "app/serve/dialect_gemini.cc": ["serve_requests"],
    "app/serve/dialect_openai_chat.cc": ["serve_requests"],
    "app/serve/dialect_openai_completions.cc": ["serve_requests"],
    "app/serve/form_input.cc": ["serve_requests"],
    "app/serve/multipart.cc": ["multipart"],
    "app/serve/openai_input.cc": ["serve_requests"],
    "base/json.cc": ["config", "conversation", "tokenizer_json"],
    "runtime/chat/call_parser.cc": ["reply_parser"],
    "runtime/chat/conversation.cc": ["conversation"],
    "runtime/chat/reply_parser.cc": ["reply_parser"],
    "runtime/formats/gguf.cc": ["gguf"],
    "runtime/formats/safetensors.cc": ["safetensors"],
    "runtime/grammar/gbnf.cc": ["grammar_gbnf"],
    "runtime/grammar/number_rule.cc": ["grammar_schema"],
    "runtime/grammar/pattern.cc": ["grammar_regex", "grammar_schema"],
    "runtime/grammar/schema_reader.cc": ["grammar_schema"],
    "runtime/media/exif.cc": ["exif", "image"],
    "runtime/media/gif.cc": ["image"],
    "runtime/media/image_decode.cc": ["image"],
    "runtime/media/jpeg.cc": ["image"],
    "runtime/media/png.cc": ["image"],
    "runtime/media/signature.cc": ["image", "sound"],
    "runtime/media/sound.cc": ["sound"],
    "runtime/media/sound_mp3.cc": ["sound"],
    "runtime/media/sound_sndfile.cc": ["sound"],
    "runtime/media/webp.cc": ["image"],
    "runtime/model/config_common.cc": ["config"],
    "runtime/model/config_gguf.cc": ["gguf"],
    "runtime/model/config_hugging_face.cc": ["config"],
    "runtime/tokenizer/longest_match.cc": ["tokenize"],
    "runtime/tokenizer/merges.cc": ["tokenizer_json"],
    "runtime/tokenizer/tokenizer.cc": ["tokenize"],
    "runtime/tokenizer/tokenizer_gguf.cc": ["gguf"],
    "runtime/tokenizer/tokenizer_json.cc": ["tokenizer_json"],
    "runtime/tokenizer/vocabulary.cc": ["tokenizer_json"],
}


def ranges(numbers):
    """[3, 4, 5, 9] -> "3-5, 9"."""
    spans = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


def line_counts(program, corpus):
    """path of a source -> {line: how often it ran}, of one replay of the corpus."""
    with tempfile.TemporaryDirectory() as work:
        raw, merged = f"{work}/raw", f"{work}/merged"
        subprocess.run([program, "-runs=0", corpus], env={**os.environ, "LLVM_PROFILE_FILE": raw}, check=True, capture_output=True)
        subprocess.run(["llvm-profdata-19", "merge", "-sparse", raw, "-o", merged], check=True)
        report = subprocess.run(["llvm-cov-19", "export", "-format=lcov", f"-instr-profile={merged}", program], check=True,
                                capture_output=True, text=True).stdout
    counts, lines = {}, {}
    for row in report.split("\n"):
        kind, _, value = row.partition(":")
        if kind == "SF":
            lines = counts.setdefault(value, {})
        elif kind == "DA":
            number, count = value.split(",")[:2]
            lines[int(number)] = int(count)
    return counts


def main():
    folder, corpora, chosen = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3:]
    wanted = {source: targets for source, targets in PARSERS.items() if not chosen or set(chosen) & set(targets)}
    counts = {target: line_counts(folder / f"fuzz_{target}", corpora / target) for target in sorted({t for ts in wanted.values() for t in ts})}
    low = 0
    for source, targets in wanted.items():
        lines = {}
        for target in targets:
            for number, count in counts[target].get(str(SOURCE / source), {}).items():
                lines[number] = lines.get(number, 0) + count
        missed = sorted(number for number, count in lines.items() if count == 0)
        percent = 100 * (1 - len(missed) / len(lines)) if lines else 0.0
        print(f"coverage {source:38} {percent:5.1f} % of {len(lines):3} lines by {', '.join(targets)}")
        if percent < LEAST:
            low += 1
            print(f"  below {LEAST} %: not reached is {ranges(missed) or 'all'}")
    print(f"coverage: {len(wanted)} sources, {low} below {LEAST} %")
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main())
