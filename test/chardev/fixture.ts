// SPDX-License-Identifier: MIT
/** A chardev with a device behind it that takes as much as it has room for. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ChardevBackend, openChardev } from "../../src/chardev/index.js";
import { openAdapter } from "../../src/xen/ffi/index.js";
import { openPty } from "../../src/xen/pty.js";

export class Line {
  readonly said: string[] = [];
  /** Fields of what was said, by message. */
  readonly fields: Record<string, Record<string, unknown>> = {};
  received = "";
  room = Number.POSITIVE_INFINITY;
  readonly chardev: ChardevBackend;

  constructor(spec: string) {
    const note = (message: string, fields: Record<string, unknown> = {}): void => {
      this.said.push(message);
      this.fields[message] = fields;
    };
    this.chardev = openChardev(spec, {
      log: {
        info: (fields, message) => note(message, fields),
        debug: (fields, message) => note(message, fields),
        guest: (message, fields) => note(message, fields),
      },
      host: (work) => work(),
      openPty: () => openPty(openAdapter()),
    });
    this.chardev.onReceive(
      () => this.room,
      (byte) => {
        this.room -= 1;
        this.received += String.fromCharCode(byte);
      },
    );
  }

  send(text: string): void {
    for (const byte of Buffer.from(text)) this.chardev.write(byte);
  }

  /** The device read what it had: there is room again. */
  makeRoom(bytes: number): void {
    this.room = bytes;
    this.chardev.poll();
  }
}

export async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setTimeout(resolve, 2));
}

/** A turn of the event loop, sockets and all. */
export const turn = (ms = 20): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export function temporaryDirectory(): { path: (name: string) => string; remove: () => void } {
  const directory = mkdtempSync(join(tmpdir(), "ioreqd-chardev-"));
  return { path: (name) => join(directory, name), remove: () => rmSync(directory, { recursive: true }) };
}
