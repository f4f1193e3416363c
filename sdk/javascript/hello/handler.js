// Greets who is named in the payload. The twin of the handlers in Rust and Python.
//
// This file is run once while the component is built, and each message sees what that left behind:
// read nothing at the top level that can change, such as the time.

import { handler as wharf, json, outgoing, parse, reject, retry, unavailable } from "./wharf.js";

export const handler = wharf((message) => {
  const { key, correlationId, replyTo } = message;
  if (message.tombstone) {
    return outgoing("greetings", message.payload, { ...message, topic: undefined, id: undefined });
  }
  if (message.payload.length === 0) return [];

  const hello = parse(message);
  if (hello === null || typeof hello !== "object" || Array.isArray(hello)) {
    throw reject("the payload is not a JSON object", { code: "invalid-json" });
  }
  if (hello.needs) throw unavailable(`${hello.needs} is down`, { code: hello.needs });
  if (message.attempt < (hello.from_attempt ?? 0)) {
    throw retry("not ready yet", { code: "not-ready", afterMs: 250 });
  }
  if (!hello.name) throw reject("nobody to greet", { code: "no-name" });

  const greeting = `Hello, ${hello.name}!`;
  const headers = message.headers.filter(({ name }) => name === "tag");
  // 64-bit numbers arrive as BigInt, which has no JSON.
  const at = Number(message.timestampMs);
  const outputs = [json("greetings", { greeting, at }, { key, correlationId, headers })];
  if (replyTo) outputs.push(outgoing("reply", greeting, { correlationId: correlationId ?? message.id }));
  return outputs;
});
