#!/usr/bin/env python3
"""How many lines of each parser its fuzz corpus reaches.

    fuzz_coverage.py FOLDER CORPORA [TARGET…]

FOLDER holds the fuzz_* programs of the preset `coverage`. Below LEAST per cent for any file of the table it fails, and names the lines.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

LEAST = 85.0
# target -> the parser's sources, under src
PARSERS = {
    "config": ["runtime/model/config_hugging_face.cc", "runtime/model/config_common.cc", "base/json.cc"],
    "conversation": ["runtime/chat/conversation.cc"],
    "exif": ["runtime/media/exif.cc"],
    "gguf": ["runtime/formats/gguf.cc", "runtime/model/config_gguf.cc"],
    "image": ["runtime/media/image_decode.cc", "runtime/media/png.cc", "runtime/media/jpeg.cc", "runtime/media/webp.cc",
              "runtime/media/gif.cc", "runtime/media/signature.cc"],
    "reply_parser": ["runtime/chat/reply_parser.cc", "runtime/chat/call_parser.cc"],
    "safetensors": ["runtime/formats/safetensors.cc"],
    "sound": ["runtime/media/sound.cc", "runtime/media/sound_sndfile.cc", "runtime/media/sound_mp3.cc"],
    "tokenize": ["runtime/tokenizer/tokenizer.cc", "runtime/tokenizer/longest_match.cc"],
    "tokenizer_json": ["runtime/tokenizer/tokenizer_json.cc", "runtime/tokenizer/vocabulary.cc", "runtime/tokenizer/merges.cc"],
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
    low = 0
    for target, sources in PARSERS.items():
        if chosen and target not in chosen:
            continue
        counts = line_counts(folder / f"fuzz_{target}", corpora / target)
        for source in sources:
            lines = next((lines for path, lines in counts.items() if path.endswith("/src/" + source)), {})
            missed = sorted(number for number, count in lines.items() if count == 0)
            percent = 100 * (1 - len(missed) / len(lines)) if lines else 0.0
            print(f"coverage {target:14} {source:40} {percent:5.1f} % of {len(lines)} lines")
            if percent < LEAST:
                low += 1
                print(f"  below {LEAST} %; src/{source} is not reached at {ranges(missed) or 'all'}")
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main())
