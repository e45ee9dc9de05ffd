// SPDX-License-Identifier: MIT
/**
 * One guest served by one process: the only place where Xen, the server, the
 * tree and the outside world are put together.
 */

import { IoreqdError, messageOf } from "../base/errors.js";
import type { DomId, IoservId } from "../base/ids.js";
import { Teardown } from "../base/teardown.js";
import { ControlServer } from "../control/server.js";
import { serverExists } from "../ioreq/other-servers.js";
import type { PollingOptions } from "../ioreq/polling.js";
import { IoreqServer } from "../ioreq/server.js";
import { resolveAgain } from "../launch/device-spec.js";
import { recipesIn, recipesOf } from "../launch/grants.js";
import { ForeignMemory } from "../memory/guest-memory.js";
import { AccessLog } from "../observe/access-log.js";
import { GuestEvents } from "../observe/guest-events.js";
import type { Logger } from "../observe/log.js";
import type { PciFunction } from "../pci/function.js";
import { Hotplug } from "../pci/hotplug.js";
import { type DeviceRequest, planTree } from "../pci/plan.js";
import { type PlanAgain, planAgain, recipeOf, takeState } from "../pci/plan-again.js";
import { planSnapshot } from "../pci/plan-snapshot.js";
import { Quarantine } from "../pci/quarantine.js";
import { monotonic } from "../pci/timers.js";
import { PciTree } from "../pci/tree.js";
import type { HostWindows } from "../pci/windows.js";
import { type Arena, SERVER_STATE } from "../state/arena.js";
import type { DeviceRecipe } from "../state/layout.js";
import { type Snapshot, settledSnapshot, writeSnapshot } from "../state/snapshot.js";
import type { DescriptorStore } from "../xen/descriptor-store.js";
import type { FfiAdapter } from "../xen/ffi/table.js";
import type { BufioreqMode, XenHost } from "../xen/host.js";
import { blame } from "./blame.js";
import { controlCommands, type Reloading } from "./control-commands.js";
import { sessionHost } from "./session-host.js";
import { SessionRights } from "./session-rights.js";
import { controlPath, StateFile } from "./state-file.js";
import { version } from "./version.js";
import { watchTransactions } from "./watchdog.js";

export interface SessionOptions {
  readonly domid: DomId;
  /** The domain's, "" where nobody can tell: numbers are used again. */
  readonly uuid: string;
  /** What to serve where no process has served the domain before. Throws for what the operator got wrong. */
  readonly devices: () => readonly DeviceRequest[];
  readonly hosts: readonly HostWindows[];
  /** What the guest's devices knew where it was saved, or where it ran until now; it stands in place of `devices` and `hosts`. */
  readonly restore?: Snapshot;
  readonly bufioreq: BufioreqMode;
  readonly polling: PollingOptions;
  /** The directory that has one directory per domain. */
  readonly stateDir: string;
  readonly verbosity: number;
  /** What the supervisor keeps for the process that comes next. */
  readonly descriptors?: DescriptorStore;
  /** How long one transaction may take, in ms, before the process ends for the next one; 0: for ever. */
  readonly watchdog: number;
  /** After how many deaths in a device's work it goes into quarantine; 0: never. */
  readonly quarantine: number;
  /** See Controlled. */
  readonly confined?: boolean;
  readonly reload?: () => Promise<Reloading>;
}

export class Session {
  readonly server: IoreqServer;
  readonly tree: PciTree;
  readonly events: GuestEvents;
  readonly rights: SessionRights;
  readonly hotplug: Hotplug;
  readonly quarantine: Quarantine;
  /** How long, in ms, the guest waited for this process to go on where another had left; null where none had. */
  waitedMs: number | null = null;
  readonly #down = new Teardown();
  readonly #state: StateFile;
  readonly #log: Logger;
  readonly #memory: ForeignMemory;
  readonly #arena: Arena;
  readonly #options: SessionOptions;
  readonly #xen: XenHost;
  /** The record whose work a process before this one died in, or -1. */
  #died = -1;

  /**
   * Create everything that serve() needs. `lost` is called when the domain is gone.
   * Throws IoreqdError, with everything undone.
   */
  constructor(options: SessionOptions, xen: XenHost, ffi: FfiAdapter, log: Logger, lost: (error: Error) => void) {
    this.#options = options;
    this.#xen = xen;
    this.#log = log;
    this.events = new GuestEvents(log);
    try {
      this.#state = new StateFile(ffi, options, this.#down);
      const left = this.#leftBehind();
      // What the guest had from the process before stays: an error here is for the next one to mend.
      this.#state.keep = left !== null;
      // Tables and addresses are checked before anything is created.
      const { grants } = this.#state;
      // There may be some of a former domain of this number, whose process was killed before it ended.
      if (left === null) grants.revoke();
      const requestsOf = (recipes: readonly DeviceRecipe[]): DeviceRequest[] =>
        resolveAgain(grants.check(recipes, () => recipesIn(options.devices)));
      const again = left === null ? this.#restored(requestsOf) : planAgain(left, requestsOf);
      const requests = again === null ? options.devices() : [];
      const plan = again ?? planTree(requests, options.hosts);
      refuseTranslation(plan.hosts, xen);
      const arena = left === null ? this.#state.create(plan, this.#down) : this.#state.takeOver(left, this.#down);
      if (left === null) {
        arena.uuid = options.uuid;
        grants.add(options.restore?.devices.map(recipeOf) ?? recipesOf(requests));
      }
      this.#arena = arena;
      this.tree = new PciTree(plan, arena);
      this.#memory = new ForeignMemory(xen, options.domid, (what, fields) => this.events.note("", what, fields));
      this.server = new IoreqServer(
        { domid: options.domid, bufioreq: options.bufioreq, polling: options.polling },
        {
          xen,
          arena,
          bus: this.tree,
          memory: this.#memory,
          guestEvent: (what, fields) => this.events.note("", what, fields),
          changed: (what, fields) => log.debug(fields, what),
          watch: () => watchTransactions(arena, options.watchdog),
          lost,
        },
      );
      this.#down.defer("stop the server", () => this.server.stop());
      if (options.verbosity >= 2) this.server.engine.observer = new AccessLog(log, this.tree, options.verbosity >= 3);
      const { engine } = this.server;
      this.rights = new SessionRights({
        ffi,
        log,
        events: this.events,
        memory: this.#memory,
        engine,
        descriptors: options.descriptors,
        arriving: () => this.restored && arena.header("serverState") !== SERVER_STATE.enabled,
      });
      this.#down.defer("close the chardevs", () => this.rights.releaseAll());
      this.hotplug = new Hotplug(this.tree, plan.hosts, arena, this.rights);
      this.quarantine = new Quarantine(this.tree, arena, this.rights);
      if (left !== null) {
        const { quarantine, tree, server } = this;
        blame(this.#died, { arena, log, tree, server, quarantine, most: options.quarantine });
      }
      // Xen has the lines as they were there, and nobody knows of when.
      if (this.restored) this.tree.doubtLines();
      const { server, events } = this;
      this.tree.connect(sessionHost({ domid: options.domid, xen, server, memory: this.#memory, events, log }));
      this.#down.defer("stop the timers", () => this.tree.detach());
      arena.transact(() => {
        // Where tables have changed, all of it happens or nothing: who dies in between leaves state and layout of before.
        if (again === null) this.tree.reset();
        else takeState(arena, again);
        this.tree.attach(this.rights);
      });
      this.#listen();
      // A function that Xen refuses is a reason not to start; later the tree counts it and goes on.
      if (left === null) this.tree.claimFunctions();
    } catch (error) {
      this.stop();
      throw error;
    }
  }

  /** From now on the guest is answered. Throws IoreqdError, with everything undone. */
  serve(): void {
    try {
      this.server.start();
      this.#state.keep = false;
    } catch (error) {
      this.stop();
      throw error;
    }
  }

  /** Whether a process before this one served the guest. */
  get takenOver(): boolean {
    return this.server.takenOver;
  }

  /** Whether the guest came from elsewhere. */
  get restored(): boolean {
    return this.#options.restore !== undefined && !this.takenOver;
  }

  /**
   * All that the guest's devices know, as a file of it is. It holds until the guest goes on, so it is for one that is
   * suspended or paused. Throws REQUESTS_WAITING.
   */
  snapshot(): Buffer {
    this.server.applyRing();
    return writeSnapshot(settledSnapshot(this.#arena, version(), monotonic()));
  }

  #restored(requestsOf: (recipes: readonly DeviceRecipe[]) => DeviceRequest[]): PlanAgain | null {
    const { restore } = this.#options;
    return restore === undefined ? null : planSnapshot(restore, monotonic(), requestsOf);
  }

  /** What a process before this one left for the guest that runs now; null where there is nothing to go on with. */
  #leftBehind(): Arena | null {
    const arena = this.#state.left();
    if (arena === null) return null;
    const { domid, uuid } = this.#options;
    const before = { pid: arena.header("pid"), server: arena.header("ioservid") };
    const isAnother = uuid !== "" && arena.uuid !== "" && uuid !== arena.uuid;
    if (isAnother || !serverExists(this.#xen, domid, before.server as IoservId)) {
      this.#log.info(before, isAnother ? "state of a former domain discarded" : "state without a server discarded");
      return null;
    }
    if (arena.header("serverState") === SERVER_STATE.created) {
      // Not enabled yet, so no guest has seen it.
      this.#xen.destroyIoreqServer(domid, before.server as IoservId);
      return null;
    }
    this.#died = arena.recover();
    this.#log.warn({ ...before, undone: this.#died >= 0 }, "taking over from a process that has ended");
    return arena;
  }

  /** Done before everything else when it stops. */
  defer(what: string, act: () => void): void {
    this.#down.defer(what, act);
  }

  /** Let go of everything but what the guest has of it: another process goes on. Requests wait for that. */
  leave(): void {
    this.#state.keep = true;
    this.rights.leave();
    this.server.leave();
    this.stop();
  }

  /** Answer what is pending, let go of the guest, remove the state file. A second call does nothing. */
  stop(): void {
    this.#down.close((what, error) => this.#log.warn({ err: messageOf(error) }, `teardown step failed: ${what}`));
  }

  /** The guest's devices matter more than that somebody can ask for others: without the socket it is served all the same. */
  #listen(): void {
    const log = this.#log;
    const { domid, stateDir, confined = false, reload = null } = this.#options;
    const { tree, hotplug, quarantine, rights } = this;
    const { grants } = this.#state;
    try {
      const control = new ControlServer({
        path: controlPath(stateDir, domid),
        commands: controlCommands({
          ...{ domid, tree, hotplug, quarantine, rights, log, confined, reload, grants },
          waited: () => this.waitedMs,
          snapshot: () => this.snapshot(),
        }),
        fault: (error) => log.error({ err: error }, "control command failed"),
      });
      this.#down.defer("close the control socket", () => control.close());
    } catch (error) {
      log.warn({ err: messageOf(error) }, "no control socket");
    }
  }
}

function refuseTranslation(hosts: readonly HostWindows[], xen: XenHost): void {
  if (xen.translatesMmcfg || !hosts.some(({ ecam }) => ecam?.delivery === "translated")) return;
  throw new IoreqdError(
    "WINDOW_UNSUPPORTED",
    'hostBridges: an ECAM window is to be "translated", and this Xen has no call for that, as no real one has: write "delivery": "native"',
  );
}

/** One line per function, for the log. */
export const functionSummary = (fn: PciFunction): string => fn.label;
