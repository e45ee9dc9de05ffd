// SPDX-License-Identifier: MIT
/** Streams of bytes for devices: opens what parseChardevSpec() understands. */

import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { getSystemErrorName } from "node:util";
import { IoreqdError, messageOf } from "../base/errors.js";
import type { ChardevState } from "../pci/chardev-state.js";
import { Descriptor } from "./descriptor.js";
import { parseChardevSpec } from "./spec.js";
import { type ChardevBackend, type ChardevRights, NOWHERE, StreamChardev } from "./stream.js";
import { openUnix, removeLeftSocket } from "./unix.js";

export type { DescriptorIo, Keeper } from "./descriptor.js";
export { type ChardevSpec, parseChardevSpec } from "./spec.js";
export type { ChardevBackend, ChardevRights } from "./stream.js";

/** A pseudo terminal: its master, in raw and in packet mode, and the other end. See src/xen/pty.ts. */
export interface OpenPty {
  readonly fd: number;
  /** While nobody has the other end open a read fails; so one is always open, by us. */
  readonly terminal: number;
  /** "/dev/pts/3" */
  readonly path: string;
}

export interface ChardevOpener extends ChardevRights {
  /** A new one, or one that an earlier process had: its master, and the other end if that was kept too. */
  openPty(master: number | null, terminal: number | null): OpenPty;
}

/** `state`: null where the specification is "null". Throws CHARDEV_INVALID or CHARDEV_FAILED. */
export function openChardev(spec: string, opener: ChardevOpener, state: ChardevState | null): ChardevBackend {
  const parsed = parseChardevSpec(spec);
  if (state === null) return NOWHERE;
  const chardev = new StreamChardev(opener, state);
  try {
    if (parsed.kind === "stdio") openStdio(chardev, opener);
    else if (parsed.kind === "pty") openPtyChardev(chardev, opener);
    else if (parsed.kind === "file") openFile(chardev, parsed.path, opener);
    else if (parsed.kind === "unix") openUnix(chardev, parsed.path, opener);
  } catch (error) {
    chardev.close();
    throw new IoreqdError(
      "CHARDEV_FAILED",
      `chardev ${spec}: ${messageOf(error)}`,
      { chardev: spec },
      { cause: error },
    );
  }
  return chardev;
}

/** What a chardev of a process that was killed has left in the file system, and nobody needs. `spec`: any text. */
export function removeLeft(spec: string): void {
  const [kind, path] = [spec.slice(0, spec.indexOf(":")), spec.slice(spec.indexOf(":") + 1)];
  if (kind === "unix") removeLeftSocket(path);
}

/** A process has one standard input, whoever asks. */
let stdioTaken = false;

const errnoName = (errno: number): string => (errno === 0 ? "end of file" : getSystemErrorName(-errno));

function openStdio(chardev: StreamChardev, { log, io }: ChardevOpener): void {
  if (stdioTaken) throw new Error("standard input and output serve another chardev already");
  stdioTaken = true;
  chardev.onClose(() => {
    stdioTaken = false;
  });
  const [input, output] = [0, 1].map((fd) => new Descriptor(io, ownDescriptor(fd))) as [Descriptor, Descriptor];
  // The end of the input is an end like any other; a reader that goes away (`| head`) is no reason to end either.
  chardev.onEnd = (which, errno) => {
    if (errno !== 0) log.info({ error: errnoName(errno), of: which }, "stdio lost");
  };
  chardev.onClose(() => {
    input.close();
    output.close();
  });
  chardev.connect(input, output);
}

/**
 * A descriptor of standard input or output that can be made non-blocking: opened anew, where the kernel can, since others
 * (a shell, our own log) share the first one and its flags. A file keeps the position that those others have.
 * Source: proc(5), /proc/PID/fd.
 */
function ownDescriptor(fd: 0 | 1 | number): number {
  const stat = fstatSync(fd);
  const flags = fd === 0 ? constants.O_RDONLY : constants.O_WRONLY;
  if (!stat.isFile() && !stat.isSocket()) {
    try {
      return openSync(`/proc/self/fd/${fd}`, flags | constants.O_NOCTTY | constants.O_NONBLOCK);
    } catch {
      // Somebody else's terminal: then the one we were given.
    }
  }
  return fd;
}

function openPtyChardev(chardev: StreamChardev, { log, io, keeper, openPty }: ChardevOpener): void {
  const kept = keeper.take("master");
  const { fd, terminal, path } = openPty(kept, keeper.take("terminal"));
  chardev.onClose(() => closeSync(terminal));
  keeper.keep("master", fd);
  keeper.keep("terminal", terminal);
  chardev.onClose(() => {
    for (const end of ["master", "terminal"]) keeper.forget(end);
  });
  const master = new Descriptor(io, fd);
  chardev.onEnd = (which, errno) => {
    log.info({ pty: path, error: errnoName(errno), of: which }, "pty lost");
  };
  chardev.onClose(() => master.close());
  chardev.connect(master, master, "terminal");
  chardev.path = path;
  log.info({ pty: path }, kept === null ? "serial line opened" : "serial line continued");
}

function openFile(chardev: StreamChardev, path: string, { log, io }: ChardevOpener): void {
  const file = new Descriptor(io, openSync(path, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT, 0o600));
  chardev.onEnd = (_which, errno) => {
    log.info({ file: path, error: errnoName(errno) }, "file lost");
  };
  chardev.onClose(() => file.close());
  chardev.connect(null, file);
}
