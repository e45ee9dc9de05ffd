// SPDX-License-Identifier: MIT
/** From what an operator asked for to a tree of buses: who is behind which bridge, in which slot. */

import { IoreqdError } from "../base/errors.js";
import { busOf, formatSbdf, segmentOf } from "../base/ids.js";
import type { DeviceRequest } from "./plan.js";
import type { HostWindows } from "./windows.js";

/** Where a function goes. */
export interface FunctionPlace {
  readonly request: DeviceRequest;
  readonly path: string;
  /** Path of the bridge above; null on a root bus. */
  readonly parent: string | null;
}

/** "1c.0" */
const formatDevfn = (devfn: number): string => `${(devfn >>> 3).toString(16).padStart(2, "0")}.${devfn & 7}`;

const devfnOf = ({ sbdf }: DeviceRequest): number => sbdf & 0xff;

/** In the order of addresses, a bridge before what is behind it. Throws BUS_UNKNOWN, SLOT_TAKEN, NO_FUNCTION_0. */
export function placesOf(requests: readonly DeviceRequest[], roots: readonly HostWindows[]): FunctionPlace[] {
  checkIds(requests);
  const places: FunctionPlace[] = [];
  const inOrder = (list: DeviceRequest[]): DeviceRequest[] => list.sort((a, b) => a.sbdf - b.sbdf);
  const visit = (request: DeviceRequest, parent: string | null): void => {
    const path = parent === null ? formatSbdf(request.sbdf) : `${parent}/${formatDevfn(devfnOf(request))}`;
    places.push({ request, path, parent });
    if (request.id === undefined) return;
    for (const child of inOrder(requests.filter(({ bus }) => bus === request.id))) visit(child, path);
  };
  for (const request of inOrder(requests.filter(({ bus }) => bus === undefined))) {
    checkRoot(request, roots);
    visit(request, null);
  }
  const lost = requests.find((request) => !places.some((place) => place.request === request));
  if (lost !== undefined) {
    throw new IoreqdError("BUS_UNKNOWN", `${lost.device.name} is to be on bus=${lost.bus}, which is behind itself`);
  }
  checkSlots(places);
  return places;
}

/** More than one function at this device's address? Bit 7 of the header type says so. */
export function isMultiFunction(places: readonly FunctionPlace[], place: FunctionPlace): boolean {
  return places.filter((other) => sameDevice(other, place)).length > 1;
}

const sameDevice = (a: FunctionPlace, b: FunctionPlace): boolean =>
  a.parent === b.parent && (a.request.sbdf & ~7) === (b.request.sbdf & ~7);

function checkIds(requests: readonly DeviceRequest[]): void {
  const bridges = requests.filter(({ id }) => id !== undefined);
  for (const { id } of bridges) {
    if (bridges.filter((other) => other.id === id).length === 1) continue;
    throw new IoreqdError("ID_TAKEN", `two devices have id=${id}; give one of them another`);
  }
  for (const { device, bus } of requests) {
    if (bus === undefined) continue;
    const bridge = bridges.find(({ id }) => id === bus);
    if (bridge?.device.bridge !== undefined) continue;
    const known = bridges.filter((one) => one.device.bridge !== undefined).map(({ id }) => id);
    const which = bridge === undefined ? "no device has that id" : `that is ${bridge.device.name}, which is no bridge`;
    throw new IoreqdError(
      "BUS_UNKNOWN",
      `${device.name} is to be on bus=${bus}, but ${which}; bridges with an id: ${known.join(", ") || "none"}`,
    );
  }
}

function checkRoot({ device, sbdf }: DeviceRequest, roots: readonly HostWindows[]): void {
  if (roots.some(({ segment, bus }) => segment === segmentOf(sbdf) && bus === busOf(sbdf))) return;
  const known = roots.map(({ segment, bus }) => `${segment.toString(16)}:${bus.toString(16)}`);
  throw new IoreqdError(
    "BUS_UNKNOWN",
    `${device.name} is to be at ${formatSbdf(sbdf)}; the root buses (segment:bus) are ${known.join(", ")}. Behind a bridge give it bus=ID of the bridge and addr=device.function`,
    { sbdf: formatSbdf(sbdf) },
  );
}

/** Function 0 must exist where any other does: a guest that finds none looks no further. Source: PCI 3.0 3.2.2.3.4. */
function checkSlots(places: readonly FunctionPlace[]): void {
  const taken = new Map<string, string>();
  for (const { path, request } of places) {
    const other = taken.get(path);
    if (other !== undefined) {
      throw new IoreqdError(
        "SLOT_TAKEN",
        `${request.device.name} is to be at ${path}, where ${other} is already; give one of them another addr=`,
        { path },
      );
    }
    taken.set(path, request.device.name);
  }
  for (const place of places) {
    const { path, parent, request } = place;
    const behind = places.find((other) => other.path === parent)?.request.device.bridge;
    if (behind?.kind === "express" && devfnOf(request) > 7) {
      throw new IoreqdError(
        "SLOT_UNKNOWN",
        `${request.device.name} is to be at ${path}; behind a PCI Express port there is device 00 only, so give addr=00.0`,
        { path },
      );
    }
    const first = places.some((other) => sameDevice(other, place) && (other.request.sbdf & 7) === 0);
    if (first || request.sharesSlot === true) continue;
    const zero = path.replace(/[0-7]$/, "0");
    throw new IoreqdError(
      "NO_FUNCTION_0",
      `${request.device.name} is function ${path.at(-1)} of a device without function 0, which no guest would find; put one at ${zero}, or give multifunction=on where another process has that`,
      { path },
    );
  }
}
