/** Requests to the editor's server; what goes wrong is told in words. */

import { pack, unpack } from "./packing.js";

export class RequestFailed extends Error {
  constructor(message, gone) {
    super(message);
    this.gone = gone; // the server cannot be reached, and may come back
  }
}

const GONE = "The server does not answer. What you drew is kept; start the server again to go on.";
const listeners = new Set();
let reachable = true;

/** Calls back with true or false whenever the server comes or goes. */
export function onReachable(callback) {
  listeners.add(callback);
}

function setReachable(now) {
  if (now === reachable) return;
  reachable = now;
  listeners.forEach((callback) => callback(now));
}

async function send(url, options) {
  let response;
  try {
    response = await fetch(url, { ...options, redirect: "error" });
  } catch {
    setReachable(false);
    throw new RequestFailed(GONE, true);
  }
  if (response.ok) {
    setReachable(true);
    return response;
  }
  const text = await response.json().then((body) => body.error, () => response.statusText);
  if (response.status === 502 || response.status === 504) {
    setReachable(false);
    throw new RequestFailed(`${GONE} (${text})`, true);
  }
  setReachable(true);
  throw new RequestFailed(`The model refused the request: ${text}`, false);
}

/** What the server tells of the model: see editor/information.py. */
export async function information() {
  return (await send("/editor/model")).json();
}

/** The named outputs of a signature. */
export async function predict(signature, arrays, outputs) {
  const response = await send(`/editor/predict/${signature}`, {
    method: "POST",
    headers: { "Content-Type": "application/octet-stream" },
    body: pack(arrays, outputs),
  });
  return unpack(await response.arrayBuffer());
}

/** Runs at most one call of `work` at once; of those asked for meanwhile, the latest. */
export function latestOnly(work) {
  let busy = false;
  let waiting = null;
  return async function run(...given) {
    if (busy) {
      waiting = given;
      return;
    }
    busy = true;
    try {
      await work(...given);
    } finally {
      busy = false;
      if (waiting) {
        const next = waiting;
        waiting = null;
        run(...next);
      }
    }
  };
}
