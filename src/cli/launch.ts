// SPDX-License-Identifier: MIT
/** `ioreqd attach` and the part of ioreqd-dm that is more than a shell script: start serving a guest in the background. */

import { appendFileSync, readFileSync } from "node:fs";
import { IoreqdError, messageOf } from "../base/errors.js";
import { domId } from "../base/ids.js";
import type { Config } from "../launch/config.js";
import { type DeviceSpec, parseDeviceSpec, resolveDevices } from "../launch/device-spec.js";
import { findQemu, OURS, readDmArguments, refuseSlotsOfQemu } from "../launch/dm-arguments.js";
import { findGuest, type Guest, resolveGuest } from "../launch/guest.js";
import { hostBridges } from "../launch/host-bridges.js";
import { DEFAULT_LOG_DIR, START_TIMEOUT_MS, startService } from "../launch/service.js";
import { guestSettings, hostSettings, layered, noDevices } from "../launch/settings.js";
import { openStore } from "../launch/store.js";
import { type DeviceRequest, planTree } from "../pci/plan.js";
import type { XenStore } from "../xenstore/client.js";

/** `ioreqd attach DOMID|NAME`. Prints what serves the guest now. Throws IoreqdError. */
export async function attach(nameOrDomid: string, flags: { device: string[] }): Promise<void> {
  const store = await requiredStore();
  try {
    const guest = await resolveGuest(store, nameOrDomid);
    const requests = requested(guest, flags.device, "--device");
    const by = await serve(store, guest, flags.device, hostSettings());
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
    const { domid, devices, slots } = readDmArguments(argv);
    const qemu = findQemu(settings.qemu);
    if (domid !== null) await serveBesideQemu(domid, devices, slots, settings);
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

async function serveBesideQemu(
  domid: number,
  devices: readonly string[],
  slots: ReadonlyMap<number, string>,
  settings: Config,
): Promise<void> {
  const store = await requiredStore();
  try {
    const guest = await findGuest(store, domId(domid));
    refuseSlotsOfQemu(requested(guest, devices, OURS), slots);
    process.stderr.write(`ioreqd-dm: domain ${domid} is served by ${await serve(store, guest, devices, settings)}\n`);
  } finally {
    store.close();
  }
}

function serve(store: XenStore, guest: Guest, devices: readonly string[], settings: Config): Promise<string> {
  return startService(store, guest, {
    devices,
    supervisor: settings.supervisor ?? "auto",
    logDir: settings.logDir ?? DEFAULT_LOG_DIR,
    timeoutMs: START_TIMEOUT_MS,
  });
}

/** All devices of a guest, checked: what is wrong with them is said here, and not in a log. */
function requested(guest: Guest, devices: readonly string[], option: string): DeviceRequest[] {
  const own = guestSettings(guest.name);
  const specs: DeviceSpec[] = [...own.devices, ...devices.map((text) => parseDeviceSpec(text, option))];
  if (specs.length === 0) throw noDevices(guest.name);
  const requests = resolveDevices(specs);
  planTree(requests, hostBridges(layered(hostSettings(), own.config)));
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
