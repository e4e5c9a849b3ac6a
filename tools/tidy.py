#!/usr/bin/env python3
"""The house rules that no compiler checks.

    tidy.py [--self-test]

Functions of at most 70 lines (those in LONG have their own limits, which only go down); no leftovers, nothing big, no build for one CPU,
nothing of one machine; every source in a build file, every header included, every tool called; links that lead somewhere; no tabs, no
trailing blanks.
"""
import pathlib
import re
import subprocess
import sys

import cxx_functions

ROOT = pathlib.Path(__file__).resolve().parent.parent
LINES_MAX = 70
BYTES_MAX = 8 << 20
# "path:function": the lines it has now. An entry needs a reason that a reviewer accepts.
LONG = {}

# The words are cut in two, or this file would break its own rules.
NATIVE = re.compile(r"-m(arch|tune)=" r"native")
RULES = [
    (re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b"), "a leftover: do it, or say it in the change's note"),
    (NATIVE, "a build for one CPU"),
    (re.compile(r"(?<![\w.}-])/(work|home|root|farm|mnt|tmp/l" r"ab)/"), "a path of one machine"),
    (re.compile(r"\b(deb\.deb" r"ian\.org|archive\.ubu" r"ntu\.com|registry\.npm" r"js\.org|py" r"pi\.org|proxy\.gol" r"ang\.org)\b"),
     "a package registry: the system's settings choose it"),
    (re.compile(r"\t|[ \t]+$"), "a tab or a trailing blank"),
]
FUZZER_FINDING = re.compile(r"(^|/)(crash|leak|timeout|oom|slow-unit)-[0-9a-f]{40}$")
TEXT = {".h", ".cc", ".py", ".sh", ".cmake", ".md", ".txt", ".json", ".yml", ""}
DATA = ("tests/golden/", "models/", "fuzz/corpus/", "LICENSE")


def check_lines(path, text):
    rules = [(rule, about) for rule, about in RULES if not (rule is NATIVE and path.endswith(".md"))]  # a text may speak of it
    return [f"{path}:{number}: {about}" for number, line in enumerate(text.split("\n"), 1) for rule, about in rules if rule.search(line)]


def check_functions(path, text, long):
    """long: LONG, of which this takes away what it finds."""
    problems = []
    for name, line, lines in cxx_functions.functions(text):
        most = long.pop(f"{path}:{name}", LINES_MAX) if lines > LINES_MAX else LINES_MAX
        if lines > most:
            problems.append(f"{path}:{line}: {name} has {lines} lines; at most {most}")
        elif LINES_MAX < lines < most:
            problems.append(f"{path}:{line}: {name} has {lines} lines now: lower its entry in tools/tidy.py")
    return problems


def built_sources(files):
    """The paths of the .cc files that the build files name."""
    sources = set()
    for path, text in files.items():
        if path.endswith(("CMakeLists.txt", ".cmake")):
            folder = pathlib.PurePosixPath(path).parent
            for name in re.findall(r"[\w./${}-]+\.cc\b", text):
                from_root = name.startswith("${PROJECT_SOURCE_DIR}/")
                sources.add(name.removeprefix("${PROJECT_SOURCE_DIR}/") if from_root else str(folder / name))
    return sources


def check_use(files):
    """Sources that nothing builds, headers that nothing includes, tools that nothing calls."""
    problems, sources = [], built_sources(files)
    included = {name for text in files.values() for name in re.findall(r'#\s*include\s*"([^"]+)"', text)}
    for path in files:
        pure = pathlib.PurePosixPath(path)
        if pure.suffix == ".cc" and path not in sources:
            problems.append(f"{path}: in no build file")
        if pure.suffix == ".h" and not any(f"/{path}".endswith(f"/{name}") for name in included):
            problems.append(f"{path}: included by nothing")
        if path.startswith("tools/"):
            called = re.compile(rf"\b{re.escape(pure.name)}\b|^import {re.escape(pure.stem)}$", re.M)
            if not any(called.search(text) for other, text in files.items() if other != path):
                problems.append(f"{path}: called by nothing")
    return problems


def check_links(path, text, exists):
    names = re.findall(r"\]\(([^)#\s]+)", text)
    return [f"{path}: its link {n} leads nowhere" for n in names
            if ":" not in n and not exists((pathlib.PurePosixPath(path).parent / n).as_posix())]


def self_test():
    def long_function(lines):
        return "void f(int a) {\n" + "  x();\n" * (lines - 2) + "}\n"

    def complains(what, problems):
        assert any(what in p for p in problems), (what, problems)

    assert check_functions("a.cc", long_function(70), {}) == []
    complains("f has 71 lines; at most 70", check_functions("a.cc", long_function(71), {}))
    assert check_functions("a.cc", long_function(90), {"a.cc:f": 90}) == []
    complains("at most 90", check_functions("a.cc", long_function(91), {"a.cc:f": 90}))
    complains("lower its entry", check_functions("a.cc", long_function(80), {"a.cc:f": 90}))
    complains("leftover", check_lines("a.cc", "// TO" "DO later"))
    complains("one CPU", check_lines("a.sh", "gcc -march=" "native"))
    assert check_lines("a.md", "without -march=" "native") == []
    complains("one machine", check_lines("a.md", "see /wo" "rk/main"))
    complains("registry", check_lines("a.sh", "http://deb.deb" "ian.org/debian"))
    complains("trailing", check_lines("a.cc", "int a;\t"))
    complains("trailing", check_lines("a.md", "text "))
    assert check_lines("a.md", "docs/wo" "rk/x and ${root}/wo" "rk/y and 1e-3") == []
    used = {"src/CMakeLists.txt": "add_library(a a.cc ${PROJECT_SOURCE_DIR}/b/b.cc)", "src/a.cc": '#include "x/a.h"', "src/x/a.h": "",
            "b/b.cc": "", "tools/c.py": "", "dev": "python3 tools/c.py"}
    assert check_use(used) == [], check_use(used)
    complains("src/c.cc: in no build file", check_use({**used, "src/c.cc": ""}))
    complains("b/a.cc: in no build file", check_use({**used, "b/a.cc": ""}))
    complains("y/a.h: included by nothing", check_use({**used, "src/y/a.h": ""}))
    complains("tools/d.py: called by nothing", check_use({**used, "tools/d.py": ""}))
    assert check_links("docs/a.md", "[b](../b.md#c) [d](https://example.com)", {"docs/../b.md"}.__contains__) == []
    complains("leads nowhere", check_links("a.md", "[b](b.md)", set().__contains__))
    assert FUZZER_FINDING.search("x/crash-" + "0" * 40) and not FUZZER_FINDING.search("crash-course.md")


def main():
    if sys.argv[1:] == ["--self-test"]:
        cxx_functions.self_test()
        self_test()
        return 0
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    problems, files, long = [], {}, dict(LONG)
    for name in filter(lambda n: (ROOT / n).is_file(), listed.split("\n")):
        path = ROOT / name
        if path.stat().st_size > BYTES_MAX and not name.startswith("models/spark/"):
            problems.append(f"{name}: {path.stat().st_size} bytes; at most {BYTES_MAX}")
        if FUZZER_FINDING.search(name):
            problems.append(f"{name}: what a fuzzer left")
        elif path.suffix in TEXT and not name.startswith(DATA):
            try:
                files[name] = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                problems.append(f"{name}: not UTF-8")
    for name, text in files.items():
        problems += check_lines(name, text)
        if name.endswith((".h", ".cc")):
            problems += check_functions(name, text, long)
        if name.endswith(".md"):
            problems += check_links(name, text, lambda link: (ROOT / link).exists())
    problems += check_use(files)
    problems += [f"tools/tidy.py: no long function {entry}: take its entry away" for entry in long]
    print("".join(f"{p}\n" for p in problems), end="")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
