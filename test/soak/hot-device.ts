// SPDX-License-Identifier: MIT
/**
 * Adds and removes a device again and again, by the control socket of whoever serves just then. What was
 * confirmed has to hold in every process that comes after; where the process died before it answered, either may be.
 */

import { setTimeout } from "node:timers/promises";
import { hasCode } from "../../src/base/errors.js";
import type { ListedDevice } from "../../src/cli/control-commands.js";
import { control } from "../../src/control/client.js";
import { HOT_SPEC } from "./places.js";

const BETWEEN_MS = 3;

export class HotDevice {
  readonly #socket: string;
  #stopped = false;
  #running: Promise<void> = Promise.resolve();
  /** Null while nobody knows. */
  #isThere: boolean | null = false;
  added = 0;
  removed = 0;
  /** Requests whose process died before it answered. */
  unanswered = 0;

  constructor(socket: string) {
    this.#socket = socket;
  }

  begin(): void {
    this.#running = this.#keepGoing();
    this.#running.catch(() => {}); // told by stop()
  }

  /** Throws what was found wrong. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #keepGoing(): Promise<void> {
    while (!this.#stopped) {
      await this.#change().catch((error: unknown) => {
        if (!hasCode(error, "CONTROL_UNREACHABLE")) throw error;
      });
      await setTimeout(BETWEEN_MS);
    }
  }

  async #change(): Promise<void> {
    const isThere = await this.list();
    this.#isThere = null;
    try {
      if (isThere) await control(this.#socket, "device.remove", { id: "hot", force: true });
      else await control(this.#socket, "device.add", { spec: HOT_SPEC });
    } catch (error) {
      this.unanswered += 1;
      throw error;
    }
    if (isThere) this.removed += 1;
    else this.added += 1;
    this.#isThere = !isThere;
  }

  /** Whether it is there. Throws CONTROL_UNREACHABLE, and when that is not what was confirmed. */
  async list(): Promise<boolean> {
    const { devices } = (await control(this.#socket, "device.list")) as { devices: ListedDevice[] };
    const isThere = devices.some(({ id }) => id === "hot");
    if (this.#isThere !== null && this.#isThere !== isThere) {
      throw new Error(
        `the device that was ${this.#isThere ? "added" : "removed"} is ${isThere ? "there" : "not there"}`,
      );
    }
    return isThere;
  }
}
