// Drives openai-node and the Vercel AI SDK against a running server; started by sdk_test.py in the folder with their packages.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [samples, folder] = process.argv.slice(2);
const require = createRequire(pathToFileURL(folder + "/"));
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const version = (name) => JSON.parse(readFileSync(`${folder}/node_modules/${name}/package.json`)).version;
const WHO = "Who are you?", I_AM = "I am Spark", TIMER = "Set a timer for 5 minutes.";
const tools = JSON.parse(readFileSync(`${samples}/tools.json`));
const picture = readFileSync(`${samples}/text.png`).toString("base64");
const results = {};

function client(name, package_name) {
  const features = {};
  results[name] = { version: version(package_name), features };
  return async (feature, check) => {
    try {
      await check();
      features[feature] = "yes";
    } catch (error) {
      features[feature] = String(error.stack ?? error);
    }
  };
}

function holds(condition, what) {
  if (!condition) throw new Error(JSON.stringify(what) ?? "no");
}

const person = { type: "object", properties: { name: { type: "string", maxLength: 8 }, age: { type: "integer", minimum: 0, maximum: 150 } },
  required: ["name", "age"], additionalProperties: false };
function holdsPerson(value) {
  holds(Object.keys(value).length === 2 && value.name.length <= 8 && Number.isInteger(value.age) && value.age >= 0 && value.age <= 150, value);
}

{
  const { default: OpenAI } = await load("openai");
  const api = new OpenAI(), feature = client("openai (Node)", "openai");
  const who = { model: "spark", messages: [{ role: "user", content: WHO }], temperature: 0 };
  await feature("chat", async () => holds((await api.chat.completions.create(who)).choices[0].message.content.includes(I_AM)));
  await feature("stream", async () => {
    let text = "";
    for await (const chunk of await api.chat.completions.create({ ...who, stream: true })) text += chunk.choices[0]?.delta?.content ?? "";
    holds(text.includes(I_AM), text);
  });
  const ask = { ...who, messages: [{ role: "user", content: TIMER }], tools };
  await feature("tools", async () => {
    const call = (await api.chat.completions.create(ask)).choices[0].message.tool_calls[0];
    holds(call.function.name === "set_timer", call);
  });
  await feature("tools in a stream", async () => {
    const call = (await api.chat.completions.stream(ask).finalChatCompletion()).choices[0].message.tool_calls[0];
    holds(call.function.name === "set_timer" && JSON.parse(call.function.arguments).unit === "minutes", call);
  });
  await feature("JSON schema", async () => {
    const response_format = { type: "json_schema", json_schema: { name: "person", strict: true, schema: person } };
    holdsPerson(JSON.parse((await api.chat.completions.create({ ...who, response_format })).choices[0].message.content));
  });
  await feature("forced tools", async () => {
    const tool_choice = { type: "function", function: { name: "set_timer" } };
    const { tool_calls } = (await api.chat.completions.create({ ...who, tools, tool_choice, parallel_tool_calls: false })).choices[0].message;
    holds(tool_calls.length === 1 && tool_calls[0].function.name === "set_timer", tool_calls);
  });
  await feature("pictures", async () => {
    const content = [{ type: "image_url", image_url: { url: `data:image/png;base64,${picture}` } }, { type: "text", text: "Read the text in the picture." }];
    holds((await api.chat.completions.create({ ...who, messages: [{ role: "user", content }] })).choices[0].message.content === "HELLO");
  });
  await feature("models", async () => holds((await api.models.list()).data[0].id === "spark"));
  await feature("errors", async () => {
    try {
      await api.chat.completions.create({ ...who, model: "nothing" });
    } catch (error) {
      return holds(error instanceof OpenAI.NotFoundError, String(error));
    }
    holds(false);
  });
}

{
  const { generateObject, generateText, jsonSchema, streamText, tool } = await load("ai");
  const { createOpenAICompatible } = await load("@ai-sdk/openai-compatible");
  const provider = createOpenAICompatible({ name: "lapidary", baseURL: process.env.OPENAI_BASE_URL, apiKey: process.env.OPENAI_API_KEY, supportsStructuredOutputs: true });
  const model = provider("spark"), feature = client("Vercel AI SDK (Node)", "ai");
  const own = Object.fromEntries(tools.map((t) => [t.function.name, tool({ description: t.function.description, inputSchema: jsonSchema(t.function.parameters) })]));
  await feature("chat", async () => holds((await generateText({ model, prompt: WHO, temperature: 0 })).text.includes(I_AM)));
  await feature("stream", async () => {
    let text = "";
    for await (const delta of streamText({ model, prompt: WHO, temperature: 0 }).textStream) text += delta;
    holds(text.includes(I_AM), text);
  });
  await feature("tools", async () => {
    const { toolCalls } = await generateText({ model, prompt: TIMER, tools: own, temperature: 0 });
    holds(toolCalls[0].toolName === "set_timer" && toolCalls[0].input.unit === "minutes", toolCalls);
  });
  await feature("tools in a stream", async () => {
    const calls = await streamText({ model, prompt: TIMER, tools: own, temperature: 0 }).toolCalls;
    holds(calls[0].toolName === "set_timer", calls);
  });
  await feature("JSON schema", async () => {
    holdsPerson((await generateObject({ model, prompt: WHO, schema: jsonSchema(person) })).object);
  });
  await feature("forced tools", async () => {
    const { toolCalls } = await generateText({ model, prompt: WHO, tools: own, toolChoice: { type: "tool", toolName: "set_timer" } });
    holds(toolCalls[0].toolName === "set_timer", toolCalls);
  });
  await feature("pictures", async () => {
    const content = [{ type: "image", image: `data:image/png;base64,${picture}` }, { type: "text", text: "Read the text in the picture." }];
    holds((await generateText({ model, messages: [{ role: "user", content }], temperature: 0 })).text === "HELLO");
  });
}

console.log(JSON.stringify(results));
