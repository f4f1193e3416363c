// The few lines between the contract and a handler written as a function: copy it along.
//
// What a handler throws of its own accord is a retry, with the stack in the reason and the instance alive.
// Without this it would be a trap that says nothing of the author's file.

const encoder = new TextEncoder();
// A lenient decoder would turn bytes that are not UTF-8 into other text.
const decoder = new TextDecoder("utf-8", { fatal: true });

const bytes = (payload) => (payload instanceof Uint8Array ? payload : encoder.encode(payload));

const failure = (tag) => (reason, { code, afterMs } = {}) => ({ tag, val: { reason, code, afterMs } });

/** `throw reject("why", { code })`: never try this message again. */
export const reject = failure("reject");
/** `throw retry("why", { code, afterMs })`: try again later. */
export const retry = failure("retry");
/** `throw unavailable("why", { code, afterMs })`: a dependency is down, not charged as an attempt. */
export const unavailable = failure("unavailable");

/** What to publish: a string or bytes for a destination, and any other field of an outgoing message. */
export const outgoing = (destination, payload, rest = {}) => ({
  headers: [],
  tombstone: false,
  attributes: [],
  ...rest,
  destination,
  payload: bytes(payload),
});

/** The same with a JSON document. */
export const json = (destination, body, rest = {}) =>
  outgoing(destination, JSON.stringify(body), { contentType: "application/json", ...rest });

/** The payload as JSON, or a rejection: what does not parse today will not parse tomorrow. */
export function parse(message) {
  try {
    return JSON.parse(decoder.decode(message.payload));
  } catch (error) {
    throw reject(`the payload is not JSON: ${error.message}`, { code: "invalid-json" });
  }
}

/** Makes `handle`, which takes a message and returns outputs (a list, one, or nothing), what a component exports. */
export const handler = (handle) => ({
  handle(message) {
    try {
      return [handle(message) ?? []].flat();
    } catch (error) {
      if (typeof error?.tag === "string") throw error;
      throw retry(error instanceof Error ? `${error}\n${error.stack}` : String(error));
    }
  },
});
