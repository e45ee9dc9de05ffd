// SPDX-License-Identifier: MIT
/**
 * One guest served by one process: the only place where Xen, the server, the
 * tree and the outside world are put together.
 */

import { hasErrno, IoreqdError, messageOf } from "../base/errors.js";
import { hex } from "../base/hex.js";
import { type DomId, formatRange, formatSbdf, type IoservId } from "../base/ids.js";
import { Teardown } from "../base/teardown.js";
import { ControlServer } from "../control/server.js";
import type { PollingOptions } from "../ioreq/polling.js";
import { IoreqServer } from "../ioreq/server.js";
import { resolveAgain } from "../launch/device-spec.js";
import { ForeignMemory } from "../memory/guest-memory.js";
import { AccessLog } from "../observe/access-log.js";
import { GuestEvents } from "../observe/guest-events.js";
import type { Logger } from "../observe/log.js";
import type { PciFunction } from "../pci/function.js";
import { Hotplug } from "../pci/hotplug.js";
import { type DeviceRequest, planTree } from "../pci/plan.js";
import { planAgain, takeState } from "../pci/plan-again.js";
import { Quarantine } from "../pci/quarantine.js";
import type { PciHost } from "../pci/rights.js";
import { PciTree } from "../pci/tree.js";
import type { HostWindows } from "../pci/windows.js";
import { type Arena, SERVER_STATE } from "../state/arena.js";
import type { DescriptorStore } from "../xen/descriptor-store.js";
import type { FfiAdapter } from "../xen/ffi/table.js";
import type { BufioreqMode, XenHost } from "../xen/host.js";
import { blame } from "./blame.js";
import { controlCommands, type Reloading } from "./control-commands.js";
import { SessionRights } from "./session-rights.js";
import { controlPath, StateFile } from "./state-file.js";
import { watchTransactions } from "./watchdog.js";

export interface SessionOptions {
  readonly domid: DomId;
  /** The domain's, "" where nobody can tell: numbers are used again. */
  readonly uuid: string;
  /** What to serve where no process has served the domain before. Throws for what the operator got wrong. */
  readonly devices: () => readonly DeviceRequest[];
  readonly hosts: readonly HostWindows[];
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
      refuseTranslation(options.hosts, xen);
      this.#state = new StateFile(ffi, options, this.#down);
      const left = this.#leftBehind();
      // What the guest had from the process before stays: an error here is for the next one to mend.
      this.#state.keep = left !== null;
      // Tables and addresses are checked before anything is created.
      const again = left === null ? null : planAgain(left, resolveAgain);
      const plan = again ?? planTree(options.devices(), options.hosts);
      const arena = left === null ? this.#state.create(plan, this.#down) : this.#state.takeOver(left, this.#down);
      if (left === null) arena.uuid = options.uuid;
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
      });
      this.#down.defer("close the chardevs", () => this.rights.releaseAll());
      this.hotplug = new Hotplug(this.tree, plan.hosts, arena, this.rights);
      this.quarantine = new Quarantine(this.tree, arena, this.rights);
      if (left !== null) {
        const { quarantine, tree, server } = this;
        blame(this.#died, { arena, log, tree, server, quarantine, most: options.quarantine });
      }
      this.tree.connect(this.#pciHost());
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

  /** What a process before this one left for the guest that runs now; null where there is nothing to go on with. */
  #leftBehind(): Arena | null {
    const arena = this.#state.left();
    if (arena === null) return null;
    const { domid, uuid } = this.#options;
    const before = { pid: arena.header("pid"), server: arena.header("ioservid") };
    const isAnother = uuid !== "" && arena.uuid !== "" && uuid !== arena.uuid;
    if (isAnother || !this.#serverExists(before.server as IoservId)) {
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

  #serverExists(id: IoservId): boolean {
    try {
      this.#xen.bufioreqPort(this.#options.domid, id);
      return true;
    } catch (error) {
      if (hasErrno(error, "ENOENT")) return false;
      throw error;
    }
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
    try {
      const control = new ControlServer({
        path: controlPath(stateDir, domid),
        commands: controlCommands({
          ...{ domid, tree, hotplug, quarantine, rights, log, confined, reload },
          waited: () => this.waitedMs,
        }),
        fault: (error) => log.error({ err: error }, "control command failed"),
      });
      this.#down.defer("close the control socket", () => control.close());
    } catch (error) {
      log.warn({ err: messageOf(error) }, "no control socket");
    }
  }

  // -- what the tree asks of Xen --------------------------------------------------------------

  #pciHost(): PciHost {
    const { domid } = this.#options;
    const xen = this.#xen;
    return {
      mapFunction: (sbdf) => {
        xen.mapPciDevice(domid, this.server.id, sbdf);
        this.#log.debug({ function: formatSbdf(sbdf) }, "function claimed");
      },
      unmapFunction: (sbdf) => {
        xen.unmapPciDevice(domid, this.server.id, sbdf);
        this.#log.debug({ function: formatSbdf(sbdf) }, "function given up");
      },
      mapRange: (space, first, last) => {
        xen.mapIoRange(domid, this.server.id, space, first, last);
        this.#log.debug({ space, range: formatRange(first, last) }, "range mapped");
      },
      unmapRange: (space, first, last) => {
        xen.unmapIoRange(domid, this.server.id, space, first, last);
        this.#log.debug({ space, range: formatRange(first, last) }, "range unmapped");
      },
      mapWindow: (segment, { base, firstBus, buses }) => {
        const window = { segment, base, startBus: firstBus, endBus: firstBus + buses - 1, translated: true };
        xen.mapMmcfg(domid, this.server.id, window);
        this.#log.debug({ segment, base: hex(base), buses }, "ECAM window told");
      },
      unmapWindow: (segment) => {
        xen.unmapMmcfg(domid, this.server.id, segment);
        this.#log.debug({ segment }, "ECAM window taken back");
      },
      setIntx: (device, pin, asserted) => {
        xen.setIntxLevel(domid, device, pin as 0 | 1 | 2 | 3, asserted);
        this.#log.debug({ device: hex(device), pin: "ABCD"[pin], asserted }, "interrupt line");
      },
      sendMessage: (hi, lo, data) => {
        const address = (hi >>> 0) * 0x1_0000_0000 + (lo >>> 0);
        if (isInterruptAddress(lo)) xen.injectMsi(domid, address, data);
        else this.#writeMessage(address, data);
        if (this.#log.isLevelEnabled("debug")) {
          this.#log.debug({ address: hex(address), data: hex(data >>> 0) }, "message-signalled interrupt");
        }
      },
      noticed: (what, fields) => this.events.note("", what, fields),
      refused: (what, error) => {
        this.server.counters.refused += 1;
        this.events.note("", `Xen refused to ${what}`, { error: messageOf(error) });
      },
    };
  }

  /** A guest may point a message anywhere. It is a write of memory, so that is what it gets. */
  #writeMessage(address: number, data: number): void {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setInt32(0, data, true);
    if (this.#memory.write(BigInt(address), bytes)) return;
    this.events.note("", "message-signalled interrupt to an address without memory", { address: hex(address) });
  }
}

function refuseTranslation(hosts: readonly HostWindows[], xen: XenHost): void {
  if (xen.translatesMmcfg || !hosts.some(({ ecam }) => ecam?.delivery === "translated")) return;
  throw new IoreqdError(
    "WINDOW_UNSUPPORTED",
    'hostBridges: an ECAM window is to be "translated", and this Xen has no call for that, as no real one has: write "delivery": "native"',
  );
}

/** Where x86 processors listen. What is above 32 bits can name more of a destination. Source: Intel SDM 3A 11.11.1. */
const isInterruptAddress = (lo: number): boolean => (lo & 0xfff0_0000) === (0xfee0_0000 | 0);

/** One line per function, for the log. */
export const functionSummary = (fn: PciFunction): string => fn.label;
