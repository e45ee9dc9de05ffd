// SPDX-License-Identifier: MIT
/** A chardev with a device behind it that takes as much as it has room for, and the state of both in a real file. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ChardevBackend, openChardev } from "../../src/chardev/index.js";
import { ChardevState, placeChardev } from "../../src/pci/chardev-state.js";
import { Arena, arenaSize, HOST_RECORD, PHASE } from "../../src/state/arena.js";
import { openAdapter } from "../../src/xen/ffi/index.js";
import { mapFile } from "../../src/xen/map-file.js";
import { openPtyLine } from "../../src/xen/pty.js";
import { StreamIo } from "../../src/xen/stream-io.js";

const ffi = openAdapter();
const LAYOUT = "{}";

/** An arena that holds the state of one chardev, in memory or in a file; one that is there is opened, not made. */
export function chardevArena(path: string | null = null, create = true): { arena: Arena; state: ChardevState } {
  const { length } = placeChardev();
  const size = arenaSize(length, LAYOUT);
  const buffer = path === null ? new ArrayBuffer(size) : mapFile(ffi, path, create ? { create: size } : {}).buffer;
  const arena = create ? Arena.create(buffer, length, LAYOUT) : Arena.open(buffer);
  return { arena, state: new ChardevState(arena, 0) };
}

/** Work as a transaction, as the engine does it: what throws is undone. */
export function transact(arena: Arena, work: () => void): void {
  if (arena.inTransaction) {
    work();
    return;
  }
  arena.begin(HOST_RECORD);
  try {
    work();
    arena.commit(PHASE.committed, 0, 0);
    arena.release(HOST_RECORD);
  } catch {
    arena.rollback();
  }
}

export class Line {
  readonly said: string[] = [];
  /** Fields of what was said, by message. */
  readonly fields: Record<string, Record<string, unknown>> = {};
  received = "";
  room = Number.POSITIVE_INFINITY;
  /** How often the line said that it takes more. */
  readied = 0;
  readonly arena: Arena;
  readonly state: ChardevState;
  readonly chardev: ChardevBackend;

  constructor(spec: string, given = chardevArena()) {
    this.arena = given.arena;
    this.state = given.state;
    const note = (message: string, fields: Record<string, unknown> = {}): void => {
      this.said.push(message);
      this.fields[message] = fields;
    };
    const opener = {
      log: {
        info: (fields: Record<string, unknown>, message: string) => note(message, fields),
        debug: (fields: Record<string, unknown>, message: string) => note(message, fields),
        guest: (message: string, fields?: Record<string, unknown>) => note(message, fields),
      },
      io: new StreamIo(ffi),
      host: (work: () => void) => transact(this.arena, work),
      arriving: false,
      keeper: { take: () => null, keep: () => {}, forget: () => {}, leaving: false },
      openPty: () => openPtyLine(ffi),
    };
    this.chardev = openChardev(spec, opener, spec === "null" ? null : this.state);
    this.chardev.onReady(() => {
      this.readied += 1;
    });
    this.chardev.onReceive(
      () => this.room,
      (byte) => {
        this.room -= 1;
        this.received += String.fromCharCode(byte);
      },
    );
  }

  /** All at once, whether or not the line is ready. */
  send(text: string): void {
    transact(this.arena, () => {
      for (const byte of Buffer.from(text, "latin1")) this.chardev.write(byte);
    });
  }

  /** As a device that waits while the line is busy. */
  async sendAll(text: string): Promise<void> {
    for (let at = 0; at < text.length; at += 16) {
      await until(() => this.chardev.ready);
      this.send(text.slice(at, at + 16));
    }
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

/** Passes of the event loop: what a socket or pipe has now has been heard of, and what follows from that. */
export async function turn(passes = 20): Promise<void> {
  for (let pass = 0; pass < passes; pass += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** A text of which every part is recognised. */
export const counting = (length: number, from = 0): string =>
  Array.from({ length }, (_, i) => String.fromCharCode((from + i) & 0xff)).join("");

export function temporaryDirectory(): { path: (name: string) => string; remove: () => void } {
  const directory = mkdtempSync(join(tmpdir(), "ioreqd-chardev-"));
  return { path: (name) => join(directory, name), remove: () => rmSync(directory, { recursive: true }) };
}
