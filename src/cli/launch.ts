// SPDX-License-Identifier: MIT
/** `ioreqd attach` and the part of ioreqd-dm that is more than a shell script: start serving a guest in the background. */

import { appendFileSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { IoreqdError, messageOf } from "../base/errors.js";
import { domId } from "../base/ids.js";
import type { Config } from "../launch/config.js";
import { type DeviceSpec, parseDeviceSpec, resolveAgain, resolveDevices } from "../launch/device-spec.js";
import { type DmArguments, findQemu, OURS, readDmArguments, refuseSlotsOfQemu } from "../launch/dm-arguments.js";
import { checked } from "../launch/grants.js";
import { findGuest, type Guest, resolveGuest } from "../launch/guest.js";
import { hostBridges } from "../launch/host-bridges.js";
import { DEFAULT_LOG_DIR, type ServiceOptions, START_TIMEOUT_MS, startService } from "../launch/service.js";
import { guestSettings, hostSettings, layered, noDevices } from "../launch/settings.js";
import { openStore } from "../launch/store.js";
import { type DeviceRequest, planTree } from "../pci/plan.js";
import { planSnapshot } from "../pci/plan-snapshot.js";
import type { Snapshot } from "../state/snapshot.js";
import type { XenStore } from "../xenstore/client.js";
import { keptState, stateMissing } from "./find-saved.js";
import { readSaved } from "./saved-file.js";

/** `ioreqd attach DOMID|NAME`. Prints what serves the guest now. Throws IoreqdError. */
export async function attach(nameOrDomid: string, flags: { device: string[]; restore?: string }): Promise<void> {
  const store = await requiredStore();
  try {
    const guest = await resolveGuest(store, nameOrDomid);
    const file = flags.restore === undefined ? null : resolve(flags.restore);
    const settings = hostSettings();
    const asked = askedFor(guest, flags.device, "--device", settings);
    const requests = file === null ? requested(asked) : restorable(asked, readSaved(file));
    const by = await serve(store, guest, { devices: flags.device, restore: file }, settings);
    const names = requests.map(({ device }) => device.name).join(", ");
    process.stdout.write(`domain ${guest.domid}${guest.name === null ? "" : ` (${guest.name})`}: ${names} (${by})\n`);
  } finally {
    store.close();
  }
}

/**
 * What ioreqd-dm does before it hands over: start serving the guest, unless this is libxl's probe run.
 * Prints the path of the QEMU to hand over to. Resolves with the exit code; what failed has been told to
 * whoever ran xl, too.
 */
export async function deviceModel(argv: readonly string[]): Promise<number> {
  try {
    const settings = hostSettings();
    const given = readDmArguments(argv);
    const qemu = findQemu(settings.qemu);
    if (given.domid !== null) await serveBesideQemu(given.domid, given, settings);
    process.stdout.write(`${qemu}\n`);
    return 0;
  } catch (error) {
    if (!(error instanceof IoreqdError)) throw error;
    const text = `ioreqd-dm: ${error.code}: ${error.message}\n`;
    process.stderr.write(text);
    tellToolstack(text);
    return 1;
  }
}

async function serveBesideQemu(domid: number, given: DmArguments, settings: Config): Promise<void> {
  const { devices, slots } = given;
  const store = await requiredStore();
  try {
    const guest = await findGuest(store, domId(domid));
    const asked = askedFor(guest, devices, OURS, settings);
    const { config } = asked;
    const restore = given.incoming ? await keptState(guest, config, (other) => store.isIntroduced(other)) : null;
    const requests = restore === null ? requested(asked) : restorable(asked, readSaved(restore));
    refuseSlotsOfQemu(requests, slots);
    if (restore === null && given.incoming) {
      if (config.withoutState !== "fresh") throw stateMissing(guest, config);
      process.stderr.write(`ioreqd-dm: domain ${domid}: no saved state of its devices: they begin as after power-on\n`);
    }
    const by = await serve(store, guest, { devices, restore }, settings);
    process.stderr.write(
      `ioreqd-dm: domain ${domid} is served by ${by}${restore === null ? "" : `, with the state of ${restore}`}\n`,
    );
  } finally {
    store.close();
  }
}

function serve(
  store: XenStore,
  guest: Guest,
  what: Pick<ServiceOptions, "devices" | "restore">,
  settings: Config,
): Promise<string> {
  return startService(store, guest, {
    ...what,
    supervisor: settings.supervisor ?? "auto",
    logDir: settings.logDir ?? DEFAULT_LOG_DIR,
    timeoutMs: START_TIMEOUT_MS,
  });
}

/** What the configuration and the launcher ask for. */
interface Asked {
  readonly guest: Guest;
  readonly config: Config;
  /** Throws DEVICE_SPEC_INVALID. */
  readonly specs: () => DeviceSpec[];
}

/** `option`: what names `devices` on the command line. Throws CONFIG_AMBIGUOUS, CONFIG_UNREADABLE, CONFIG_INVALID. */
function askedFor(guest: Guest, devices: readonly string[], option: string, settings: Config): Asked {
  const own = guestSettings(guest.name);
  const specs = (): DeviceSpec[] => [...own.devices, ...devices.map((text) => parseDeviceSpec(text, option))];
  return { guest, config: layered(settings, own.config), specs };
}

/** The devices of a guest that comes with their state, checked as those that are asked for. */
function restorable({ specs }: Asked, snapshot: Snapshot): readonly DeviceRequest[] {
  let requests: readonly DeviceRequest[] = [];
  planSnapshot(snapshot, 0, (recipes) => {
    requests = resolveAgain(checked(recipes, new Set(), specs));
    return requests;
  });
  return requests;
}

/** All devices of a guest, checked: what is wrong with them is said here, and not in a log. */
function requested({ guest, config, specs }: Asked): DeviceRequest[] {
  const asked = specs();
  if (asked.length === 0) throw noDevices(guest.name);
  const requests = resolveDevices(asked);
  planTree(requests, hostBridges(config));
  return requests;
}

async function requiredStore(): Promise<XenStore> {
  const store = await openStore();
  if (store !== null) return store;
  throw new IoreqdError("XENSTORE_UNREACHABLE", "this simulated host has no xenstore: use ioreqd run --domid N there");
}

/**
 * The text on the terminal of whoever ran xl: our own standard error is a log file. libxl starts a device
 * model through a process of its own that still has xl's.
 */
function tellToolstack(text: string): void {
  try {
    // Our parent is the shell that becomes QEMU; its parent is libxl's process.
    const [, , , parent] = /^(\d+) \((.*)\) \S (\d+)/s.exec(readFileSync(`/proc/${process.ppid}/stat`, "utf8")) ?? [];
    appendFileSync(`/proc/${parent}/fd/2`, text);
  } catch (error) {
    process.stderr.write(`ioreqd-dm: could not tell xl: ${messageOf(error)}\n`);
  }
}
