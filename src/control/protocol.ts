// SPDX-License-Identifier: MIT
/** What goes over the control socket: docs/control.md. A request a line, a reply a line, each a JSON object. */

import { IoreqdError } from "../base/errors.js";
import { didYouMean } from "../base/suggest.js";

/** Goes up when something that was understood is not any more. */
export const PROTOCOL = 1;

export interface Limits {
  /** Bytes of a request. */
  readonly line: number;
  readonly connections: number;
  /** How long, in ms, a connection may be without a whole request. */
  readonly idleMs: number;
}

export const LIMITS: Limits = { line: 64 * 1024, connections: 16, idleMs: 60_000 };

/** Comes back with the reply, as it was; null where none was given. */
export type RequestId = string | number | null;

export type Reply =
  | { readonly id: RequestId; readonly result: unknown }
  | { readonly id: RequestId; readonly error: { readonly code: string; readonly message: string } };

/** Arguments of a command: what it does not take is not there, what is has the type it takes. */
export type Given = Readonly<Record<string, string | boolean>>;

export interface ControlCommand {
  /** Its arguments, which may be left out as far as the protocol is concerned. */
  readonly takes: Readonly<Record<string, "string" | "boolean">>;
  /** A promise where it takes a while: meanwhile the guest, and other connections, are served. */
  run(given: Given): unknown;
}

export type ControlCommands = ReadonlyMap<string, ControlCommand>;

const LONGEST_ID = 128;
const KEYS = ["id", "command", "arguments"];

/** Do what a line asks. Rejects with nothing; `fault` is told of what is no IoreqdError. */
export async function answer(line: string, commands: ControlCommands, fault: (error: unknown) => void): Promise<Reply> {
  let id: RequestId = null;
  try {
    const request = objectOf(line);
    id = idOf(request["id"]);
    const { command, given } = read(request, commands);
    return { id, result: (await command.run(given)) ?? {} };
  } catch (error) {
    if (error instanceof IoreqdError) return { id, error: { code: error.code, message: error.message } };
    fault(error);
    return { id, error: { code: "CONTROL_COMMAND_FAILED", message: "a fault of ioreqd's own; its log tells more" } };
  }
}

function objectOf(line: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw invalid("a line that is not JSON");
  }
  if (!isObject(value)) throw invalid("a line that is no JSON object");
  return value;
}

function idOf(value: unknown): RequestId {
  if (value === undefined || value === null || typeof value === "number") return value ?? null;
  if (typeof value === "string" && value.length <= LONGEST_ID) return value;
  throw invalid(`an id that is neither a number nor a string of at most ${LONGEST_ID} characters`);
}

function read(
  request: Readonly<Record<string, unknown>>,
  commands: ControlCommands,
): { command: ControlCommand; given: Given } {
  refuseOthers("a request", Object.keys(request), KEYS);
  const { command: name, arguments: given = {} } = request;
  if (typeof name !== "string") throw invalid("a request without a command");
  const command = commands.get(name);
  if (command === undefined) {
    const known = [...commands.keys()];
    throw new IoreqdError(
      "CONTROL_COMMAND_UNKNOWN",
      `there is no command "${shown(name)}"${didYouMean(shown(name), known)} Commands: ${known.join(", ")}`,
    );
  }
  if (!isObject(given)) throw invalid(`${name} with arguments that are no object`);
  refuseOthers(name, Object.keys(given), Object.keys(command.takes));
  for (const [key, value] of Object.entries(given)) {
    if (typeof value !== command.takes[key]) throw invalid(`${name} with ${key} that is no ${command.takes[key]}`);
  }
  return { command, given: given as Given };
}

function refuseOthers(where: string, keys: readonly string[], known: readonly string[]): void {
  const other = keys.find((key) => !known.includes(key));
  if (other === undefined) return;
  const takes = known.length === 0 ? "It takes nothing." : `It takes: ${known.join(", ")}`;
  throw invalid(`${where} with "${shown(other)}"${didYouMean(shown(other), known)} ${takes}`);
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Of somebody's words not more than a message can bear. */
const shown = (text: string): string => (text.length > 40 ? `${text.slice(0, 40)}…` : text);

function invalid(what: string): IoreqdError {
  return new IoreqdError(
    "CONTROL_REQUEST_INVALID",
    `the control socket was given ${what}; a request is a line like {"id": 1, "command": "ping"}`,
  );
}
