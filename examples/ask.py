#!/usr/bin/env python3
"""Asks a model in Python, with nothing but its standard library.   ask.py [--library FILE] [--model MODEL] CHAT.json

CHAT.json is a conversation as `lapidary run --chat` takes it, with the tools that the model may call. The answer is printed as it is
written, then the calls, as JSON. Without --model: Spark, the small model that comes with Lapidary.
"""
import argparse
import ctypes
import json
import os
import sys
from ctypes import POINTER, byref, c_char_p, c_double, c_int32, c_int64, c_size_t, c_uint64, c_void_p

EVENT_TEXT, EVENT_TOOL_CALL, EVENT_ERROR = 8, 9, 12
WHOLE_STRING = c_size_t(-1)


class Event(ctypes.Structure):  # lapidary_event, as far as it is used here: more fields may follow
    _fields_ = [("struct_size", c_size_t), ("type", c_int32), ("status", c_int32), ("text", c_char_p), ("text_bytes", c_size_t),
                ("name", c_char_p), ("id", c_char_p)]


CALLBACK = ctypes.CFUNCTYPE(c_int32, c_void_p, POINTER(Event))


class GenerationOptions(ctypes.Structure):  # lapidary_generation_options, whole: its size has to be right
    _fields_ = [("struct_size", c_size_t), ("callback", CALLBACK), ("user", c_void_p), ("reply_tokens_max", c_int64),
                ("thinking_tokens_max", c_int64), ("deadline_seconds", c_double), ("think", c_int32), ("background", c_int32),
                ("drop_oldest_turns", c_int32), ("image_tokens", c_int32), ("greedy", c_int32), ("top_k", c_int32),
                ("temperature", c_double), ("top_p", c_double), ("min_p", c_double), ("seed", c_uint64),
                ("stop_strings", POINTER(c_char_p)), ("stop_string_count", c_size_t), ("constraint", c_int32),
                ("probabilities", c_int32), ("constraint_text", c_char_p), ("tool_choice", c_char_p)]

    def __init__(self, **fields):
        super().__init__(struct_size=ctypes.sizeof(GenerationOptions), **fields)


def load(path):
    library = ctypes.CDLL(path)
    library.lapidary_error_text.restype = c_char_p
    signatures = {
        "lapidary_model_open": [c_char_p, c_void_p, POINTER(c_void_p)], "lapidary_model_close": [c_void_p],
        "lapidary_session_open": [c_void_p, POINTER(c_void_p)], "lapidary_session_close": [c_void_p],
        "lapidary_session_append_json": [c_void_p, c_char_p, c_size_t, c_char_p],
        "lapidary_generation_start": [c_void_p, POINTER(GenerationOptions), POINTER(c_void_p)],
        "lapidary_generation_wait": [c_void_p, c_double], "lapidary_generation_close": [c_void_p]}

    def check(status, function, _):
        if status != 0:
            raise RuntimeError(f"{function.__name__}: {library.lapidary_error_text().decode()}")

    for name, arguments in signatures.items():
        function = getattr(library, name)
        function.argtypes, function.restype, function.errcheck = arguments, c_int32, check
    return library


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--library", default="liblapidary.so.0")
    parser.add_argument("--model")
    parser.add_argument("chat")
    words = parser.parse_args()
    lapidary = load(words.library)
    calls = []

    @CALLBACK
    def on_event(_, event):  # on a thread of the library's
        event = event.contents
        if event.type == EVENT_TEXT:
            print(event.text.decode(), end="", flush=True)
        elif event.type == EVENT_TOOL_CALL:
            calls.append({"name": event.name.decode(), "arguments": json.loads(event.text)})
        return 0  # anything else cancels

    model, session, generation = c_void_p(), c_void_p(), c_void_p()
    lapidary.lapidary_model_open(words.model.encode() if words.model else None, None, byref(model))
    try:
        lapidary.lapidary_session_open(model, byref(session))
        with open(words.chat, "rb") as chat:
            folder = os.path.dirname(os.path.abspath(words.chat))
            lapidary.lapidary_session_append_json(session, chat.read(), WHOLE_STRING, folder.encode())
        options = GenerationOptions(callback=on_event, greedy=1, reply_tokens_max=512)
        lapidary.lapidary_generation_start(session, byref(options), byref(generation))
        lapidary.lapidary_generation_wait(generation, -1)
        print()
        for call in calls:
            print(json.dumps(call))
    finally:
        lapidary.lapidary_generation_close(generation)
        lapidary.lapidary_session_close(session)
        lapidary.lapidary_model_close(model)


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, OSError) as error:
        sys.exit(f"ask.py: {error}")
