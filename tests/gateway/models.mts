// The vendors' own SDKs, asked by lines of JSON: each says which API, at which address, and what; the answer comes back
// in a line of its own, with the number of the question.

import { createInterface } from "node:readline";

import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

type Asked = {
  number: number;
  api: "chat" | "responses" | "messages";
  stream: boolean;
  url: string;
  headers: Record<string, string>;
  body: any;
};

function answer({ api, stream, url, headers, body }: Asked): Promise<unknown> {
  const settings = { apiKey: "key-of-one", baseURL: url, maxRetries: 0, timeout: 30_000 };
  if (api === "messages") {
    const { messages } = new Anthropic(settings);
    return stream ? messages.stream(body, { headers }).finalMessage() : messages.create(body, { headers });
  }
  const { chat, responses } = new OpenAI(settings);
  if (api === "responses")
    return stream ? responses.stream(body, { headers }).finalResponse() : responses.create(body, { headers });
  return stream
    ? chat.completions.stream(body, { headers }).finalChatCompletion()
    : chat.completions.create(body, { headers });
}

for await (const line of createInterface({ input: process.stdin })) {
  const asked: Asked = JSON.parse(line);
  const say = (said: object) => console.log(JSON.stringify({ number: asked.number, ...said }));
  answer(asked).then(
    (answer) => say({ answer }),
    (error) => say({ error: String(error) }),
  );
}
