// SPDX-License-Identifier: MIT
/** What a serving process does for whoever may open its control socket: docs/control.md. */

import { IoreqdError } from "../base/errors.js";
import { formatSbdf, parseSbdf } from "../base/ids.js";
import { type ControlCommand, type ControlCommands, type Given, PROTOCOL } from "../control/protocol.js";
import { parseDeviceSpec, resolveDevices } from "../launch/device-spec.js";
import { type Grants, recipesOf } from "../launch/grants.js";
import type { Logger } from "../observe/log.js";
import type { PciFunction } from "../pci/function.js";
import type { Hotplug } from "../pci/hotplug.js";
import type { DeviceRequest } from "../pci/plan.js";
import type { Quarantine } from "../pci/quarantine.js";
import type { PciTree } from "../pci/tree.js";
import type { OpenChardev, SessionRights } from "./session-rights.js";
import { version } from "./version.js";

/** What of a session the commands use. */
export interface Controlled {
  readonly domid: number;
  readonly tree: PciTree;
  readonly hotplug: Hotplug;
  readonly quarantine: Quarantine;
  readonly rights: SessionRights;
  readonly log: Logger;
  /** It has given up root, so what it opens from now on it opens as another user. */
  readonly confined: boolean;
  readonly grants: Grants;
  /** Have another process go on, which resolves with it when that is about to happen; null where none can be started. */
  readonly reload: (() => Promise<Reloading>) | null;
  /** How long, in ms, the guest waited for this process when another had reloaded; null where none had. */
  readonly waited: () => number | null;
  /** See Session.snapshot(). */
  readonly snapshot: () => Buffer;
}

/** All that the devices know, as a file of it is: src/state/snapshot.ts. */
export interface Saved {
  readonly snapshot: string;
}

/** The process that is about to go on with a guest. */
export interface Reloading {
  readonly pid: number;
}

/** What `version` tells. */
export interface ServingProcess {
  readonly version: string;
  readonly protocol: number;
  readonly domid: number;
  readonly pid: number;
  readonly confined: boolean;
  readonly waitedMs: number | null;
}

/** A device as others see it. */
export interface ListedDevice {
  /** "0000:00:10.0", and behind a bridge there "0000:00:1c.0/00.0": what stays when a guest numbers its buses. */
  readonly path: string;
  /** Where the guest reaches it now; null while it has no number for the bus. */
  readonly addr: string | null;
  readonly device: string;
  readonly id: string | null;
  /** Its code ended two processes: it reads as all-ones until it is revived. */
  readonly quarantined: boolean;
  /** Those that go somewhere. */
  readonly chardevs: readonly OpenChardev[];
}

/** `removed`: false while the guest, which was asked, has not let go. */
export type RemovedDevice = ListedDevice & { readonly removed: boolean };

export function controlCommands(session: Controlled): ControlCommands {
  const { tree, hotplug, log } = session;
  const list = (fn: PciFunction): ListedDevice => ({
    path: fn.plan.path,
    addr: fn.sbdf === null ? null : formatSbdf(fn.sbdf),
    device: fn.plan.device.name,
    id: fn.plan.id,
    quarantined: fn.state.quarantined,
    chardevs: session.rights.chardevsOf(fn),
  });

  function add({ spec }: Given): ListedDevice {
    if (spec === undefined) throw missing("device.add", "spec, a device as --device takes it");
    const fn = opening(() => {
      const [request] = resolveDevices([parseDeviceSpec(String(spec), "device add")], hotplug.requests);
      // Who has given up root can't: ioreqd device add has done so.
      if (!session.confined) session.grants.add(recipesOf([request as DeviceRequest]));
      return hotplug.add(request as DeviceRequest);
    });
    log.info({ device: fn.label, id: fn.plan.id }, "device added");
    return list(fn);
  }

  /** What opens files for a device: says as whom, where that is why it can't. */
  function opening<T>(act: () => T): T {
    try {
      return act();
    } catch (error) {
      throw session.confined && error instanceof IoreqdError ? asWhom(error) : error;
    }
  }

  function named(command: string, { addr, id }: Given): PciFunction {
    if ((addr === undefined) === (id === undefined)) throw missing(command, "either addr or id");
    return id === undefined ? atAddress(tree, String(addr)) : withId(tree, String(id));
  }

  function remove(given: Given): RemovedDevice {
    const fn = named("device.remove", given);
    const { force } = given;
    const listed = list(fn);
    const { label, plan } = fn;
    if (force !== true && hotplug.request(fn)) {
      log.info({ device: label, id: plan.id }, "guest asked to let go of a device");
      return { ...listed, removed: false };
    }
    hotplug.remove(fn);
    log.info({ device: label, id: plan.id }, "device removed");
    return { ...listed, removed: true };
  }

  function revive(given: Given): ListedDevice {
    const fn = named("device.revive", given);
    opening(() => session.quarantine.revive(fn));
    log.info({ device: fn.label, id: fn.plan.id }, "device revived");
    return list(fn);
  }

  function reload(): Promise<Reloading> {
    if (session.reload !== null) return session.reload();
    throw new IoreqdError(
      "RELOAD_FAILED",
      session.confined
        ? "this process is confined, so it can't start one that goes on: the command ioreqd reload has systemd do that"
        : "ioreqd dev swaps a device as it is saved; for another program end it, and start that",
    );
  }

  return new Map<string, ControlCommand>([
    ["ping", { takes: {}, run: () => ({}) }],
    [
      "version",
      {
        takes: {},
        run: (): ServingProcess => ({
          version: version(),
          protocol: PROTOCOL,
          domid: session.domid,
          pid: process.pid,
          confined: session.confined,
          waitedMs: session.waited(),
        }),
      },
    ],
    ["reload", { takes: {}, run: reload }],
    ["save", { takes: {}, run: (): Saved => ({ snapshot: session.snapshot().toString() }) }],
    ["device.list", { takes: {}, run: () => ({ devices: tree.functions.map(list) }) }],
    ["device.add", { takes: { spec: "string" }, run: add }],
    ["device.remove", { takes: { addr: "string", id: "string", force: "boolean" }, run: remove }],
    ["device.revive", { takes: { addr: "string", id: "string" }, run: revive }],
  ]);
}

/** By its path, or by the address it has now. */
function atAddress(tree: PciTree, text: string): PciFunction {
  const at = text.includes("/") ? null : parseSbdf(text);
  const path = at === null ? text : formatSbdf(at);
  const found = tree.functions.find((fn) => fn.plan.path === path || (at !== null && fn.sbdf === at));
  if (found !== undefined) return found;
  throw new IoreqdError("DEVICE_ABSENT", `there is no device of ours at ${path}; ioreqd device list shows them`, {
    path,
  });
}

function withId(tree: PciTree, id: string): PciFunction {
  const found = tree.functions.find(({ plan }) => plan.id === id);
  if (found !== undefined) return found;
  const ids = tree.functions.flatMap(({ plan }) => plan.id ?? []);
  throw new IoreqdError(
    "DEVICE_ABSENT",
    `there is no device with the id "${id}"; ${ids.length === 0 ? "none has one" : `there are: ${ids.join(", ")}`}`,
    { id },
  );
}

/** Files that a device needs: its module, its ROM, its chardevs; and what is said of one that can't be opened. */
const OPENING = ["MODULE_NOT_FOUND", "MODULE_LOAD_FAILED", "DEVICE_SPEC_INVALID", "CHARDEV_FAILED"];
const UNOPENED = /EACCES|EPERM|EROFS|ENOENT|there is no file/;

function asWhom(error: IoreqdError): IoreqdError {
  if (!OPENING.includes(error.code) || !UNOPENED.test(error.message)) return error;
  const message = `${error.message}; this process is confined: it opens files as user ${process.getuid?.()}, and sees only what its unit shows it. Files for that user, chown or chmod; directories, ReadWritePaths= in a drop-in of the unit, and restart it`;
  return new IoreqdError(error.code, message, error.details, { cause: error });
}

const missing = (command: string, what: string): IoreqdError =>
  new IoreqdError("CONTROL_REQUEST_INVALID", `${command} wants ${what}`, { command });
