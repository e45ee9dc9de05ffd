// SPDX-License-Identifier: MIT
/**
 * `ioreqd run`: serve one guest until told to end, or until the guest is gone; first of all, go on where a process before
 * it has ended.
 */

import { existsSync } from "node:fs";
import { keepCompiled } from "../base/compiled.js";
import { hasCode, IoreqdError, messageOf } from "../base/errors.js";
import { isShortage } from "../base/shortage.js";
import { isServerGone } from "../ioreq/server.js";
import { Grants, recipesIn } from "../launch/grants.js";
import { findGuest } from "../launch/guest.js";
import { ServiceKeys } from "../launch/keys.js";
import { openStore } from "../launch/store.js";
import { type Logger, openLog } from "../observe/log.js";
import { monotonic } from "../pci/timers.js";
import { DescriptorStore } from "../xen/descriptor-store.js";
import { openAdapter } from "../xen/ffi/index.js";
import { NativeXen } from "../xen/native.js";
import { SdNotify } from "../xen/sd-notify.js";
import { confine } from "./confine.js";
import type { Reloading } from "./control-commands.js";
import { Ending } from "./ending.js";
import { gather, type RunFlags } from "./gather.js";
import { rehearse } from "./rehearsal.js";
import { Saving } from "./saving.js";
import { functionSummary, Session } from "./session.js";
import { stateDirOf } from "./state-dir.js";
import { grantsPath, statePath } from "./state-file.js";
import { Predecessor, Successor } from "./successor.js";
import { version } from "./version.js";

/**
 * Serve. Resolves with the exit code: 0 after SIGTERM or SIGINT or the guest's end, 70 after a fault
 * that another process may not have; where another process went on, and nobody but us waits for its end, with that one's.
 * `begun` is called with what serves, and what it returns at the end of that. Throws IoreqdError when it can't begin.
 */
export async function run(flags: RunFlags, begun: (session: Session) => () => void = () => () => {}): Promise<number> {
  const predecessor = flags.successor === true ? new Predecessor() : null;
  const served = wasServed(flags);
  try {
    const outcome = await serve(flags, predecessor, begun);
    return outcome instanceof Successor ? await outcome.outlive() : outcome;
  } catch (error) {
    predecessor?.failed(error);
    if (!served) throw error;
    if (hasCode(error, "DOMAIN_UNKNOWN") || isServerGone(error)) {
      process.stderr.write(`ioreqd: ${messageOf(error)}; it was served before\n`);
      if (predecessor !== null) return 0;
      tellEnded();
      await removeRest(flags);
      return 0;
    }
    if (!isShortage(error)) throw error;
    process.stderr.write(`ioreqd: ${messageOf(error)}; the guest waits for a process that finds more\n`);
    return LATER;
  }
}

/** The guest waits, and what was missing may be there in a moment: whoever supervises us tries again. Source: sysexits.h, EX_TEMPFAIL. */
const LATER = 75;

/** There is something to go on with, or to remove where the guest ended while no process served it. */
function wasServed(flags: RunFlags): boolean {
  return flags.domid !== undefined && existsSync(statePath(stateDirOf(flags), flags.domid));
}

/** A unit whose process ends before it was ready has failed, whatever the exit code, and would be started again and again. */
function tellEnded(): void {
  const supervisor = SdNotify.open(openAdapter());
  supervisor?.send({ READY: 1, STATUS: "the guest has ended" });
  supervisor?.close();
}

/** Of a guest that has ended. */
async function removeRest(flags: RunFlags): Promise<void> {
  const { abandon } = await import("./abandon.js");
  await abandon(flags.domid as number, { stateDir: stateDirOf(flags) }).catch((error: unknown) => {
    if (hasCode(error, "NOTHING_LEFT")) return;
    process.stderr.write(`ioreqd: ${messageOf(error)}; ioreqd abandon ${flags.domid} removes what is left\n`);
  });
}

async function serve(
  flags: RunFlags,
  predecessor: Predecessor | null,
  begun: (session: Session) => () => void,
): Promise<number | Successor> {
  const plan = await gather(flags);
  const { domid, devices, stateDir, restore } = plan.session;
  // What the operator got wrong is told before anything is opened. A guest that was served before has its devices.
  if (restore === undefined && !existsSync(statePath(stateDir, domid))) devices();
  const confined = flags.confine === true;
  const log = openLog(plan.log);
  const ffi = openAdapter(plan.ffi);
  const xen = new NativeXen(ffi);
  const supervisor = SdNotify.open(ffi);
  const ending = new Ending(log);
  try {
    const store = await openStore();
    const keys = store === null ? null : new ServiceKeys(store, domid);
    try {
      const uuid = store === null ? "" : (await findGuest(store, domid)).uuid;
      if (predecessor !== null) {
        const grants = new Grants(grantsPath(stateDir, domid));
        rehearse(ffi, statePath(stateDir, domid), grants, () => recipesIn(devices));
        if (!(await predecessor.prepared())) return 0;
      }
      for (let first = true; ; first = false) {
        const outcome = await serveOnce(uuid, first);
        if (outcome !== null) return outcome;
      }
    } finally {
      store?.close();
    }

    /** Null when a successor could not go on after all, and this process has to. */
    async function serveOnce(uuid: string, first: boolean): Promise<number | Successor | null> {
      const handover = new Handover();
      const session = await begin(uuid, handover);
      let over = (): void => {};
      const { savedDir } = plan;
      const { takenOver } = session;
      const snapshot = (): Buffer => session.snapshot();
      const saving = Saving.open({ domid, uuid, stateDir, savedDir, takenOver, snapshot, log });
      // Its file is in the directory that the session removes.
      session.defer("close the file for saved state", () => saving?.close(false));
      try {
        keepCompiled();
        if (confined) {
          await sayRunning(session);
          store?.close();
          confine(xen, domid);
        }
        await orSayWhy(() => {
          session.serve();
          saving?.begin();
        });
        if (first) {
          ending.watch({
            xen,
            domid,
            ioservid: session.server.id,
            store: confined ? null : store,
            supervisor,
            confined,
          });
          session.waitedMs = predecessor?.serving() ?? null;
        }
        if (!confined) await sayRunning(session);
        announce(log, session, domid);
        await predecessor?.gone();
        supervisor?.send({ READY: 1, STATUS: `serving domain ${domid}: ${session.tree.functions.length} functions` });
        over = begun(session);
        const end = await Promise.race([ending.happened, handover.agreed]);
        if (end instanceof Successor) return await handOver(session, end);
        const { why, exitCode, guestGone, forNext } = end;
        log.info({ reason: why }, "stopping");
        supervisor?.send({ STOPPING: 1, STATUS: why });
        saving?.close(!forNext);
        if (forNext) session.leave();
        else session.stop();
        // Without xenstore that is left to libxl, which removes the keys of a guest that has ended, and to the unit.
        if (!confined) {
          await (guestGone ? keys?.removeAll() : keys?.stopped(session.server.id))?.catch((error) =>
            log.warn({ err: messageOf(error) }, "xenstore keys not removed"),
          );
        }
        log.info({ ...session.server.counters.toJSON(), unclaimed: session.tree.unclaimed }, "stopped");
        return exitCode;
      } finally {
        over();
        session.stop();
      }
    }

    async function handOver(session: Session, successor: Successor): Promise<number | Successor | null> {
      log.info({ successor: successor.pid }, "another process goes on");
      const leftAt = monotonic();
      session.leave();
      try {
        await successor.take(leftAt);
      } catch (error) {
        log.error({ successor: successor.pid, err: messageOf(error) }, "it could not: this one does");
        return null;
      }
      if (supervisor === null) {
        successor.letGo();
        // Whoever waits for our end waits for the guest's. What came meanwhile is meant for the one that serves.
        void ending.happened.then(() => successor.kill("SIGTERM"));
        return successor;
      }
      // It watches that one from now on, and hears nobody else. Source: sd_notify(3), MAINPID=; systemd.service(5), NotifyAccess=.
      supervisor.send({ MAINPID: successor.pid });
      successor.letGo();
      successor.release();
      return 0;
    }

    /** A guest that was served before goes on with its devices, whatever xenstore has against our keys. */
    async function sayRunning(session: Session): Promise<void> {
      await keys?.running(session.server.id, version()).catch((error: unknown) => {
        if (!session.takenOver) throw error;
        log.warn({ err: messageOf(error) }, "xenstore keys not written");
      });
    }

    function begin(uuid: string, handover: Handover): Promise<Session> {
      // Who has given up root can't start a process that has it.
      const reload = confined || flags.swaps === true ? {} : { reload: () => handover.prepare(supervisor !== null) };
      const descriptors = new DescriptorStore(supervisor);
      const options = { ...plan.session, uuid, descriptors, confined, ...reload };
      return orSayWhy(() => new Session(options, xen, ffi, log, (error) => ending.eventsLost(error)));
    }

    /** What keeps us from serving is told where others look for it. */
    async function orSayWhy<T>(act: () => T): Promise<T> {
      try {
        return act();
      } catch (error) {
        supervisor?.send({ STATUS: messageOf(error) });
        // Another process serves this guest: what it says of itself stays.
        if (!hasCode(error, "DOMAIN_SERVED")) await keys?.failed(messageOf(error)).catch(() => {});
        throw error;
      }
    }
  } finally {
    ending.close();
    supervisor?.close();
    xen.close();
  }
}

/** What `ioreqd reload` asks for: first another process, which may refuse, and then that this one lets go. */
class Handover {
  readonly agreed: Promise<Successor>;
  #agree: (successor: Successor) => void = () => {};
  #preparing = false;

  constructor() {
    this.agreed = new Promise((resolve) => {
      this.#agree = resolve;
    });
  }

  /** Throws what the other process says against it, RELOAD_FAILED. */
  async prepare(supervised: boolean): Promise<Reloading> {
    if (this.#preparing) throw new IoreqdError("RELOAD_FAILED", "another process is being started already");
    this.#preparing = true;
    try {
      const successor = await Successor.prepare(supervised);
      // Whoever asked is answered first: the socket goes with the session.
      setImmediate(() => this.#agree(successor));
      return { pid: successor.pid };
    } finally {
      this.#preparing = false;
    }
  }
}

function announce(log: Logger, session: Session, domid: number): void {
  log.info(
    {
      domid,
      server: session.server.id,
      vcpus: session.server.vcpus,
      functions: session.tree.functions.map(functionSummary),
      ...(session.takenOver ? { takenOver: true } : {}),
      ...(session.restored ? { restored: true } : {}),
      ...(session.waitedMs === null ? {} : { waitedMs: Math.round(session.waitedMs) }),
      ms: Math.round(performance.now()),
    },
    "ready",
  );
}
