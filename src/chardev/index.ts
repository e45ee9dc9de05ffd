// SPDX-License-Identifier: MIT
/** Streams of bytes for devices: opens what parseChardevSpec() understands. */

import { closeSync, constants, createWriteStream, openSync } from "node:fs";
import { ReadStream } from "node:tty";
import { IoreqdError, messageOf } from "../base/errors.js";
import { descriptorSink, streamSink } from "./output.js";
import { parseChardevSpec } from "./spec.js";
import { type ChardevBackend, type ChardevRights, StreamChardev } from "./stream.js";
import { openUnix } from "./unix.js";

export { type ChardevSpec, parseChardevSpec } from "./spec.js";
export type { ChardevBackend, ChardevRights } from "./stream.js";

export interface ChardevOpener extends ChardevRights {
  /** Node.js can't open a pseudo terminal by itself: see src/xen/pty.ts. `fd` is in raw mode and open with O_NONBLOCK. */
  openPty(): { readonly fd: number; readonly path: string };
}

/** Throws CHARDEV_INVALID or CHARDEV_FAILED. */
export function openChardev(spec: string, opener: ChardevOpener): ChardevBackend {
  const parsed = parseChardevSpec(spec);
  const chardev = new StreamChardev(opener);
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

function openStdio(chardev: StreamChardev, { log }: ChardevOpener): void {
  const { stdin, stdout } = process;
  if (stdin.listenerCount("data") > 0) throw new Error("standard input and output serve another chardev already");
  // A reader that goes away (`| head`) is no reason to end, also after this chardev: what was written may fail later.
  const lost = (error: Error): void => log.info({ error: error.message }, "stdio lost");
  for (const stream of [stdin, stdout]) if (stream.listenerCount("error") === 0) stream.on("error", lost);
  chardev.connect(stdin, streamSink(stdout));
  chardev.onClose(() => stdin.pause());
}

function openPtyChardev(chardev: StreamChardev, { log, openPty }: ChardevOpener): void {
  const { fd, path } = openPty();
  // While nobody has the other end open a read fails; so one is always open, by us.
  const other = openSync(path, constants.O_RDWR | constants.O_NOCTTY);
  const stream = new ReadStream(fd);
  stream.on("error", (error) => log.info({ pty: path, error: messageOf(error) }, "pty lost"));
  chardev.connect(
    stream,
    descriptorSink(fd, () => !stream.destroyed),
  );
  chardev.onClose(() => {
    stream.destroy();
    closeSync(other);
  });
  chardev.path = path;
  log.info({ pty: path }, "serial line opened");
}

function openFile(chardev: StreamChardev, path: string, { log }: ChardevOpener): void {
  const fd = openSync(path, "a", 0o600);
  const stream = createWriteStream(path, { fd });
  stream.on("error", (error) => log.info({ file: path, error: messageOf(error) }, "file lost"));
  chardev.connect(null, streamSink(stream));
  chardev.onClose(() => stream.end());
}
