// The gateway's paths. The admin key, where it asks for one, is kept for this tab only.

import { askLine } from "./dom.js";

const KEY = "pointsman-admin-key";
let asking = null;

/** A request that failed: what the gateway says of it. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Whether a key is kept. */
export function hasKey() {
  return sessionStorage.getItem(KEY) !== null;
}

/** Forget the key. */
export function forgetKey() {
  sessionStorage.removeItem(KEY);
}

/** Give the JSON that a path answers with; with a body it is POSTed. */
export async function ask(path, body) {
  return (await send(path, body)).json();
}

/** Give a path's whole answer, once its status is a good one. */
export async function send(path, body) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    const response = await once(path, body, key);
    if (response.ok) return response;
    const error = new ApiError(response.status, await reason(response));
    if (response.status !== 401) throw error;
    // Several requests fail together for one key: the first asks, the others wait for it.
    if (sessionStorage.getItem(KEY) === key && !(await newKey(key !== null))) throw error;
  }
}

async function once(path, body, key) {
  const headers = { accept: "application/json" };
  if (key !== null) headers.authorization = `Bearer ${key}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  try {
    return await fetch(path, {
      method: body === undefined ? "GET" : "POST",
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
    });
  } catch {
    throw new ApiError(0, "The gateway does not answer: see whether 'pointsman serve' runs.");
  }
}

async function reason(response) {
  try {
    const { error } = await response.json();
    return error.message ?? String(error);
  } catch {
    return `The gateway answered with status ${response.status}.`;
  }
}

function newKey(wasWrong) {
  asking ??= askLine({
    title: "This gateway asks for a key",
    text: wasWrong
      ? "The key that was given is not the one. It is kept for this tab only."
      : "It is the one that server.admin_key_env names. It is kept for this tab only.",
    label: "Key",
    button: "Use it",
    type: "password",
    required: true,
    pattern: "[!-~]+",
  }).then((key) => {
    if (key !== null) sessionStorage.setItem(KEY, key);
    document.getElementById("forget").hidden = key === null;
    return key !== null;
  }).finally(() => {
    asking = null;
  });
  return asking;
}
