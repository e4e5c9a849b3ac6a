#!/usr/bin/env python3
"""Holds every #include under src to the layers, and system's and libraries' headers to the folders that wrap them.

    check_layers.py [--self-test]

The table is exact: an include that it does not allow is an error, and so is a permission that nothing uses any more. A folder may name
only folders above it in the table, so no two can need each other.
"""
import pathlib
import re
import sys

SOURCE = pathlib.Path(__file__).resolve().parent.parent / "src"

# folder under src -> the folders that it may include from, besides itself
ALLOWED = {
    "base": [],
    "runtime/tensor": [],
    "runtime/formats": ["base", "runtime/tensor"],
    "runtime/kernels": ["base", "runtime/tensor"],
    "runtime/tokenizer": ["base", "runtime/formats"],
    "runtime/grammar": ["base", "runtime/tokenizer"],
    "runtime/media": ["base"],
    "runtime/model": ["base", "runtime/tensor", "runtime/formats", "runtime/kernels", "runtime/media"],
    "runtime/engine": ["base", "runtime/formats", "runtime/kernels", "runtime/media", "runtime/model", "runtime/tokenizer"],
    "runtime/quantize": ["base", "runtime/tensor", "runtime/formats", "runtime/model", "runtime/tokenizer", "runtime/engine"],
    "runtime/bench": ["base", "runtime/engine"],
    "runtime/chat": ["base", "runtime/engine", "runtime/grammar", "runtime/media", "runtime/tokenizer"],
    "runtime/service": ["base", "runtime/chat", "runtime/engine", "runtime/formats", "runtime/model", "runtime/tensor", "runtime/tokenizer"],
    "app/serve": ["base", "runtime/chat", "runtime/media", "runtime/service"],
    "app/c_library": ["base", "runtime/chat", "runtime/engine", "runtime/service"],
    "app/cli": ["app/serve", "base", "runtime/bench", "runtime/chat", "runtime/engine", "runtime/formats", "runtime/grammar", "runtime/kernels",
                "runtime/quantize", "runtime/service", "runtime/tensor", "runtime/tokenizer"],
}
# headers that one folder wraps for all the others, and those that none may include
WRAPPED = {
    "base": r"(unistd|fcntl|termios|signal|poll|pthread|sched|dlfcn|dirent|windows|io|direct|process)\.h|csignal|(sys|netinet|arpa)/.+",
    "runtime/media": r"(png|jpeglib|jerror|gif_lib|sndfile|mpg123|soxr)\.h|webp/.+",
    "app/serve": r"(boost|openssl)/.+",
    "app/cli": r"CLI/.+",
    None: r"iostream|regex",
}
# Includes are written from these folders.
ROOTS = ["", "runtime/", "app/"]
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*[<"]([^>"]+)[>"]', re.M)


def folder_of(path, folders):
    return next((folder for folder in folders if path.startswith(folder + "/")), None)


def included_folder(name, folders):
    """The folder that an include's name leads to; None: a system's or library's header, or a neighbour named without a folder."""
    return next((folder for root in ROOTS if (folder := folder_of(root + name, folders))), None)


def check(files, allowed):
    """files: path under src -> text. Returns the complaints."""
    problems, unused = [], {(folder, target) for folder, targets in allowed.items() for target in targets}
    order = list(allowed)
    for folder, target in sorted(unused):
        if target not in order or order.index(target) >= order.index(folder):
            problems.append(f"tools/check_layers.py: {folder} may not be allowed {target}, which is not above it in the table")
    for path, text in sorted(files.items()):
        own = folder_of(path, allowed)
        if own is None:
            problems.append(f"src/{path}: its folder is not in the table of tools/check_layers.py")
            continue
        for name in INCLUDE.findall(text):
            target = included_folder(name, allowed)
            if target is None:
                keeper = next((keeper for keeper, names in WRAPPED.items() if re.fullmatch(names, name)), own)
                if keeper != own:
                    problems.append(f"src/{path}: <{name}> " + (f"is wrapped by src/{keeper}" if keeper else "is not for this project"))
            elif target != own:
                unused.discard((own, target))
                if target not in allowed[own]:
                    problems.append(f'src/{path}: includes "{name}", but {own} may not depend on {target}')
    problems += [f"tools/check_layers.py: {own} includes nothing from {target}: take the permission away" for own, target in sorted(unused)]
    return problems


def self_test():
    allowed = {"base": [], "runtime/low": ["base"], "runtime/high": ["base", "runtime/low"]}
    sound = {"base/a.h": "#include <unistd.h>", "runtime/low/b.h": '#include "base/a.h"\n#include <vector>',
             "runtime/high/c.cc": '#include "low/b.h"\n  #  include <base/a.h>\n#include "c.h"'}

    def complains(what, changes, table=allowed):
        problems = check({**sound, **changes}, table)
        assert any(what in p for p in problems), (what, problems)

    assert check(sound, allowed) == [], check(sound, allowed)
    complains("runtime/low may not depend on runtime/high", {"runtime/low/d.h": '#include "high/c.h"'})
    complains("runtime/low may not depend on runtime/high", {"runtime/low/d.h": '#include "runtime/high/c.h"'})
    complains("base may not depend on runtime/low", {"base/d.h": "#include <low/b.h>"})
    complains("<sys/mman.h> is wrapped by src/base", {"runtime/low/d.h": "#include <sys/mman.h>"})
    complains("<unistd.h> is wrapped by src/base", {"runtime/high/d.cc": "#include <unistd.h>"})
    complains("<png.h> is wrapped by src/runtime/media", {"base/d.cc": "#include <png.h>"})
    complains("<regex> is not for this project", {"base/d.cc": "#include <regex>"})
    complains("take the permission away", {"runtime/high/c.cc": '#include "low/b.h"'})
    complains("not in the table", {"other/x.h": ""})
    complains("not above it", {}, {**allowed, "base": ["runtime/high"]})


def main():
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        return 0
    files = {p.relative_to(SOURCE).as_posix(): p.read_text(encoding="utf-8") for p in SOURCE.rglob("*") if p.suffix in (".h", ".cc")}
    problems = check(files, ALLOWED)
    print("".join(f"{p}\n" for p in problems), end="")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
