// SPDX-License-Identifier: MIT
/** Asks a serving process, over its control socket. */

import { createConnection } from "node:net";
import { IoreqdError, messageOf } from "../base/errors.js";
import type { Given, Reply } from "./protocol.js";

/** A device's module may have to be compiled. */
const TIMEOUT_MS = 30_000;
const LONGEST_REPLY = 16 * 1024 * 1024;

/**
 * One command; resolves with its result. Throws what the other side says, with its code; CONTROL_UNREACHABLE, where
 * nobody answers.
 */
export async function control(
  path: string,
  command: string,
  given: Given = {},
  timeoutMs = TIMEOUT_MS,
): Promise<unknown> {
  const reply = parse(path, await exchange(path, JSON.stringify({ id: 1, command, arguments: given }), timeoutMs));
  if ("error" in reply) throw new IoreqdError(reply.error.code, reply.error.message, { socket: path });
  return reply.result;
}

/** A line there, a line back. */
function exchange(path: string, request: string, timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path);
    let arrived = "";
    const finish = (settle: () => void): void => {
      clearTimeout(timer);
      socket.destroy();
      settle();
    };
    const fail = (why: string): void => finish(() => reject(unreachable(path, why)));
    const timer = setTimeout(() => fail(`no answer for ${timeoutMs / 1000} s`), timeoutMs);
    socket.setEncoding("utf8");
    socket.on("connect", () => socket.write(`${request}\n`));
    socket.on("data", (text) => {
      arrived += String(text);
      const end = arrived.indexOf("\n");
      if (end >= 0) finish(() => resolve(arrived.slice(0, end)));
      else if (arrived.length > LONGEST_REPLY) fail("the answer has no end");
    });
    socket.on("error", (error) => fail(messageOf(error)));
    socket.on("close", () => fail("the connection was closed before an answer came"));
  });
}

function parse(path: string, line: string): Reply {
  try {
    return JSON.parse(line) as Reply;
  } catch {
    throw unreachable(path, "the answer is not JSON");
  }
}

function unreachable(path: string, why: string): IoreqdError {
  return new IoreqdError(
    "CONTROL_UNREACHABLE",
    `nobody answers at ${path}: ${why}; is the domain served here? --state-dir names another place`,
    { socket: path },
  );
}
