#!/usr/bin/env python3
"""Replies that draws_test wrote, by Python's jsonschema: one more validator that has nothing to do with us.

    draws_check.py FILE    a line is {"schema": …, "value": …}

Ends with status 77 where the package jsonschema is missing.
"""
import json
import sys

try:
    import jsonschema
except ImportError:
    print("skipped: the package jsonschema is not installed")
    sys.exit(77)


def python_pattern(pattern):
    """ECMA's $ is the end alone, and its classes are ASCII."""
    return "(?a)" + pattern.replace("$", r"\Z")


def translated(schema):
    if isinstance(schema, list):
        return [translated(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    result = {}
    for key, value in schema.items():
        if key == "pattern" and isinstance(value, str):
            result[key] = python_pattern(value)
        elif key == "patternProperties":
            result[key] = {python_pattern(p): translated(s) for p, s in value.items()}
        elif key == "properties" or key == "$defs":
            result[key] = {name: translated(s) for name, s in value.items()}
        else:
            result[key] = value if key in ("enum", "const", "required") else translated(value)
    return result


def main():
    count = wrong = 0
    with open(sys.argv[1], encoding="utf-8") as lines:
        for line in lines:
            item = json.loads(line)
            count += 1
            if not jsonschema.Draft202012Validator(translated(item["schema"])).is_valid(item["value"]):
                wrong += 1
                print("not valid:", line.strip()[:2000])
    print(f"jsonschema: {count - wrong} of {count} valid")
    return 1 if wrong or not count else 0


if __name__ == "__main__":
    sys.exit(main())
