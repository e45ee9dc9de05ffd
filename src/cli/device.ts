// SPDX-License-Identifier: MIT
/** `ioreqd device`: devices of a guest that runs come and go, by the control socket of the process that serves it. */

import { existsSync } from "node:fs";
import { printable } from "../base/printable.js";
import { control } from "../control/client.js";
import { parseDeviceSpec } from "../launch/device-spec.js";
import { Grants } from "../launch/grants.js";
import { anchored } from "../launch/spec-paths.js";
import { columns } from "./columns.js";
import type { ListedDevice, RemovedDevice } from "./control-commands.js";
import { findControl } from "./find-control.js";
import { grantsPath } from "./state-file.js";

export interface DeviceFlags {
  stateDir?: string;
  force?: boolean;
  json?: boolean;
}

/** Each prints what was done, or throws IoreqdError. */
export async function addDevice(guest: string, text: string, flags: DeviceFlags): Promise<void> {
  const spec = anchored(text, "device add");
  const { domid, stateDir, path } = await findControl(guest, flags);
  // The process that serves the guest may have given up root, and the one after it asks whether somebody else named these files.
  if (existsSync(path)) new Grants(grantsPath(stateDir, domid)).add([parseDeviceSpec(spec, "device add")]);
  const added = (await control(path, "device.add", { spec })) as ListedDevice;
  print(`${summary(added)} added to domain ${domid}`);
}

export async function removeDevice(guest: string, addressOrId: string, flags: DeviceFlags): Promise<void> {
  const { domid, path } = await findControl(guest, flags);
  const given = { ...which(addressOrId), ...(flags.force === true ? { force: true } : {}) };
  const removed = (await control(path, "device.remove", given)) as RemovedDevice;
  if (removed.removed) print(`${summary(removed)} removed from domain ${domid}`);
  else print(`domain ${domid} was asked to let go of ${summary(removed)}; ioreqd device list shows when it has`);
}

export async function reviveDevice(guest: string, addressOrId: string, flags: DeviceFlags): Promise<void> {
  const { domid, path } = await findControl(guest, flags);
  const revived = (await control(path, "device.revive", which(addressOrId))) as ListedDevice;
  print(`${summary(revived)} revived in domain ${domid}, as after power-on: let its driver begin anew`);
}

export async function listDevices(guest: string, flags: DeviceFlags): Promise<void> {
  const { path } = await findControl(guest, flags);
  const listed = (await control(path, "device.list")) as { devices: ListedDevice[] };
  if (flags.json === true) print(JSON.stringify(listed));
  else print(columns(listed.devices.map(row)));
}

const which = (addressOrId: string): Record<string, string> =>
  /[.:/]/.test(addressOrId) ? { addr: addressOrId } : { id: addressOrId };

const row = ({ path, addr, device, id, quarantined, chardevs }: ListedDevice): string[] => [
  path,
  addr === path ? "" : (addr ?? "no bus number"),
  device,
  id ?? "",
  [...(quarantined ? ["in quarantine"] : []), ...chardevs.map(chardev)].join(", "),
];

const chardev = (one: ListedDevice["chardevs"][number]): string =>
  one.path === null ? one.spec : `${one.spec} ${one.path}`;

function summary({ path, device, id, chardevs }: ListedDevice): string {
  const name = id === null ? "" : ` (${id})`;
  const where = chardevs.length === 0 ? "" : ` on ${chardevs.map(chardev).join(", ")}`;
  return `${path} ${device}${name}${where}`;
}

const print = (text: string): void => void process.stdout.write(`${printable(text)}\n`);
