// SPDX-License-Identifier: MIT
/** Lines between us and the agent in a guest; test/real-xen/guest/operations.h has the operations. */

import { IoreqdError } from "../../../src/base/errors.js";

/** The agent's thread for shell commands, which belongs to no vCPU. */
export const SHELL = 0xff;

export interface Reply {
  readonly id: number;
  readonly text: string;
}

/** FNV-1a, 32 bits, of a string of bytes. Source: draft-eastlake-fnv, section 2. */
export function fnv(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 0x0100_0193);
  return hash >>> 0;
}

/** A request without its line end. `id`: 32 bits, another one than the last request of that vCPU had. */
export function encodeRequest(id: number, vcpu: number, operations: string): string {
  const body = `@>${id.toString(16)} ${vcpu.toString(16)} ${operations}`;
  return `${body} #${fnv(body).toString(16).padStart(8, "0")}`;
}

/** The reply in a line of the console, or null: what else is printed there, and replies that something was mixed into. */
export function parseReply(line: string): Reply | null {
  const found = /@<([0-9a-f]+) (.*) #([0-9a-f]{8})\r?$/.exec(line);
  if (found === null) return null;
  const [whole, id = "", text = "", sum = ""] = found;
  const body = whole.slice(0, whole.lastIndexOf(" #"));
  return fnv(body) === Number.parseInt(sum, 16) ? { id: Number.parseInt(id, 16), text } : null;
}

/** As one word: what is not plain becomes %xx. */
export function escapeBytes(text: string): string {
  const plain = /[\w./:,=+-]/;
  return [...Buffer.from(text)]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      return plain.test(character) ? character : `%${byte.toString(16).padStart(2, "0")}`;
    })
    .join("");
}

export function unescapeBytes(word: string): string {
  return Buffer.from(
    word.replaceAll(/%([0-9a-f]{2})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16))),
    "latin1",
  ).toString();
}

/** "5,1*3,2": 5, three times one more, then two more. Differences are modulo the width. */
export function decodeSeries(text: string, width: 1 | 2 | 4): Uint32Array {
  const [first = "", ...steps] = text.split(",");
  const mask = width === 4 ? 0xffff_ffff : 2 ** (8 * width) - 1;
  const values = [Number.parseInt(first, 16)];
  for (const word of steps) {
    const [step = "", times = "1"] = word.split("*");
    for (let left = Number.parseInt(times, 16); left > 0; left -= 1) {
      const before = values[values.length - 1] as number;
      values.push(((before + Number.parseInt(step, 16)) & mask) >>> 0);
    }
  }
  return Uint32Array.from(values);
}

/** The results of a reply, one an operation. Throws GUEST_ACCESS_FAILED with the operation that failed. */
export function resultsOf(reply: string, operations: readonly string[]): string[] {
  const results = reply.split(";");
  const last = results.length - 1;
  const failed = /^!?([A-Z_]+)$/.exec((results[last] as string).replace(/^[^!]*/, ""));
  if (failed === null) return results;
  throw new IoreqdError(
    "GUEST_ACCESS_FAILED",
    `in the guest, \`${operations[last]}\`: ${FAILURES[failed[1] as string] ?? failed[1]}`,
    {
      operation: operations[last],
    },
  );
}

const FAILURES: Readonly<Record<string, string>> = {
  FAULT: "the instruction faulted",
  NO_MAPPING: "its kernel maps no such memory (is it booted with iomem=relaxed?)",
  NO_FUNCTION: "its kernel knows no such PCI function",
  NOT_BOUND: "its kernel did not bind the driver",
  NO_UIO: "there is no uio device for the function",
  USAGE: "the agent does not know this operation",
};
