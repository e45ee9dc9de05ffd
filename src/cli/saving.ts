// SPDX-License-Identifier: MIT
/**
 * Writes what the devices know when the guest is saved, or migrated: then libxl suspends it, and has QEMU write its state
 * to /var/lib/xen/qemu-save.DOMID. That file is what tells a process which has given up xenstore. It keeps its own file
 * open from before, for the directory is root's; who ended the guest's unit keeps that for the guest that is restored.
 *
 * Source: Xen tools/libs/light/libxl_dom_suspend.c, libxl_qmp.c (libxl__qmp_suspend_save): QEMU is stopped and saved after
 * the domain has shut down; the file stays until the domain is destroyed.
 */

import {
  closeSync,
  constants,
  type FSWatcher,
  fstatSync,
  ftruncateSync,
  openSync,
  rmSync,
  statSync,
  watch,
} from "node:fs";
import { join } from "node:path";
import { messageOf } from "../base/errors.js";
import type { Logger } from "../observe/log.js";
import { readSnapshot } from "../state/snapshot.js";
import { keepSaved, MOST_SAVED_BYTES, readAll, savedPath, writeAll } from "./saved-file.js";

/** Where libxl has QEMU write. Source: Xen tools/libs/light/libxl_internal.h, LIBXL_DEVICE_MODEL_SAVE_FILE. */
const DEFAULT_LIBXL_DIR = "/var/lib/xen";

export interface SavingParts {
  readonly domid: number;
  /** The domain's. */
  readonly uuid: string;
  readonly stateDir: string;
  /** Where it is kept once the guest has ended. */
  readonly savedDir: string;
  /** See Session.snapshot(). */
  readonly snapshot: () => Buffer;
  /** A process before this one served the guest, and may have died just as it was saved. */
  readonly takenOver: boolean;
  readonly log: Logger;
}

export class Saving {
  readonly #parts: SavingParts;
  readonly #path: string;
  /** What QEMU writes. */
  readonly #qemus: string;
  readonly #fd: number;
  #watcher: FSWatcher | null = null;
  #due: NodeJS.Immediate | null = null;
  #closed = false;

  /** While this process may still open what is root's. Null where it can't be: the guest is served all the same. */
  static open(parts: SavingParts): Saving | null {
    // Numbers of domains are used again: without a uuid nobody could tell whose it is.
    if (parts.uuid === "") return null;
    try {
      return new Saving(parts);
    } catch (error) {
      parts.log.warn({ err: messageOf(error) }, "the devices' state will not be saved with the guest");
      return null;
    }
  }

  private constructor(parts: SavingParts) {
    this.#parts = parts;
    const { domid, uuid, stateDir, log } = parts;
    this.#path = savedPath(stateDir, domid, uuid);
    // IOREQD_LIBXL_DIR names another place, for tests.
    const directory = process.env["IOREQD_LIBXL_DIR"] ?? DEFAULT_LIBXL_DIR;
    this.#qemus = join(directory, `qemu-save.${domid}`);
    this.#fd = openSync(this.#path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
    // Without libxl there is no such directory, and nobody who saves a guest.
    if (mtimeOf(directory) === null) return;
    try {
      this.#watcher = watch(directory, { persistent: false }, (_event, file) => {
        if (file === null || join(directory, file) === this.#qemus) this.#soon();
      });
      this.#watcher.on("error", (error) =>
        log.warn({ err: messageOf(error) }, "no longer told when the guest is saved"),
      );
    } catch (error) {
      closeSync(this.#fd);
      throw error;
    }
  }

  /** Once the guest is served: write what a process before this one died without writing. */
  begin(): void {
    const saved = mtimeOf(this.#qemus);
    if (saved === null || !this.#parts.takenOver) return;
    // Who died while writing left what nobody can read.
    if (this.#isWhole() && fstatSync(this.#fd).mtimeMs >= saved) return;
    this.#save();
  }

  /**
   * No more. `ended`: nobody is to serve the guest any more, and what was saved is kept for the one that is restored. A
   * second call does nothing.
   */
  close(ended: boolean): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#watcher?.close();
    if (this.#due !== null) clearImmediate(this.#due);
    const isEmpty = fstatSync(this.#fd).size === 0;
    closeSync(this.#fd);
    const { domid, stateDir, savedDir, log } = this.#parts;
    try {
      if (ended) keepSaved(stateDir, domid, savedDir);
      else if (isEmpty) rmSync(this.#path, { force: true });
    } catch (error) {
      // Who has given up root can't: bin/ioreqd-stopped does.
      log.debug({ err: messageOf(error) }, "saved state left where it is");
    }
  }

  /** Several events come of one save, each later than the guest's suspension: the last one counts. */
  #soon(): void {
    this.#due ??= setImmediate(() => {
      this.#due = null;
      // libxl removes the file as it destroys the domain, long after the guest was saved.
      if (mtimeOf(this.#qemus) !== null) this.#save();
    });
  }

  #save(): void {
    const { log, snapshot } = this.#parts;
    try {
      const bytes = snapshot();
      ftruncateSync(this.#fd, 0);
      if (bytes.length > MOST_SAVED_BYTES)
        throw new Error(`${bytes.length} bytes, and ${MOST_SAVED_BYTES} are possible`);
      writeAll(this.#fd, bytes);
      log.info({ bytes: bytes.length }, "the guest is suspended to be saved: so is the state of its devices");
    } catch (error) {
      log.error({ err: messageOf(error) }, "the state of the guest's devices is not saved");
    }
  }

  #isWhole(): boolean {
    try {
      readSnapshot(readAll(this.#fd, this.#path));
      return true;
    } catch {
      return false;
    }
  }
}

/** Null: there is no such file, or none that may be seen. */
function mtimeOf(path: string): number | null {
  try {
    return statSync(path).mtimeMs;
  } catch {
    return null;
  }
}
