// SPDX-License-Identifier: MIT
/**
 * What stands in xenstore about a served guest. All of it lies below the device model's own node, which
 * libxl removes with the guest.
 *
 *     /local/domain/0/device-model/DOMID/ioreqd/state      starting, running, error
 *                                              /error      what went wrong, with state error
 *                                              /pid        of the process that serves
 *                                              /ioservid   number of its ioreq server
 *                                              /version    of ioreqd
 *                                              /device/0…  what to serve, as --device takes it
 *                                              /restore    a file: what the devices of a guest that comes from elsewhere know
 */

import type { XenStore } from "../xenstore/client.js";

type ServiceState = "starting" | "running" | "error";

const KEYS = ["state", "error", "pid", "ioservid", "version"] as const;

/** What is to be served. */
export interface Requested {
  readonly devices: readonly string[];
  /** Null once the guest is served: a process that begins anew later must not go back to that. */
  readonly restore: string | null;
}

const serviceNode = (domid: number): string => `/local/domain/0/device-model/${domid}/ioreqd`;

/** What xenstore takes as one value, less its own overhead. Source: Xen docs/misc/xenstore.txt, payload limit. */
const LONGEST_VALUE = 2048;

/** What was asked of a serving process, and what it says of itself. Errors of xenstore reach the caller. */
export class ServiceKeys {
  readonly #store: XenStore;
  readonly #domid: number;
  readonly #node: string;

  constructor(store: XenStore, domid: number) {
    this.#store = store;
    this.#domid = domid;
    this.#node = serviceNode(domid);
  }

  /** What to serve, for a process that is started by the domain's number alone. */
  async request(devices: readonly string[], restore: string | null): Promise<void> {
    await this.#store.transaction(async (t) => {
      await t.remove(this.#node);
      for (const [i, device] of devices.entries()) await t.write(`${this.#node}/device/${i}`, device);
      if (restore !== null) await t.write(`${this.#node}/restore`, restore);
      await t.write(`${this.#node}/state`, "starting" satisfies ServiceState);
    });
  }

  /** Who was asked serves the guest, and has the state that it comes with. */
  async restored(): Promise<void> {
    await this.#store.remove(`${this.#node}/restore`);
  }

  async requested(): Promise<Requested> {
    const restore = await this.#store.read(`${this.#node}/restore`);
    const keys = (await this.#store.list(`${this.#node}/device`)) ?? [];
    const numbers = keys.map(Number).sort((a, b) => a - b);
    const values = await Promise.all(numbers.map((i) => this.#store.read(`${this.#node}/device/${i}`)));
    return { devices: values.filter((value) => value !== null), restore: restore ?? null };
  }

  running(ioservid: number, version: string): Promise<void> {
    const values = { state: "running", pid: String(process.pid), ioservid: String(ioservid), version } as const;
    return this.#say(values, (now) => now.ioservid !== String(ioservid) && isAlive(now.pid));
  }

  /** Of a guest that has gone nothing is said: nobody would ever remove it. */
  async failed(reason: string): Promise<void> {
    const values = { state: "error", error: reason.slice(0, LONGEST_VALUE) } as const;
    await this.#say(values, (now) => now.pid !== String(process.pid) && isAlive(now.pid));
    if (!(await this.#store.isIntroduced(this.#domid))) await this.removeAll();
  }

  /** The process with this server has let go, and another may serve the guest: what to serve stays. */
  stopped(ioservid: number): Promise<void> {
    return this.#say({}, (now) => now.ioservid !== null && now.ioservid !== String(ioservid));
  }

  /** The guest has gone. */
  async removeAll(): Promise<void> {
    await this.#store.remove(this.#node);
  }

  async status(): Promise<{ state: string | null; error: string | null; pid: number | null }> {
    const [state, error, pid] = await Promise.all(
      ["state", "error", "pid"].map((key) => this.#store.read(`${this.#node}/${key}`)),
    );
    return { state: state ?? null, error: error ?? null, pid: pid == null ? null : Number(pid) };
  }

  watch(changed: () => void): Promise<{ close(): Promise<void> }> {
    return this.#store.watch(`${this.#node}/state`, changed);
  }

  /**
   * All keys but those of the request, as others see them from now on. Where several processes serve a guest they are those
   * of the first, and the others let them be.
   */
  #say(
    values: Partial<Record<(typeof KEYS)[number], string>> & { state?: ServiceState },
    areAnothers: (now: { readonly pid: string | null; readonly ioservid: string | null }) => boolean,
  ): Promise<void> {
    return this.#store.transaction(async (t) => {
      const [pid, ioservid] = [await t.read(`${this.#node}/pid`), await t.read(`${this.#node}/ioservid`)];
      if (areAnothers({ pid, ioservid })) return;
      for (const key of KEYS) {
        const value = values[key];
        await (value === undefined ? t.remove(`${this.#node}/${key}`) : t.write(`${this.#node}/${key}`, value));
      }
    });
  }
}

/** One that we may not signal is there, too. */
function isAlive(pid: string | null): boolean {
  if (pid === null || !/^[1-9]\d*$/.test(pid)) return false;
  try {
    process.kill(Number(pid), 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
