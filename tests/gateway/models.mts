// The vendors' own SDKs, asked by lines of JSON: each says which API, at which address, and what; the answer comes back
// in a line of its own, with the number of the question. One that is to be left is not waited for any more.

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
  leave?: boolean;
};

function answer({ api, stream, url, headers, body }: Asked, signal: AbortSignal): Promise<unknown> {
  const settings = { apiKey: "key-of-one", baseURL: url, maxRetries: 0, timeout: 30_000 };
  if (api === "messages") {
    const { messages } = new Anthropic(settings);
    return stream ? messages.stream(body, { headers, signal }).finalMessage() : messages.create(body, { headers, signal });
  }
  const { chat, responses } = new OpenAI(settings);
  if (api === "responses")
    return stream ? responses.stream(body, { headers, signal }).finalResponse() : responses.create(body, { headers, signal });
  return stream
    ? chat.completions.stream(body, { headers, signal }).finalChatCompletion()
    : chat.completions.create(body, { headers, signal });
}

const asking = new Map<number, AbortController>();
for await (const line of createInterface({ input: process.stdin })) {
  const asked: Asked = JSON.parse(line);
  if (asked.leave) {
    asking.get(asked.number)!.abort();
    continue;
  }
  const leaving = new AbortController();
  asking.set(asked.number, leaving);
  const say = (said: object) => console.log(JSON.stringify({ number: asked.number, ...said }));
  answer(asked, leaving.signal).then(
    (answer) => say({ answer }),
    (error) => say({ error: String(error) }),
  );
}
