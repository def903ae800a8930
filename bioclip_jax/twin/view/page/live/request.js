// Requests to the page's own server.

import {currentLanguage, hasText, t} from "../text.js";

// An error whose message is a sentence for the visitor.
export class LiveError extends Error {}

// Asks for the simulation of events: path "what-if", or "scene/N" for the animals at its end at an hour.
// tell({place}) or tell({done}) reports how far it is. Rejects with a LiveError, or when the signal aborts.
export async function requestLive(path, events, tell, signal = new AbortController().signal) {
  const address = `${location.pathname.replace(/\/$/, "")}/${path}`;
  try {
    const response = await fetch(address, {
      method: "POST",
      headers: {"Content-Type": "application/json"},
      body: JSON.stringify({events}),
      signal,
    });
    if (!response.ok) throw new LiveError(await refusalText(response));
    return await readLines(response.body.getReader(), tell);
  } catch (error) {
    if (error instanceof LiveError || signal.aborted) throw error;
    throw new LiveError(t("live.error.server"));
  }
}

async function readLines(reader, tell) {
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const {done, value} = await reader.read();
    text += done ? decoder.decode() : decoder.decode(value, {stream: true});
    const lines = text.split("\n");
    text = lines.pop();
    for (const line of lines.filter(Boolean)) {
      const message = JSON.parse(line);
      if (message.error) throw new LiveError(sentenceOf(message));
      if (message.result) return message.result;
      tell(message);
    }
    if (done) throw new LiveError(t("live.error.server"));
  }
}

async function refusalText(response) {
  const key = `live.error.${response.status}`;
  try {
    return sentenceOf(await response.json());
  } catch {
    return t(hasText(key) ? key : "live.error.server");
  }
}

function sentenceOf({error, fr}) {
  return currentLanguage() === "fr" ? fr ?? t("live.error.server") : error;
}
