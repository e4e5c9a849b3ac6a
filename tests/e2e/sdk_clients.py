"""Drives the official Python clients against a running server. Started by sdk_test.py inside its own environment.

    sdk_clients.py SAMPLES    prints {client: {"version": …, "features": {feature: "yes" | what went wrong}}}

The clients find server and key as their users' do: by the environment that `lapidary serve` prints.
"""
import base64
import importlib.metadata
import json
import os
import sys
import traceback
import typing

SAMPLES = sys.argv[1]
WHO, I_AM = "Who are you?", "I am Spark"
TIMER = "Set a timer for 5 minutes."
READ, TEXT = "Read the text in the picture.", "HELLO"
TRANSCRIBE, TRAIN = "Transcribe the audio.", "The train to Berlin leaves at four thirty."
results = {}


def data(name):
    with open(f"{SAMPLES}/{name}", "rb") as f:
        return f.read()


def base64_of(name):
    return base64.b64encode(data(name)).decode()


TOOLS = json.loads(data("tools.json"))


def client(name, package):
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        version = "missing"
    results[name] = {"version": version, "features": {}}

    def feature(feature_name):
        def run(check):
            try:
                check()
                results[name]["features"][feature_name] = "yes"
            except Exception:
                results[name]["features"][feature_name] = traceback.format_exc()
        return run
    return feature


def holds(condition, what=""):
    if not condition:
        raise AssertionError(what)


def person_class():
    """A class as the clients' users write it to say what an answer has to be."""
    import enum
    import pydantic

    class Kind(enum.Enum):
        A = "a"
        B = "b"

    class Person(pydantic.BaseModel):
        model_config = {"extra": "forbid"}
        name: str = pydantic.Field(max_length=8)
        age: int = pydantic.Field(ge=0, le=150)
        kind: Kind
        size: float | None

    return Person


def openai_client():
    import openai
    feature, api = client("openai (Python)", "openai"), openai.OpenAI()
    who = {"model": "spark", "messages": [{"role": "user", "content": WHO}], "temperature": 0}

    @feature("chat")
    def _():
        reply = api.chat.completions.create(**who)
        holds(I_AM in reply.choices[0].message.content and reply.choices[0].finish_reason == "stop", reply)

    @feature("stream")
    def _():
        text, usage = "", None
        for chunk in api.chat.completions.create(**who, stream=True, stream_options={"include_usage": True}):
            usage = chunk.usage or usage
            text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
        holds(I_AM in text and usage.completion_tokens > 0, text)

    @feature("tools")
    def _():
        messages = [{"role": "user", "content": TIMER}]
        message = api.chat.completions.create(model="spark", messages=messages, tools=TOOLS, temperature=0).choices[0].message
        holds(message.tool_calls[0].function.name == "set_timer", message)
        messages += [message, {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "{\"status\": \"done\"}"}]
        holds(api.chat.completions.create(model="spark", messages=messages, tools=TOOLS, temperature=0).choices[0].message.content)

    @feature("tools in a stream")
    def _():
        with api.chat.completions.stream(model="spark", messages=[{"role": "user", "content": TIMER}], tools=TOOLS, temperature=0) as stream:
            for _ in stream:
                pass
            call = stream.get_final_completion().choices[0].message.tool_calls[0]
        holds(call.function.name == "set_timer" and json.loads(call.function.arguments)["unit"] == "minutes", call)

    @feature("pictures")
    def _():
        url = "data:image/png;base64," + base64_of("text.png")
        content = [{"type": "image_url", "image_url": {"url": url, "detail": "low"}}, {"type": "text", "text": READ}]
        reply = api.chat.completions.create(model="spark", messages=[{"role": "user", "content": content}], temperature=0)
        holds(reply.choices[0].message.content == TEXT, reply)

    @feature("sound")
    def _():
        content = [{"type": "text", "text": TRANSCRIBE}, {"type": "input_audio", "input_audio": {"data": base64_of("train.wav"), "format": "wav"}}]
        reply = api.chat.completions.create(model="spark", messages=[{"role": "user", "content": content}], temperature=0)
        holds(reply.choices[0].message.content == TRAIN, reply)

    @feature("JSON schema")
    def _():
        person = person_class()
        reply = api.chat.completions.parse(**{**who, "temperature": 1}, response_format=person)
        holds(isinstance(reply.choices[0].message.parsed, person), reply)
        holds(isinstance(json.loads(api.chat.completions.create(**who, response_format={"type": "json_object"}, max_tokens=1000).choices[0].message.content), dict))

    @feature("forced tools")
    def _():
        for choice in ("required", {"type": "function", "function": {"name": "set_timer"}}):
            message = api.chat.completions.create(**who, tools=TOOLS, tool_choice=choice, parallel_tool_calls=False).choices[0].message
            holds(len(message.tool_calls) == 1 and isinstance(json.loads(message.tool_calls[0].function.arguments), dict), message)

    @feature("log probabilities")
    def _():
        entries = api.chat.completions.create(**who, logprobs=True, top_logprobs=2).choices[0].logprobs.content
        holds(len(entries[0].top_logprobs) == 2 and entries[0].logprob <= 0, entries)

    @feature("cached tokens")
    def _():
        holds(api.chat.completions.create(**who).usage.prompt_tokens_details.cached_tokens > 0)

    @feature("models")
    def _():
        holds([m.id for m in api.models.list()] == ["spark"] and api.models.retrieve("spark").id == "spark")

    @feature("errors")
    def _():
        for arguments, kind in (({"model": "nothing"}, openai.NotFoundError), ({"max_tokens": -1}, openai.BadRequestError),
                                ({"messages": [{"role": "user", "content": "a " * 20000}]}, openai.BadRequestError)):
            try:
                api.chat.completions.create(**{**who, **arguments})
                holds(False, arguments)
            except kind:
                pass
        try:
            openai.OpenAI(api_key="wrong").models.list()
            holds(False)
        except openai.AuthenticationError:
            pass
        try:
            openai.OpenAI(max_retries=0).embeddings.create(model="spark", input="a")
            holds(False)
        except openai.InternalServerError as error:
            holds(error.status_code == 501 and "embeddings" in str(error), error)


def openai_responses():
    import openai
    feature, api = client("openai (Python), Responses", "openai"), openai.OpenAI()

    @feature("chat")
    def _():
        reply = api.responses.create(model="spark", input=WHO, temperature=0)
        holds(I_AM in reply.output_text and reply.status == "completed", reply)
        holds(api.responses.retrieve(reply.id).output_text == reply.output_text)
        holds(api.responses.input_items.list(reply.id).data[0].role == "user")
        again = api.responses.create(model="spark", input=WHO, previous_response_id=reply.id, temperature=0)
        holds(again.usage.input_tokens > reply.usage.input_tokens, again)
        api.responses.delete(reply.id)
        try:
            api.responses.retrieve(reply.id)
            holds(False)
        except openai.NotFoundError:
            pass

    @feature("stream")
    def _():
        text = ""
        with api.responses.stream(model="spark", input=WHO, temperature=0) as stream:
            for event in stream:
                if event.type == "response.output_text.delta":
                    text += event.delta
            holds(I_AM in text and stream.get_final_response().output_text == text, text)

    tools = [{"type": "function", **t["function"]} for t in TOOLS]

    @feature("tools")
    def _():
        reply = api.responses.create(model="spark", input=TIMER, tools=tools, temperature=0)
        call = next(item for item in reply.output if item.type == "function_call")
        holds(call.name == "set_timer" and json.loads(call.arguments)["unit"] == "minutes", call)
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "{\"status\": \"done\"}"}
        holds(api.responses.create(model="spark", input=[result], previous_response_id=reply.id, tools=tools, temperature=0).output_text)

    @feature("tools in a stream")
    def _():
        with api.responses.stream(model="spark", input=TIMER, tools=tools, temperature=0) as stream:
            for _ in stream:
                pass
            call = next(item for item in stream.get_final_response().output if item.type == "function_call")
        holds(call.name == "set_timer", call)

    @feature("JSON schema")
    def _():
        person = person_class()
        holds(isinstance(api.responses.parse(model="spark", input=WHO, text_format=person).output_parsed, person))

    @feature("forced tools")
    def _():
        for choice in ("required", {"type": "function", "name": "set_timer"}):
            reply = api.responses.create(model="spark", input=WHO, tools=tools, tool_choice=choice, parallel_tool_calls=False)
            holds([item.type for item in reply.output] == ["function_call"], reply)

    @feature("pictures")
    def _():
        content = [{"type": "input_image", "image_url": "data:image/png;base64," + base64_of("text.png"), "detail": "low"},
                   {"type": "input_text", "text": READ}]
        holds(api.responses.create(model="spark", input=[{"role": "user", "content": content}], temperature=0).output_text == TEXT)

    @feature("sound")
    def _():
        reply = api.audio.transcriptions.create(model="spark", file=("train.wav", data("train.wav")))
        holds(reply.text == TRAIN, reply)

    @feature("cached tokens")
    def _():
        holds(api.responses.create(model="spark", input=WHO, temperature=0).usage.input_tokens_details.cached_tokens > 0)


def anthropic_client():
    import anthropic
    feature, api = client("anthropic (Python)", "anthropic"), anthropic.Anthropic()
    who = {"model": "spark", "max_tokens": 200, "messages": [{"role": "user", "content": WHO}], "extra_body": {"temperature": 0}}  # newer clients know no temperature
    tools = [{"name": t["function"]["name"], "description": t["function"]["description"], "input_schema": t["function"]["parameters"]} for t in TOOLS]

    @feature("chat")
    def _():
        reply = api.messages.create(**who)
        holds(I_AM in reply.content[0].text and reply.stop_reason == "end_turn", reply)

    @feature("stream")
    def _():
        with api.messages.stream(**who) as stream:
            text = "".join(stream.text_stream)
            last = stream.get_final_message()
        holds(I_AM in text and last.usage.input_tokens + last.usage.cache_read_input_tokens > 0 and last.stop_reason == "end_turn", last)

    ask = {**who, "messages": [{"role": "user", "content": TIMER}], "tools": tools}

    @feature("tools")
    def _():
        reply = api.messages.create(**ask)
        call = next(b for b in reply.content if b.type == "tool_use")
        holds(reply.stop_reason == "tool_use" and call.name == "set_timer" and call.input["unit"] == "minutes", reply)
        result = {"type": "tool_result", "tool_use_id": call.id, "content": "{\"status\": \"done\"}"}
        follow = ask["messages"] + [{"role": "assistant", "content": reply.content}, {"role": "user", "content": [result]}]
        holds(api.messages.create(**{**ask, "messages": follow}).content[0].text)

    @feature("tools in a stream")
    def _():
        with api.messages.stream(**ask) as stream:
            call = next(b for b in stream.get_final_message().content if b.type == "tool_use")
        holds(call.name == "set_timer" and call.input["unit"] == "minutes", call)

    @feature("JSON schema")
    def _():
        import pydantic

        # This client takes bounds out of a schema, and a free text may be longer than max_tokens.
        class Answer(pydantic.BaseModel):
            kind: typing.Literal["a", "b"]
            awake: bool

        reply = api.messages.parse(**who, output_format=Answer)
        holds(isinstance(reply.parsed_output, Answer), reply)

    @feature("forced tools")
    def _():
        for choice in ({"type": "any"}, {"type": "tool", "name": "set_timer"}):
            reply = api.messages.create(**who, tools=tools, tool_choice={**choice, "disable_parallel_tool_use": True})
            holds([b.type for b in reply.content] == ["tool_use"], reply)

    @feature("pictures")
    def _():
        source = {"type": "base64", "media_type": "image/png", "data": base64_of("text.png")}
        content = [{"type": "image", "source": source}, {"type": "text", "text": READ}]
        holds(api.messages.create(**{**who, "messages": [{"role": "user", "content": content}]}).content[0].text == TEXT)

    @feature("models")
    def _():
        holds([m.id for m in api.models.list()] == ["spark"] and api.models.retrieve("spark").display_name == "spark")

    @feature("token counts")
    def _():
        counted = api.messages.count_tokens(model="spark", messages=who["messages"]).input_tokens
        usage = api.messages.create(**who).usage
        holds(counted == usage.input_tokens + usage.cache_read_input_tokens, (counted, usage))

    @feature("cached tokens")
    def _():
        holds(api.messages.create(**who).usage.cache_read_input_tokens > 0)

    @feature("errors")
    def _():
        for arguments, kind in (({"model": "nothing"}, anthropic.NotFoundError), ({"max_tokens": -1}, anthropic.BadRequestError)):
            try:
                api.messages.create(**{**who, **arguments})
                holds(False, arguments)
            except kind:
                pass
        try:
            anthropic.Anthropic(api_key="wrong").messages.create(**who)
            holds(False)
        except anthropic.AuthenticationError:
            pass


def gemini_client():
    from google import genai
    from google.genai import errors, types
    feature = client("google-genai (Python)", "google-genai")
    api = genai.Client(http_options={"base_url": os.environ["GOOGLE_GEMINI_BASE_URL"]}, api_key=os.environ["GEMINI_API_KEY"])
    cold = types.GenerateContentConfig(temperature=0)

    @feature("chat")
    def _():
        reply = api.models.generate_content(model="spark", contents=WHO, config=cold)
        holds(I_AM in reply.text and reply.candidates[0].finish_reason.name == "STOP", reply)

    @feature("stream")
    def _():
        text, usage = "", None
        for chunk in api.models.generate_content_stream(model="spark", contents=WHO, config=cold):
            text += chunk.text or ""
            usage = chunk.usage_metadata or usage
        holds(I_AM in text and usage.prompt_token_count > 0, text)

    functions = [{"name": t["function"]["name"], "description": t["function"]["description"], "parameters": t["function"]["parameters"]} for t in TOOLS]
    with_tools = types.GenerateContentConfig(temperature=0, tools=[types.Tool(function_declarations=functions)],
                                             automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True))

    @feature("tools")
    def _():
        reply = api.models.generate_content(model="spark", contents=TIMER, config=with_tools)
        call = reply.function_calls[0]
        holds(call.name == "set_timer" and call.args["unit"] == "minutes", reply)
        contents = [types.Content(role="user", parts=[types.Part(text=TIMER)]), reply.candidates[0].content,
                    types.Content(role="user", parts=[types.Part.from_function_response(name=call.name, response={"status": "done"})])]
        holds(api.models.generate_content(model="spark", contents=contents, config=with_tools).text)

    @feature("tools in a stream")
    def _():
        calls = [c for chunk in api.models.generate_content_stream(model="spark", contents=TIMER, config=with_tools) for c in chunk.function_calls or []]
        holds([c.name for c in calls] == ["set_timer"], calls)

    @feature("JSON schema")
    def _():
        person = person_class()
        for schema in ({"response_schema": person}, {"response_json_schema": person.model_json_schema()}):
            reply = api.models.generate_content(model="spark", contents=WHO, config=types.GenerateContentConfig(response_mime_type="application/json", **schema))
            holds(person.model_validate_json(reply.text), reply)

    @feature("forced tools")
    def _():
        calling = types.FunctionCallingConfig(mode="ANY", allowed_function_names=["set_timer"])
        config = types.GenerateContentConfig(**{**with_tools.model_dump(exclude_none=True), "tool_config": types.ToolConfig(function_calling_config=calling)})
        reply = api.models.generate_content(model="spark", contents=WHO, config=config)
        holds({c.name for c in reply.function_calls} == {"set_timer"}, reply)

    @feature("pictures")
    def _():
        contents = [types.Part.from_bytes(data=data("text.png"), mime_type="image/png"), READ]
        holds(api.models.generate_content(model="spark", contents=contents, config=cold).text == TEXT)

    @feature("sound")
    def _():
        contents = [TRANSCRIBE, types.Part.from_bytes(data=data("train.wav"), mime_type="audio/wav")]
        holds(api.models.generate_content(model="spark", contents=contents, config=cold).text == TRAIN)

    @feature("token counts")
    def _():
        counted = api.models.count_tokens(model="spark", contents=WHO).total_tokens
        holds(counted == api.models.generate_content(model="spark", contents=WHO, config=cold).usage_metadata.prompt_token_count, counted)

    @feature("cached tokens")
    def _():
        holds(api.models.generate_content(model="spark", contents=WHO, config=cold).usage_metadata.cached_content_token_count > 0)

    @feature("models")
    def _():
        holds([m.name for m in api.models.list()] == ["models/spark"])

    @feature("errors")
    def _():
        try:
            api.models.generate_content(model="nothing", contents=WHO)
            holds(False)
        except errors.ClientError as error:
            holds(error.code == 404 and error.status == "NOT_FOUND", error)


def ollama_client():
    import ollama
    feature, api = client("ollama (Python)", "ollama"), ollama.Client(headers={"Authorization": "Bearer " + os.environ["OLLAMA_API_KEY"]})
    who = {"model": "spark", "messages": [{"role": "user", "content": WHO}], "options": {"temperature": 0}}

    @feature("chat")
    def _():
        reply = api.chat(**who, keep_alive="10m")
        holds(I_AM in reply.message.content and reply.done_reason == "stop" and reply.eval_count > 0 and reply.total_duration > 0, reply)
        holds(I_AM in api.generate(model="spark", prompt=WHO, options={"temperature": 0}).response)

    @feature("stream")
    def _():
        parts = list(api.chat(**who, stream=True))
        holds(I_AM in "".join(p.message.content for p in parts) and parts[-1].done and not parts[0].done, parts)

    ask = {**who, "messages": [{"role": "user", "content": TIMER}], "tools": TOOLS}

    @feature("tools")
    def _():
        message = api.chat(**ask).message
        holds(message.tool_calls[0].function.name == "set_timer" and message.tool_calls[0].function.arguments["unit"] == "minutes", message)
        follow = ask["messages"] + [message, {"role": "tool", "tool_name": "set_timer", "content": "{\"status\": \"done\"}"}]
        holds(api.chat(**{**ask, "messages": follow}).message.content)

    @feature("tools in a stream")
    def _():
        calls = [c for part in api.chat(**ask, stream=True) for c in part.message.tool_calls or []]
        holds([c.function.name for c in calls] == ["set_timer"], calls)

    @feature("JSON schema")
    def _():
        person = person_class()
        holds(person.model_validate_json(api.chat(**who, format=person.model_json_schema()).message.content))
        holds(isinstance(json.loads(api.generate(model="spark", prompt=WHO, format="json", options={"num_predict": 1000, "temperature": 0}).response), dict))

    @feature("pictures")
    def _():
        holds(api.chat(**{**who, "messages": [{"role": "user", "content": READ, "images": [data("text.png")]}]}).message.content == TEXT)

    @feature("models")
    def _():
        holds([m.model for m in api.list().models] == ["spark"] and "vision" in api.show("spark").capabilities)
        holds([m.model for m in api.ps().models] == ["spark"])

    @feature("errors")
    def _():
        for call, status in ((lambda: api.chat(model="nothing", messages=who["messages"]), 404), (lambda: api.embed(model="spark", input="a"), 501)):
            try:
                call()
                holds(False, status)
            except ollama.ResponseError as error:
                holds(error.status_code == status, error)


def langchain_client():
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_openai import ChatOpenAI
    feature, api = client("langchain-openai (Python)", "langchain-openai"), ChatOpenAI(model="spark", temperature=0)

    @feature("chat")
    def _():
        reply = api.invoke(WHO)
        holds(I_AM in reply.content and reply.usage_metadata["output_tokens"] > 0, reply)

    @feature("stream")
    def _():
        holds(I_AM in "".join(chunk.content for chunk in api.stream(WHO)))

    bound = api.bind_tools(TOOLS)

    @feature("tools")
    def _():
        reply = bound.invoke(TIMER)
        holds(reply.tool_calls[0]["name"] == "set_timer" and reply.tool_calls[0]["args"]["unit"] == "minutes", reply)
        follow = [HumanMessage(TIMER), reply, ToolMessage("{\"status\": \"done\"}", tool_call_id=reply.tool_calls[0]["id"])]
        holds(bound.invoke(follow).content)

    @feature("tools in a stream")
    def _():
        whole = None
        for chunk in bound.stream(TIMER):
            whole = chunk if whole is None else whole + chunk
        holds(whole.tool_calls[0]["name"] == "set_timer", whole)

    @feature("JSON schema")
    def _():
        person = person_class()
        for method in ("json_schema", "function_calling"):
            holds(isinstance(api.with_structured_output(person, method=method).invoke(WHO), person), method)

    @feature("forced tools")
    def _():
        holds(len(api.bind_tools(TOOLS, tool_choice="any").invoke(WHO).tool_calls) > 0)

    @feature("pictures")
    def _():
        url = "data:image/png;base64," + base64_of("text.png")
        holds(api.invoke([HumanMessage([{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": READ}])]).content == TEXT)


for run in (openai_client, openai_responses, anthropic_client, gemini_client, ollama_client, langchain_client):
    try:
        run()
    except Exception:
        results[run.__name__] = {"version": "?", "features": {"chat": traceback.format_exc()}}
print(json.dumps(results))
