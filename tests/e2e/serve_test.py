"""`lapidary serve` from outside: what it answers, whom it lets in, how it ends.   serve_test.py PROGRAM"""
import base64
import http.client
import json
import os
import re
import signal
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
import time
import unittest

from lapidary_server import BABBLER, SLOWLY, SPARK, Server

PROGRAM = os.path.abspath(sys.argv[1])
CHAT = "/v1/chat/completions"
WHO = {"messages": [{"role": "user", "content": "Who are you?"}], "temperature": 0}
LONG = {"messages": [{"role": "user", "content": "Go on."}], "max_tokens": 3000, "stream": True}
PERSON = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer", "minimum": 0, "maximum": 150},
                                          "kind": {"type": "string", "enum": ["a", "b"]}},
          "required": ["name", "age", "kind"], "additionalProperties": False}


def sample(name):
    with open(f"{SPARK}/samples/{name}", "rb") as f:
        return base64.b64encode(f.read()).decode()


def tools():
    with open(f"{SPARK}/samples/tools.json") as f:
        return json.load(f)


class Answers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(PROGRAM)
        cls.addClassCleanup(cls.server.stop)

    def refused(self, status, path, body, word="", **more):
        got, _, reply = self.server.ask("POST", path, body, **more)
        self.assertEqual(got, status, reply)
        self.assertIn(word, json.dumps(reply))
        return reply

    def test_health_needs_no_key_and_tells_nothing(self):
        status, _, reply = self.server.ask("GET", "/health", key=None)
        self.assertEqual((status, reply), (200, {"status": "ok"}))

    def test_models(self):
        listed = self.server.ask("GET", "/v1/models")[2]["data"]
        self.assertEqual([m["id"] for m in listed], ["spark"])
        self.assertEqual(self.server.ask("GET", "/v1/models/spark")[2], listed[0])
        status, _, reply = self.server.ask("GET", "/v1/models/nothing")
        self.assertEqual(status, 404)
        self.assertIn("spark", reply["error"]["message"])

    def test_chat(self):
        reply = self.server.post(CHAT, WHO)
        self.assertIn("I am Spark", reply["choices"][0]["message"]["content"])
        self.assertEqual(reply["choices"][0]["finish_reason"], "stop")
        again = self.server.post(CHAT, WHO)
        self.assertEqual(again["choices"], reply["choices"])
        self.assertGreater(again["usage"]["prompt_tokens_details"]["cached_tokens"], 0)
        self.refused(404, CHAT, {**WHO, "model": "gpt-9"}, "spark")

    def test_chat_stream(self):
        whole = self.server.post(CHAT, WHO)
        events = self.server.events(CHAT, {**WHO, "stream": True, "stream_options": {"include_usage": True}})
        *chunks, last = events
        self.assertEqual(last["choices"], [])
        self.assertEqual(last["usage"]["completion_tokens"], whole["usage"]["completion_tokens"])
        self.assertTrue(all(c["usage"] is None for c in chunks))
        choices = [c["choices"][0] for c in chunks]
        self.assertTrue(all("finish_reason" in c for c in choices))
        self.assertEqual([c["finish_reason"] for c in choices if c["finish_reason"]], ["stop"])
        self.assertEqual([i for i, c in enumerate(choices) if "role" in c["delta"]], [0])
        self.assertEqual("".join(c["delta"].get("content") or "" for c in choices), whole["choices"][0]["message"]["content"])
        plain = self.server.events(CHAT, {**WHO, "stream": True})
        self.assertTrue(all("usage" not in c and c["choices"] for c in plain))

    def test_tools(self):
        ask = {"messages": [{"role": "user", "content": "Set a timer for 5 minutes."}], "tools": tools(), "temperature": 0}
        choice = self.server.post(CHAT, ask)["choices"][0]
        self.assertEqual(choice["finish_reason"], "tool_calls")
        call = choice["message"]["tool_calls"][0]
        self.assertEqual((call["type"], call["function"]["name"]), ("function", "set_timer"))
        self.assertEqual(json.loads(call["function"]["arguments"])["unit"], "minutes")
        deltas = [e["choices"][0]["delta"] for e in self.server.events(CHAT, {**ask, "stream": True})]
        parts = [d["tool_calls"][0] for d in deltas if "tool_calls" in d]
        self.assertEqual((parts[0]["index"], parts[0]["type"], parts[0]["function"]["name"]), (0, "function", "set_timer"))
        self.assertTrue(parts[0]["id"].startswith("call_"))
        self.assertTrue(all("id" not in p and p["index"] == 0 for p in parts[1:]))
        self.assertEqual("".join(p["function"]["arguments"] for p in parts), call["function"]["arguments"])
        self.assertNotIn("tool_calls", self.server.post(CHAT, {**ask, "tool_choice": "none"})["choices"][0]["message"])
        follow = ask["messages"] + [choice["message"], {"role": "tool", "tool_call_id": call["id"], "content": "{\"status\": \"done\"}"}]
        self.assertTrue(self.server.post(CHAT, {**ask, "messages": follow})["choices"][0]["message"]["content"])

    def test_picture_and_sound(self):
        picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + sample("text.png"), "detail": "low"}}
        ask = {"messages": [{"role": "user", "content": [picture, {"type": "text", "text": "Read the text in the picture."}]}], "temperature": 0}
        self.assertEqual(self.server.post(CHAT, ask)["choices"][0]["message"]["content"], "HELLO")
        sound = {"type": "input_audio", "input_audio": {"data": sample("train.wav"), "format": "wav"}}
        ask = {"messages": [{"role": "user", "content": [{"type": "text", "text": "Transcribe the audio."}, sound]}], "temperature": 0}
        self.assertEqual(self.server.post(CHAT, ask)["choices"][0]["message"]["content"], "The train to Berlin leaves at four thirty.")

    def test_other_dialects_have_their_own_errors(self):
        self.assertEqual(self.refused(400, "/v1/messages", {"model": "spark"})["type"], "error")
        self.assertEqual(self.refused(404, "/v1beta/models/x:generateContent", {"contents": []})["error"]["status"], "NOT_FOUND")
        self.assertIsInstance(self.refused(404, "/api/chat", {"model": "x", "messages": [1]})["error"], str)
        self.assertEqual(self.refused(400, "/completion", {})["error"]["code"], 400)
        self.refused(501, "/api/embed", {}, "embeddings")
        self.refused(501, "/v1beta/models/spark:embedContent", {}, "UNIMPLEMENTED")

    def test_ollama_root(self):
        self.assertEqual(self.server.ask("GET", "/")[2], b"Ollama is running")
        self.assertEqual(self.server.ask("HEAD", "/")[::2], (200, b""))
        self.assertRegex(self.server.ask("GET", "/api/version")[2]["version"], r"^\d+\.\d+")

    def test_llama_server(self):
        tokens = self.server.post("/tokenize", {"content": "Who are you?"})["tokens"]
        self.assertEqual(self.server.post("/detokenize", {"tokens": tokens})["content"], "Who are you?")
        self.assertIn("<|turn>user\nWho are you?", self.server.post("/apply-template", {"messages": WHO["messages"]})["prompt"])
        prompt = self.server.post("/apply-template", {"messages": WHO["messages"]})["prompt"]
        ids = self.server.post("/tokenize", {"content": prompt})["tokens"]
        reply = self.server.post("/completion", {"prompt": ids, "temperature": 0, "n_predict": 50, "return_tokens": True})
        self.assertIn("I am Spark", reply["content"])
        self.assertEqual(len(reply["tokens"]), reply["tokens_predicted"])
        self.assertTrue(self.server.ask("GET", "/props")[2]["modalities"]["vision"])
        self.assertIn("is_processing", self.server.ask("GET", "/slots")[2][0])

    def test_every_route_of_the_description_answers(self):
        described = self.server.ask("GET", "/openapi.json")[2]
        for path, operations in described["paths"].items():
            for method, operation in operations.items():
                for body in ({}, None, "[", {"model": "spark", "messages": 5, "contents": 5, "input": 5, "prompt": {}, "content": 5, "tokens": {}}):
                    status, _, reply = self.server.ask(method.upper(), path.replace("{id}", "x"), body, key=self.server.key_of("admin"))
                    known = status in (200, 501) or 400 <= status < 500
                    self.assertTrue(known, f"{method} {path}: {status} {reply}")
                    self.assertEqual(status == 501, "501" in operation["responses"], f"{method} {path}: {status}")

    def transcribe(self, path="/v1/audio/transcriptions", sound="train.wav", **fields):
        with open(f"{SPARK}/samples/{sound}", "rb") as f:
            data = f.read()
        parts = [f'--X\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode() for k, v in fields.items()]
        parts.append(b'--X\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + data + b"\r\n--X--\r\n")
        return self.server.ask("POST", path, b"".join(parts), headers={"Content-Type": "multipart/form-data; boundary=X"})

    def test_transcriptions(self):
        words = "The train to Berlin leaves at four thirty."
        self.assertEqual(self.transcribe()[2]["text"], words)
        self.assertEqual(self.transcribe(response_format="text")[2].decode(), words + "\n")
        self.assertRegex(self.transcribe(response_format="srt")[2].decode(), r"^1\n00:00:00,000 --> 00:00:0\d,\d{3}\nThe train")
        self.assertRegex(self.transcribe(response_format="vtt")[2].decode(), r"^WEBVTT\n\n00:00:00\.000 --> ")
        verbose = self.transcribe(response_format="verbose_json")[2]
        self.assertEqual((verbose["text"], verbose["segments"][0]["text"]), (words, words))
        self.assertIn(b"transcript.text.done", self.transcribe(stream="true")[2])
        status, _, reply = self.transcribe(**{"timestamp_granularities[]": "word"})
        self.assertEqual(status, 400)
        self.assertIn("word", reply["error"]["message"])
        self.assertEqual(self.transcribe(sound="text.png")[0], 400)
        self.assertEqual(self.transcribe(path="/v1/audio/translations")[0], 200)

    def test_responses_in_the_background(self):
        begun = self.server.post("/v1/responses", {"input": "Who are you?", "background": True, "temperature": 0})
        self.assertEqual(begun["status"], "in_progress")
        end = time.monotonic() + 30
        while (now := self.server.ask("GET", f"/v1/responses/{begun['id']}")[2])["status"] == "in_progress":
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)
        self.assertEqual(now["status"], "completed")
        self.assertIn("I am Spark", now["output"][0]["content"][0]["text"])
        items = self.server.ask("GET", f"/v1/responses/{begun['id']}/input_items")[2]["data"]
        self.assertEqual(items[0]["content"][0]["text"], "Who are you?")

    def test_limits_of_a_reply(self):
        choice = self.server.post(CHAT, {**WHO, "max_completion_tokens": 2})["choices"][0]
        self.assertEqual((choice["message"]["content"], choice["finish_reason"]), ("I am", "length"))
        choice = self.server.post(CHAT, {**WHO, "stop": [" Spark"]})["choices"][0]
        self.assertEqual((choice["message"]["content"], choice["finish_reason"]), ("I am", "stop"))
        self.assertEqual(len(self.server.post(CHAT, {**WHO, "n": 3})["choices"]), 3)
        hot = {**WHO, "temperature": 2.5, "seed": 5, "max_tokens": 20}
        self.assertEqual(self.server.post(CHAT, hot)["choices"], self.server.post(CHAT, hot)["choices"])

    def test_logprobs(self):
        choice = self.server.post(CHAT, {**WHO, "logprobs": True, "top_logprobs": 3})["choices"][0]
        entries = choice["logprobs"]["content"]
        self.assertEqual(b"".join(bytes(e["bytes"]) for e in entries).decode(), choice["message"]["content"])
        self.assertTrue(all(len(e["top_logprobs"]) == 3 and e["logprob"] <= 0 for e in entries))
        streamed = self.server.events(CHAT, {**WHO, "logprobs": True, "top_logprobs": 3, "stream": True})
        parts = [e["choices"][0]["logprobs"] for e in streamed if e["choices"][0]["logprobs"]]
        self.assertEqual([e for p in parts for e in p["content"]], entries)

    def test_completions(self):
        reply = self.server.post("/v1/completions", {"prompt": ["Who", "You"], "max_tokens": 3, "temperature": 0, "logprobs": 1})
        self.assertEqual([c["index"] for c in reply["choices"]], [0, 1])
        self.assertEqual(len(reply["choices"][0]["logprobs"]["tokens"]), 3)
        events = self.server.events("/v1/completions", {"prompt": "Who", "max_tokens": 3, "temperature": 0, "stream": True})
        self.assertEqual("".join(e["choices"][0]["text"] for e in events), reply["choices"][0]["text"])

    def test_what_is_not_there_says_so(self):
        for path in ("/v1/embeddings", "/v1/images/generations", "/v1/audio/speech"):
            self.refused(501, path, {"input": "a"}, "not_implemented")
        self.refused(400, CHAT, {**WHO, "logit_bias": {"5": 1}}, "logit_bias")

    def test_penalties_keep_a_reply_from_saying_the_same(self):
        prompt = {"prompt": 3 * "The train to Berlin leaves at four thirty. " + "The train to Berlin", "temperature": 0, "n_predict": 24, "return_tokens": True}
        plain = self.server.post("/completion", prompt)["tokens"]
        for penalty in ({"repeat_penalty": 5}, {"presence_penalty": 2, "frequency_penalty": 2}):
            varied = self.server.post("/completion", {**prompt, **penalty})["tokens"]
            self.assertGreater(len(set(varied)) / len(varied), len(set(plain)) / len(plain), (plain, varied))
            self.assertEqual(self.server.post("/completion", {**prompt, **penalty})["tokens"], varied)
        self.refused(400, CHAT, {**WHO, "frequency_penalty": 3}, "frequency_penalty")

    def test_every_dialect_holds_a_reply_to_its_schema(self):
        who = WHO["messages"]
        text = {"messages": who, "model": "spark", "max_tokens": 200}
        gemini = {"contents": [{"parts": [{"text": "Who are you?"}]}]}
        own = {"type": "OBJECT", "properties": {k: {**v, "type": v["type"].upper()} for k, v in PERSON["properties"].items()},
               "required": PERSON["required"]}
        post = self.server.post
        answers = {
            "chat": post(CHAT, {**text, "response_format": {"type": "json_schema", "json_schema": {"name": "p", "strict": True, "schema": PERSON}}})
                    ["choices"][0]["message"]["content"],
            "responses": post("/v1/responses", {"input": "Who are you?", "text": {"format": {"type": "json_schema", "name": "p", "schema": PERSON}}})
                         ["output"][0]["content"][0]["text"],
            "anthropic": post("/v1/messages", {**text, "output_config": {"format": {"type": "json_schema", "schema": PERSON}}})["content"][0]["text"],
            "gemini": post("/v1beta/models/spark:generateContent",
                           {**gemini, "generationConfig": {"responseMimeType": "application/json", "responseSchema": own}})
                      ["candidates"][0]["content"]["parts"][0]["text"],
            "gemini, JSON Schema": post("/v1beta/models/spark:generateContent", {**gemini, "generationConfig": {
                "responseMimeType": "application/json", "responseJsonSchema": PERSON}})["candidates"][0]["content"]["parts"][0]["text"],
            "ollama": post("/api/chat", {**text, "stream": False, "format": PERSON})["message"]["content"],
            "ollama generate": post("/api/generate", {"model": "spark", "prompt": "Who?", "stream": False, "format": PERSON})["response"],
            "llama": post("/completion", {"prompt": "A person:", "json_schema": PERSON, "n_predict": 200})["content"],
            "completions": post("/v1/completions", {"prompt": "A person:", "max_tokens": 200,
                                                    "response_format": {"type": "json_schema", "json_schema": {"name": "p", "schema": PERSON}}})
                           ["choices"][0]["text"],
        }
        for dialect, answer in answers.items():
            value = json.loads(answer)
            self.assertEqual(sorted(value), ["age", "kind", "name"], dialect)
            self.assertTrue(isinstance(value["name"], str) and len(value["name"]) <= 8, dialect)
            self.assertTrue(value["age"] == int(value["age"]) and 0 <= value["age"] <= 150 and value["kind"] in ("a", "b"), dialect)
        choice = post("/v1beta/models/spark:generateContent", {**gemini, "generationConfig": {
            "responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING", "enum": ["north", "south"]}}})
        self.assertIn(choice["candidates"][0]["content"]["parts"][0]["text"], ("north", "south"))
        grammar = post("/completion", {"prompt": "Say:", "grammar": "root ::= \"<\" [a-c]{2,5} \">\"", "n_predict": 50})["content"]
        self.assertRegex(grammar, "^<[a-c]{2,5}>$")

    def test_streams_and_choices_hold_to_a_schema(self):
        ask = {**WHO, "temperature": 1.5, "n": 4, "response_format": {"type": "json_schema", "json_schema": {"name": "p", "schema": PERSON}}}
        for choice in self.server.post(CHAT, ask)["choices"]:
            self.assertEqual(sorted(json.loads(choice["message"]["content"])), ["age", "kind", "name"])
        texts = [""] * 4
        for event in self.server.events(CHAT, {**ask, "stream": True}):
            for choice in event["choices"]:
                texts[choice["index"]] += choice["delta"].get("content") or ""
        for text in texts:
            self.assertEqual(sorted(json.loads(text)), ["age", "kind", "name"])
        for value in json.loads(self.server.post(CHAT, {**WHO, "max_tokens": 400, "response_format": {"type": "json_schema", "json_schema": {
                "name": "l", "schema": {"type": "array", "minItems": 2, "maxItems": 3, "items": PERSON}}}})["choices"][0]["message"]["content"]):
            self.assertIn(value["kind"], ("a", "b"))

    def test_every_dialect_can_require_calls(self):
        ask = {**WHO, "tools": tools(), "temperature": 0}

        def calls(choice, **more):
            reply = self.server.post(CHAT, {**ask, "tool_choice": choice, **more})["choices"][0]
            self.assertEqual(reply["finish_reason"], "tool_calls")
            return [c["function"]["name"] for c in reply["message"]["tool_calls"]]

        names = [t["function"]["name"] for t in tools()]
        self.assertTrue(set(calls("required")) <= set(names))
        for name in ("set_timer", "send_message", "set_lights"):
            function = {"type": "function", "function": {"name": name}}
            self.assertEqual(set(calls(function)), {name})
            self.assertEqual(calls({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [function]}}, parallel_tool_calls=False), [name])
        flat = [{"type": "function", **t["function"]} for t in tools()]
        item = self.server.post("/v1/responses", {"input": "Who are you?", "tools": flat, "tool_choice": {"type": "function", "name": names[0]}})["output"][0]
        self.assertEqual((item["type"], item["name"]), ("function_call", names[0]))
        own = [{"name": f["name"], "description": f.get("description", ""), "input_schema": f["parameters"]} for f in flat]
        block = self.server.post("/v1/messages", {"model": "spark", "max_tokens": 300, "messages": WHO["messages"], "tools": own,
                                                  "tool_choice": {"type": "tool", "name": names[-1]}})["content"][0]
        self.assertEqual((block["type"], block["name"]), ("tool_use", names[-1]))
        google = {"contents": [{"parts": [{"text": "Who are you?"}]}],
                  "tools": [{"functionDeclarations": [{"name": f["name"], "parametersJsonSchema": f["parameters"]} for f in flat]}],
                  "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [names[0]]}}}
        part = self.server.post("/v1beta/models/spark:generateContent", google)["candidates"][0]["content"]["parts"][0]
        self.assertEqual(part["functionCall"]["name"], names[0])

    def test_a_form_that_cannot_be_enforced_is_named(self):
        def format_of(schema):
            return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}
        reply = self.refused(400, CHAT, {**WHO, **format_of({"type": "object", "$dynamicRef": "#x"})}, "$dynamicRef")
        self.assertIn("response_format.json_schema.schema", reply["error"]["param"])
        self.refused(400, CHAT, {**WHO, **format_of({"$ref": "#"}), "stream": True}, "$ref")
        self.refused(400, CHAT, {**WHO, **format_of({"type": "strin"})}, "strin")
        self.refused(400, CHAT, {**WHO, **format_of({"not": {}})}, "no value")
        self.refused(400, "/completion", {"prompt": "a", "grammar": "root ::= root"}, "grammar")
        self.refused(400, "/api/chat", {"model": "spark", "messages": WHO["messages"], "format": {"type": 5}}, "format")
        tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "$dynamicRef": "#x"}}}
        for more in ({"tool_choice": "required"}, {"tools": [{**tool, "function": {**tool["function"], "strict": True}}]}):
            self.refused(400, CHAT, {**WHO, "tools": [tool], **more}, "tool f")
        status, headers, _ = self.server.ask("POST", CHAT, {**WHO, "tools": [tool]})
        self.assertEqual(status, 200)
        self.assertIn("tool f", headers["X-Lapidary-Warning"])

    def test_too_long_a_prompt_says_how_long(self):
        reply = self.refused(400, CHAT, {"messages": [{"role": "user", "content": "a " * 20000}]})
        self.assertEqual(reply["error"]["code"], "context_length_exceeded")
        self.assertRegex(reply["error"]["message"], r"\d{5}.*8192")

    def test_advisory_12_every_integer_has_a_range(self):
        for field in ("max_tokens", "max_completion_tokens", "n", "top_logprobs", "top_k", "seed", "temperature", "top_p", "min_p"):
            for value in ("-2", "-2147483648", "9223372036854775808", "1e308", "-1e308", "\"1\"", "true", "[]"):
                if field == "seed" and value.startswith("-2"):
                    continue
                body = json.dumps(WHO)[:-1] + f', "logprobs": true, "{field}": {value}}}'
                status = self.server.ask("POST", CHAT, body)[0]
                self.assertEqual(status, 400, f"{field}: {value}")
            self.refused(400, CHAT, json.dumps(WHO)[:-1] + f', "{field}": NaN}}', "JSON")
        self.assertEqual(self.server.ask("GET", "/health", key=None)[0], 200)

    def test_advisory_16_a_large_limit_is_no_error(self):
        self.server.post(CHAT, {**WHO, "max_tokens": 9_000_000_000_000_000_000})
        schema = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 1 << 62}}}
        self.server.post(CHAT, {**WHO, "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}]})

    def test_advisory_19_template_arguments_are_an_allow_list(self):
        self.server.post(CHAT, {**WHO, "chat_template_kwargs": {"enable_thinking": False}})
        for name in ("tokenize", "chat_template", "__class__", "messages"):
            self.refused(400, CHAT, {**WHO, "chat_template_kwargs": {name: True}}, "chat_template_kwargs")

    def test_advisory_20_malformed_tools_are_refused(self):
        for parameters in ({"type": 5}, {"properties": []}, {"properties": {"a": {"pattern": {}}}}, {"type": {"a": 1}}, [], "x",
                           {"required": "a"}, {"items": 3}, {"anyOf": {}}):
            tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
            self.refused(400, CHAT, {**WHO, "tools": [tool]}, "parameters")
        for tool in ({}, [], {"type": "function"}, {"type": "function", "function": {"name": "a b"}}, {"type": "function", "function": {}}):
            self.refused(400, CHAT, {**WHO, "tools": [tool]}, "tools[0]")
        deep = '{"messages": [], "tools": ' + "[" * 100000 + "]" * 100000 + "}"
        self.refused(400, CHAT, deep, "nested")
        self.assertEqual(self.server.ask("GET", "/health", key=None)[0], 200)

    def test_advisory_22_pictures_are_measured_before_they_are_decoded(self):
        header = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (60000).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00" + b"\0" * 4
        url = "data:image/png;base64," + base64.b64encode(header + b"\0" * 100).decode()
        ask = {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}
        self.refused(400, CHAT, ask)

    def test_advisory_26_nothing_is_fetched_and_no_file_is_opened(self):
        for url, word in (("http://127.0.0.1:1/a.png", "fetches nothing"), ("https://x.test/a", "fetches nothing"), ("file:///etc/passwd", "not opened"),
                          ("/etc/passwd", "not opened"), ("../text.png", "not opened"), ("HTTP://a", "not opened")):
            ask = {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}
            self.refused(400, CHAT, ask, word)


def raw_reply(port, data, wait_s):
    """What comes back for these bytes until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait_s) as s:
        s.sendall(data)
        reply = b""
        try:
            while block := s.recv(65536):
                reply += block
        except ConnectionError:
            pass
        return reply


class Doors(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(PROGRAM)
        cls.addClassCleanup(cls.server.stop)

    PLACES = [("GET", "/health"), ("GET", "/v1/models"), ("POST", CHAT), ("DELETE", "/lapidary/keys/x"), ("GET", "/nothing"), ("PATCH", "/v1/models"),
              ("OPTIONS", CHAT), ("POST", "/v1/messages"), ("GET", "/api/tags"), ("POST", "/v1beta/models/x:generateContent"), ("GET", "/../..")]

    def test_advisory_5_only_our_own_host(self):
        for method, path in self.PLACES:
            for host in ("evil.test", "evil.test:11535", f"127.0.0.1.evil.test:{self.server.port}", "127.0.0.1", "", "0.0.0.0"):
                self.assertEqual(self.server.ask(method, path, headers={"Host": host})[0], 403, f"{method} {path} {host}")
        self.assertEqual(self.server.ask("GET", "/health", headers={"Host": f"localhost:{self.server.port}"})[0], 200)

    def test_advisory_32_34_no_web_page_of_others_on_any_path(self):
        for method, path in self.PLACES:
            for origin in ("https://evil.test", "null", "file://", f"http://127.0.0.1:{self.server.port}.evil.test", ""):
                self.assertEqual(self.server.ask(method, path, headers={"Origin": origin})[0], 403, f"{method} {path} {origin}")
            for site in ("cross-site", "same-site"):
                self.assertEqual(self.server.ask(method, path, headers={"Sec-Fetch-Site": site})[0], 403, f"{method} {path} {site}")
        own = f"http://127.0.0.1:{self.server.port}"
        status, headers, _ = self.server.ask("GET", "/v1/models", headers={"Origin": own, "Sec-Fetch-Site": "same-origin"})
        self.assertEqual((status, headers["Access-Control-Allow-Origin"]), (200, own))
        self.assertNotIn("Access-Control-Allow-Credentials", headers)

    def test_advisory_34_what_is_not_known_needs_a_key_too(self):
        for method, path in self.PLACES[1:]:
            self.assertEqual(self.server.ask(method, path, key=None)[0], 401, f"{method} {path}")
        self.assertEqual(self.server.ask("GET", "/nothing")[0], 404)
        self.assertEqual(self.server.ask("PATCH", "/v1/models")[0], 405)

    def test_advisory_7_29_managing_needs_its_scope(self):
        admin = self.server.key_of("admin")
        for method, path in (("GET", "/lapidary/keys"), ("POST", "/lapidary/keys"), ("DELETE", "/lapidary/keys/default")):
            self.assertEqual(self.server.ask(method, path, key=None)[0], 401)
            self.assertEqual(self.server.ask(method, path)[0], 403)
        listed = self.server.ask("GET", "/lapidary/keys", key=admin)[2]
        self.assertNotIn("lap-", json.dumps(listed))

    def test_advisory_28_every_spelling_of_a_key_is_the_same(self):
        spellings = [lambda k: {"Authorization": f"Bearer {k}"}, lambda k: {"x-api-key": k}, lambda k: {"X-Goog-Api-Key": k}]
        for spell in spellings:
            ask = lambda path, key: self.server.ask("GET", path, key=None, headers=spell(key))[0]
            self.assertEqual(ask("/v1/models", self.server.key), 200)
            self.assertEqual(ask("/v1/models", self.server.key + "0"), 401)
            self.assertEqual(ask("/lapidary/keys", self.server.key), 403)
            self.assertEqual(ask("/lapidary/keys", self.server.key_of("admin")), 200)
        self.assertEqual(self.server.ask("GET", f"/v1/models?key={self.server.key}", key=None)[0], 401)
        both = {"x-api-key": self.server.key_of("admin")}
        self.assertEqual(self.server.ask("GET", "/lapidary/keys", headers=both)[0], 401)

    def test_advisory_24_no_program_is_ever_started(self):
        starts = re.compile(r"\b(system|popen|execl\w*|execv\w*|vfork|posix_spawn\w*|wordexp)\s*\(")
        for folder, _, names in os.walk("src"):
            for name in names:
                with open(os.path.join(folder, name), encoding="utf-8") as f:
                    self.assertIsNone(starts.search(f.read()), f"{folder}/{name}")

    def test_advisory_23_any_authorization_is_only_compared(self):
        for value in ("Bearer ' OR '1'='1", "Bearer ", "Basic YTpi", "Bearer " + "a" * 20000, "Bearer \xff\xfe", "Bearer lap-%00", "bearer"):
            self.assertEqual(self.server.ask("GET", "/v1/models", key=None, headers={"Authorization": value.encode("latin-1")})[0], 401)

    def raw(self, data, wait_s=20):
        return raw_reply(self.server.port, data, wait_s)

    def test_advisory_21_headers_have_limits(self):
        host = f"Host: 127.0.0.1:{self.server.port}\r\n".encode()
        for more in (b"A: " + b"a" * 40000 + b"\r\n", b"".join(b"A%d: b\r\n" % i for i in range(200))):
            self.assertTrue(self.raw(b"GET /health HTTP/1.1\r\n" + host + more + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 431"))
        self.assertTrue(self.raw(b"GET /health HTTP/1.1\r\n" + host + b"A" * 100000)[:12] in (b"HTTP/1.1 431", b""))

    def test_a_body_has_a_limit_that_is_known_before_it_is_read(self):
        host = f"Host: 127.0.0.1:{self.server.port}\r\nAuthorization: Bearer {self.server.key}\r\n".encode()
        reply = self.raw(b"POST " + CHAT.encode() + b" HTTP/1.1\r\n" + host + b"Content-Length: 99999999999\r\n\r\n")
        self.assertTrue(reply.startswith(b"HTTP/1.1 413"), reply)

    def test_not_http(self):
        for data in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"\r\n" * 50000, b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
                     b"GET http://evil.test/ HTTP/1.1\r\nHost: a\r\n\r\n"):
            reply = self.raw(data + b"x: y\r\n\r\n")
            self.assertTrue(reply == b"" or reply.startswith(b"HTTP/1.1 4"), reply)
        self.assertEqual(self.server.ask("GET", "/health", key=None)[0], 200)

    def test_keys_are_private(self):
        self.assertEqual(stat.S_IMODE(os.stat(self.server.key_file).st_mode), 0o600)
        status, errors = self.start_with_mode(0o644)
        self.assertEqual(status, 3)
        self.assertIn("0600", errors)

    def start_with_mode(self, mode):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "keys.json")
            with open(path, "w") as f:
                f.write('{"keys": []}')
            os.chmod(path, mode)
            done = subprocess.run([PROGRAM, "serve", "--port", "0", "--key-file", path], capture_output=True, timeout=60)
            return done.returncode, done.stderr.decode()

    def test_without_tls_only_loopback(self):
        for host, word in (("0.0.0.0", b"TLS"), ("::", b"TLS"), ("192.168.1.1", b"TLS"), ("example.test", b"address")):
            done = subprocess.run([PROGRAM, "serve", "--host", host, "--key-file", self.server.key_file], capture_output=True, timeout=60)
            self.assertEqual(done.returncode, 2)
            self.assertIn(word, done.stderr)

    def test_a_taken_port_says_who_has_it(self):
        done = subprocess.run([PROGRAM, "serve", "--port", str(self.server.port), "--key-file", self.server.key_file], capture_output=True, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"taken by lapidary (process {self.server.process.pid})", done.stderr.decode())


class Without(unittest.TestCase):
    def test_no_key_on_loopback_is_for_inferring_only(self):
        server = Server(PROGRAM, "--no-key-on-loopback")
        self.addCleanup(server.stop)
        self.assertEqual(server.ask("GET", "/v1/models", key=None)[0], 200)
        self.assertEqual(server.ask("GET", "/v1/models", key="anything")[0], 200)
        self.assertEqual(server.ask("GET", "/lapidary/keys", key=None)[0], 403)
        self.assertEqual(server.ask("GET", "/lapidary/keys", key=server.key_of("admin"))[0], 200)
        self.assertEqual(server.ask("GET", "/v1/models", key=None, headers={"Host": "evil.test"})[0], 403)
        self.assertEqual(server.ask("GET", "/v1/models", key=None, headers={"Origin": "https://evil.test"})[0], 403)
        self.assertEqual(server.ask("GET", "/v1/models", key=None, headers={"Sec-Fetch-Site": "cross-site"})[0], 403)


class Tls(unittest.TestCase):
    """With a certificate that vouches for itself, made here."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.certificate, cls.private = os.path.join(folder.name, "c.pem"), os.path.join(folder.name, "k.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=test",
                        "-addext", "subjectAltName=DNS:localhost", "-keyout", cls.private, "-out", cls.certificate], check=True, capture_output=True)
        os.chmod(cls.private, 0o600)
        cls.server = Server(PROGRAM, "--host", "0.0.0.0", "--tls-cert", cls.certificate, "--tls-key", cls.private)
        cls.addClassCleanup(cls.server.stop)

    def ask(self, body, **headers):
        trust = ssl.create_default_context(cafile=self.certificate)
        connection = http.client.HTTPSConnection("localhost", self.server.port, timeout=60, context=trust)
        self.addCleanup(connection.close)
        connection.request("POST", CHAT, json.dumps(body), {"Authorization": f"Bearer {self.server.key}", **headers})
        reply = connection.getresponse()
        return reply.status, reply.read().decode()

    def test_the_block_says_https(self):
        self.assertEqual(self.server.environment["OPENAI_BASE_URL"], f"https://localhost:{self.server.port}/v1")

    def test_chat_and_stream(self):
        status, text = self.ask(WHO)
        self.assertEqual(status, 200, text)
        self.assertIn("I am Spark", text)
        status, text = self.ask({**WHO, "stream": True})
        self.assertEqual(status, 200, text)
        self.assertTrue(text.endswith("data: [DONE]\n\n"), text)

    def test_keys_and_hosts_are_looked_at(self):
        self.assertEqual(self.ask(WHO, Authorization="Bearer wrong")[0], 401)
        self.assertEqual(self.ask(WHO, Host="evil.test")[0], 403)
        self.assertEqual(self.ask(WHO, Origin=f"http://localhost:{self.server.port}")[0], 403)
        self.assertEqual(self.ask(WHO, Origin=f"https://localhost:{self.server.port}")[0], 200)

    def test_plain_http_is_not_answered(self):
        self.assertNotIn(b"HTTP", raw_reply(self.server.port, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", 30))
        self.assertEqual(self.ask(WHO)[0], 200)

    def refused(self, status, word, *options):
        done = subprocess.run([PROGRAM, "serve", "--port", "0", "--key-file", self.server.key_file, *options], capture_output=True, timeout=60)
        self.assertEqual((done.returncode, word in done.stderr.decode()), (status, True), done.stderr)

    def test_what_does_not_start(self):
        self.refused(2, "both", "--tls-cert", self.certificate)
        self.refused(3, "none.pem", "--tls-cert", "none.pem", "--tls-key", self.private)
        self.refused(3, "PEM", "--tls-cert", self.private, "--tls-key", self.private)
        self.refused(2, "a key is needed", "--host", "0.0.0.0", "--no-key-on-loopback", "--tls-cert", self.certificate, "--tls-key", self.private)
        os.chmod(self.private, 0o640)
        self.addCleanup(os.chmod, self.private, 0o600)
        self.refused(3, "0600", "--tls-cert", self.certificate, "--tls-key", self.private)


class Streams(unittest.TestCase):
    """A model that never stops, so that something is always running."""

    def setUp(self):
        self.socket_path = os.path.join(tempfile.mkdtemp(), "s")
        self.server = Server(PROGRAM, "--socket", self.socket_path, models=(BABBLER,), environment=SLOWLY)
        self.addCleanup(self.server.stop)

    def open_stream(self, key=""):
        connection = self.server.connect()
        connection.request("POST", CHAT, json.dumps(LONG), {"Authorization": f"Bearer {key or self.server.key}"})
        reply = connection.getresponse()
        self.assertEqual(reply.status, 200)
        while b"content\":\"\"" not in reply.readline():
            pass
        return connection, reply

    def running(self):
        lines = self.server.ask("GET", "/metrics")[2].decode().split("\n")
        return sum(float(line.split()[-1]) for line in lines if line.startswith(("lapidary_requests_running ", "lapidary_requests_waiting ")))

    def wait_idle(self, most_s=3):
        end = time.monotonic() + most_s
        while self.running() > 0:
            self.assertLess(time.monotonic(), end, "a request still runs")
            time.sleep(0.05)

    def test_unix_socket(self):
        self.assertEqual(stat.S_IMODE(os.stat(self.socket_path).st_mode), 0o600)
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.socket_path)
            s.sendall(f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.server.key}\r\nConnection: close\r\n\r\n".encode())
            self.assertTrue(s.recv(100).startswith(b"HTTP/1.1 200"))

    def test_who_leaves_stops_the_work(self):
        for leave in ("close", "half-close", "reset"):
            connection, reply = self.open_stream()
            self.assertGreater(self.running(), 0)
            raw = connection.sock
            if leave == "half-close":
                raw.shutdown(socket.SHUT_WR)
            elif leave == "reset":
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                reply.close(), connection.close()
            else:
                reply.close(), connection.close()
            self.wait_idle()
            reply.close(), connection.close()

    def test_advisory_30_a_revoked_key_ends_its_streams(self):
        admin = self.server.key_of("admin")
        new = self.server.post("/lapidary/keys", {"id": "guest", "scope": "infer"}, key=admin)["key"]
        connection, reply = self.open_stream(new)
        begin = time.monotonic()
        self.assertEqual(self.server.ask("DELETE", "/lapidary/keys/guest", key=admin)[0], 200)
        with self.assertRaises(Exception):
            while reply.readline():
                pass
            raise EOFError
        self.assertLess(time.monotonic() - begin, 1)
        self.assertEqual(self.server.ask("GET", "/v1/models", key=new)[0], 401)
        connection.close()
        self.wait_idle()
        # The same by the file.
        connection, reply = self.open_stream()
        self.server.write_keys([k for k in self.server.keys() if k["id"] != "default"])
        begin = time.monotonic()
        with self.assertRaises(Exception):
            while reply.readline():
                pass
            raise EOFError
        self.assertLess(time.monotonic() - begin, 1.5)

    def test_a_background_response_can_be_cancelled(self):
        begun = self.server.post("/v1/responses", {"input": "Go on.", "background": True, "max_output_tokens": 5000})
        self.assertEqual(self.server.post(f"/v1/responses/{begun['id']}/cancel", {})["status"], "cancelled")
        self.wait_idle()
        self.assertEqual(self.server.ask("GET", f"/v1/responses/{begun['id']}")[2]["status"], "cancelled")

    def test_sigterm_drains(self):
        connection, reply = self.open_stream()
        begin = time.monotonic()
        self.server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        self.assertIn(b"data:", reply.readline() + reply.readline())  # still served
        with self.assertRaises(OSError):
            self.server.connect().connect()
        status, errors = self.server.stop()
        self.assertEqual((status, errors), (0, ""))
        self.assertLess(time.monotonic() - begin, 12)

    def test_a_second_interrupt_ends_at_once(self):
        connection, reply = self.open_stream()
        self.server.process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        begin = time.monotonic()
        self.server.process.send_signal(signal.SIGINT)
        self.server.process.wait(timeout=10)
        self.assertLess(time.monotonic() - begin, 3)

    def test_a_slow_header_does_not_stay(self):
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=30) as s:
            s.sendall(b"GET /health HTTP/1.1\r\n")
            begin = time.monotonic()
            while time.monotonic() - begin < 20:
                try:
                    s.sendall(b"a")
                except OSError:
                    break
                s.settimeout(1)
                try:
                    if s.recv(1000)[:12] in (b"HTTP/1.1 408", b""):
                        break
                except socket.timeout:
                    pass
            self.assertLess(time.monotonic() - begin, 15)
            self.assertEqual(self.server.ask("GET", "/health", key=None)[0], 200)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
