// SPDX-License-Identifier: MIT
/** `null`, `stdio`, `pty`, `file:PATH`, `unix:PATH`: where a stream of bytes goes, as written by an operator. */

import { IoreqdError } from "../base/errors.js";
import { didYouMean } from "../base/suggest.js";
import { LONGEST_SOCKET_PATH } from "../base/unix-socket.js";

export type ChardevSpec = { kind: "null" | "stdio" | "pty" } | { kind: "file" | "unix"; path: string };

const PLAIN = ["null", "stdio", "pty"] as const;
const WITH_PATH = ["file", "unix"] as const;

/** Throws CHARDEV_INVALID. */
export function parseChardevSpec(text: string): ChardevSpec {
  const [kind = "", ...rest] = text.split(":");
  const path = rest.join(":");
  const plain = PLAIN.find((name) => name === kind);
  if (plain !== undefined) {
    if (rest.length > 0) throw invalid(text, `"${text}" has too much: ${plain} stands alone`);
    return { kind: plain };
  }
  const withPath = WITH_PATH.find((name) => name === kind);
  if (withPath !== undefined) {
    if (path === "") throw invalid(text, `"${text}" has no path; write ${withPath}:PATH`);
    if (withPath === "unix" && Buffer.byteLength(path) > LONGEST_SOCKET_PATH) {
      throw invalid(text, `"${text}": the path of a unix socket has at most ${LONGEST_SOCKET_PATH} bytes`);
    }
    return { kind: withPath, path };
  }
  const known = [...PLAIN, ...WITH_PATH.map((name) => `${name}:PATH`)];
  throw invalid(
    text,
    `"${text}" is no chardev${didYouMean(kind, [...PLAIN, ...WITH_PATH])} Expected: ${known.join(", ")}`,
  );
}

function invalid(text: string, message: string): IoreqdError {
  return new IoreqdError("CHARDEV_INVALID", message, { chardev: text });
}
