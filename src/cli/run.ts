// SPDX-License-Identifier: MIT
/**
 * `ioreqd run`: serve one guest until told to end, or until the guest is gone; first of all, go on where a process before
 * it has ended.
 */

import { existsSync } from "node:fs";
import { hasCode, messageOf } from "../base/errors.js";
import { findGuest } from "../launch/guest.js";
import { ServiceKeys } from "../launch/keys.js";
import { openStore } from "../launch/store.js";
import { type Logger, openLog } from "../observe/log.js";
import { DescriptorStore } from "../xen/descriptor-store.js";
import { openAdapter } from "../xen/ffi/index.js";
import { NativeXen } from "../xen/native.js";
import { SdNotify } from "../xen/sd-notify.js";
import { confine } from "./confine.js";
import { Ending } from "./ending.js";
import { gather, type RunFlags } from "./gather.js";
import { functionSummary, Session } from "./session.js";
import { statePath } from "./state-file.js";
import { version } from "./version.js";

/**
 * Serve. Resolves with the exit code: 0 after SIGTERM or SIGINT or the guest's end, 70 after a fault
 * that another process may not have. Throws IoreqdError when it can't begin.
 */
export async function run(flags: RunFlags): Promise<number> {
  const plan = await gather(flags);
  const { domid, devices } = plan.session;
  // What the operator got wrong is told before anything is opened. A guest that was served before has its devices.
  if (!existsSync(statePath(plan.session.stateDir, domid))) devices();
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
      const session = await begin(uuid);
      try {
        if (confined) {
          await keys?.running(session.server.id, version());
          store?.close();
          confine(xen, domid);
        }
        session.serve();
        ending.watch({ xen, domid, ioservid: session.server.id, store: confined ? null : store, supervisor, confined });
        if (!confined) await keys?.running(session.server.id, version());
        announce(log, session, domid);
        supervisor?.send({ READY: 1, STATUS: `serving domain ${domid}: ${session.tree.functions.length} functions` });
        const { why, exitCode, guestGone, forNext } = await ending.happened;
        log.info({ reason: why }, "stopping");
        supervisor?.send({ STOPPING: 1, STATUS: why });
        if (forNext) session.leave();
        else session.stop();
        // Without xenstore that is left to libxl, which removes the keys of a guest that has ended, and to the unit.
        if (!confined) {
          await (guestGone ? keys?.removeAll() : keys?.stopped())?.catch((error) =>
            log.warn({ err: messageOf(error) }, "xenstore keys not removed"),
          );
        }
        log.info({ ...session.server.counters.toJSON(), unclaimed: session.tree.unclaimed }, "stopped");
        return exitCode;
      } finally {
        session.stop();
      }
    } finally {
      store?.close();
    }

    async function begin(uuid: string): Promise<Session> {
      try {
        const descriptors = new DescriptorStore(supervisor);
        return new Session({ ...plan.session, uuid, descriptors }, xen, ffi, log, (error) => ending.eventsLost(error));
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

function announce(log: Logger, session: Session, domid: number): void {
  log.info(
    {
      domid,
      server: session.server.id,
      vcpus: session.server.vcpus,
      functions: session.tree.functions.map(functionSummary),
      ...(session.takenOver ? { takenOver: true } : {}),
      ms: Math.round(performance.now()),
    },
    "ready",
  );
}
