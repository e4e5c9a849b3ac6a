#!/usr/bin/env python3
"""The ten files that took longest to compile, from the logs of Ninja builds: slowest.py FOLDER…"""
import pathlib
import sys

times = {}
for folder in sys.argv[1:]:
    log = pathlib.Path(folder) / ".ninja_log"
    for line in log.read_text().split("\n")[1:] if log.exists() else []:
        part = line.split("\t")  # start and end in ms, time stamp, output, hash of the command
        if len(part) == 5 and part[3].endswith(".o"):
            name = part[3].removesuffix(".o").replace("CMakeFiles/", "")
            times[f"{folder.rstrip('/')}: {name}"] = (int(part[1]) - int(part[0])) / 1000
for name, seconds in sorted(times.items(), key=lambda item: -item[1])[:10]:
    print(f"{seconds:6.1f} s  {name}")
