// SPDX-License-Identifier: MIT
/** The ways in which serving a guest ends: a signal, the guest's end, a fault of our own. */

import { messageOf } from "../base/errors.js";
import type { DomId, IoservId } from "../base/ids.js";
import { isServerGone } from "../ioreq/server.js";
import { watchForEnd } from "../launch/guest.js";
import type { Logger } from "../observe/log.js";
import type { XenHost } from "../xen/host.js";
import { isSupervised, type SdNotify, watchdogPeriod } from "../xen/sd-notify.js";
import type { XenStore } from "../xenstore/client.js";

/** A fault that another process may not have: whoever supervises us starts one. Source: sysexits.h, EX_SOFTWARE. */
export const FAULT = 70;

export interface HowItEnded {
  readonly why: string;
  readonly exitCode: number;
  /** Whether Xen has ended the domain. */
  readonly guestGone: boolean;
  /** The guest runs on, and another process is to serve it. */
  readonly forNext: boolean;
}

export interface Served {
  readonly xen: XenHost;
  readonly domid: DomId;
  readonly ioservid: IoservId;
  readonly store: XenStore | null;
  readonly supervisor: SdNotify | null;
  /** It has given up xenstore, so Xen is asked. */
  readonly confined: boolean;
}

const SIGNALS: readonly NodeJS.Signals[] = ["SIGTERM", "SIGINT", "SIGHUP"];
/** How often Xen is asked whether the guest is still there, once xenstore can't tell any more. */
const ASK_XEN_MS = 2000;
/** The same where xenstore is not there to tell: until then the dead domain's memory can't be freed. */
const ASK_XEN_CONFINED_MS = 500;

export class Ending {
  /** Settles once, with the first that came. */
  readonly happened: Promise<HowItEnded>;
  readonly #log: Logger;
  readonly #undo: Array<() => void> = [];
  #end: (how: HowItEnded) => void = () => {};
  #served: Served | null = null;

  constructor(log: Logger) {
    this.#log = log;
    this.happened = new Promise((resolve) => {
      this.#end = resolve;
    });
    for (const signal of SIGNALS) {
      // A supervisor may be about to start the next process; if not, it says so: `ioreqd abandon`, in the unit.
      const forNext = isSupervised() && signal === "SIGTERM";
      this.#on(signal, () => this.#end({ why: signal, exitCode: 0, guestGone: false, forNext }));
    }
    // Whatever state this process is in now, the guest's is in the arena: the next one goes on from there.
    this.#on("uncaughtException", (error: unknown) => {
      log.fatal({ err: error }, "fault");
      process.exit(FAULT);
    });
  }

  /** From now on the guest's end is an ending, and the supervisor hears that we are alive. */
  watch(served: Served): void {
    this.#served = served;
    const { store, domid, supervisor, confined } = served;
    if (confined) this.#every(ASK_XEN_CONFINED_MS, () => this.#askXen());
    if (store !== null) {
      const failed = (error: unknown): void => this.#log.warn({ err: messageOf(error) }, "xenstore does not answer");
      watchForEnd(store, domid, () => this.#guestEnded(), failed).catch(failed);
      store.lost.then((error) => {
        this.#log.warn({ err: error.message }, "xenstore lost: asking Xen itself from now on");
        this.#every(ASK_XEN_MS, () => this.#askXen());
      }, failed);
    }
    const period = supervisor === null ? null : watchdogPeriod();
    if (period !== null) this.#every(period / 3, () => supervisor?.send({ WATCHDOG: 1 }));
  }

  /** The event channels brought an error: either the guest, or the simulated host, has gone, or it is our fault. */
  eventsLost(error: Error): void {
    const gone = (guestGone: boolean): void =>
      this.#end({ why: messageOf(error), exitCode: guestGone ? 0 : FAULT, guestGone, forNext: !guestGone });
    const { store, domid, confined = false } = this.#served ?? {};
    if (confined) gone(this.#hasEnded());
    else if (store == null || domid === undefined) gone(true);
    else
      store.isIntroduced(domid).then(
        (introduced) => gone(!introduced),
        () => gone(true),
      );
  }

  close(): void {
    for (const undo of this.#undo) undo();
  }

  #guestEnded(): void {
    this.#end({ why: "the guest has ended", exitCode: 0, guestGone: true, forNext: false });
  }

  #askXen(): void {
    if (this.#hasEnded()) this.#guestEnded();
  }

  #hasEnded(): boolean {
    const { xen, domid, ioservid } = this.#served as Served;
    try {
      xen.bufioreqPort(domid, ioservid);
      return false;
    } catch (error) {
      return isServerGone(error);
    }
  }

  #every(ms: number, act: () => void): void {
    const timer = setInterval(act, ms);
    timer.unref();
    this.#undo.push(() => clearInterval(timer));
  }

  #on(event: string, act: (argument: unknown) => void): void {
    process.on(event, act);
    this.#undo.push(() => process.off(event, act));
  }
}
