// SPDX-License-Identifier: MIT
/** `null`, `stdio`, `pty`, `file:PATH`, `unix:PATH`: where a stream of bytes goes, as written by an operator. */

import { IoreqdError } from "../base/errors.js";
import { didYouMean } from "../base/suggest.js";

export type ChardevSpec = { kind: "null" | "stdio" | "pty" } | { kind: "file" | "unix"; path: string };

const PLAIN = ["null", "stdio", "pty"] as const;
const WITH_PATH = ["file", "unix"] as const;

/** Throws CHARDEV_INVALID. */
export function parseChardevSpec(text: string): ChardevSpec {
  const [kind = "", ...rest] = text.split(":");
  const path = rest.join(":");
  const plain = PLAIN.find((name) => name === kind);
  if (plain !== undefined && rest.length === 0) return { kind: plain };
  const withPath = WITH_PATH.find((name) => name === kind);
  if (withPath !== undefined && path !== "") return { kind: withPath, path };
  const known = [...PLAIN, ...WITH_PATH.map((name) => `${name}:PATH`)];
  throw new IoreqdError(
    "CHARDEV_INVALID",
    `"${text}" is no chardev${didYouMean(kind, [...PLAIN, ...WITH_PATH])} Expected: ${known.join(", ")}`,
    { chardev: text },
  );
}
