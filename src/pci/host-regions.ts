// SPDX-License-Identifier: MIT
/** The windows of all host bridges, as regions of memory: ECAM where chipset or operator put it, and apertures to ports. */

import { AddressMap, type Hidden, type Region } from "../bus/address-map.js";
import type { PciFunction } from "./function.js";
import { type Aperture, Ecam, type EcamWindow, type Functions, type HostWindows, PortAperture } from "./windows.js";

interface Host {
  readonly windows: HostWindows;
  readonly name: string;
  readonly aperture: { readonly at: Aperture; readonly ports: AddressMap; readonly target: PortAperture } | null;
}

export class HostRegions {
  readonly #hosts: readonly Host[];
  readonly #functions: Functions;

  constructor(hosts: readonly HostWindows[], functions: Functions) {
    this.#functions = functions;
    this.#hosts = hosts.map((windows): Host => {
      const name = `${windows.segment.toString(16).padStart(4, "0")}:${windows.bus.toString(16).padStart(2, "0")}`;
      if (windows.aperture === undefined) return { windows, name, aperture: null };
      const ports = new AddressMap();
      const target = new PortAperture(ports, () => functions.nobody());
      return { windows, name, aperture: { at: windows.aperture, ports, target } };
    });
  }

  /** The aperture through which a function's ports are reached; null: the processor's own ports. */
  apertureOf(fn: PciFunction): PortAperture | null {
    return this.#hostOf(fn)?.aperture?.target ?? null;
  }

  /** Put what functions decode behind the apertures. Returns what is hidden there. */
  syncPorts(functions: readonly PciFunction[]): Hidden[] {
    return this.#hosts.flatMap((host): Hidden[] => {
      if (host.aperture === null) return [];
      const own = functions.filter((fn) => this.#hostOf(fn) === host);
      return host.aperture.ports.set(own.flatMap((fn) => fn.regions("pio")));
    });
  }

  /** The windows as they are now. */
  regions(functions: readonly PciFunction[]): Region[] {
    return this.#hosts.flatMap((host): Region[] => {
      const regions: Region[] = [];
      const ecam = this.#ecamOf(host, functions);
      if (ecam !== null && ecam.delivery !== "translated") regions.push(this.#ecamRegion(host, ecam, functions));
      if (host.aperture !== null) {
        const { at, target } = host.aperture;
        regions.push({ base: at.base, size: at.size, target, label: `${host.name} I/O aperture` });
      }
      return regions;
    });
  }

  /** Windows of which Xen is told, by segment. */
  translated(functions: readonly PciFunction[]): Map<number, EcamWindow> {
    const windows = new Map<number, EcamWindow>();
    for (const host of this.#hosts) {
      const ecam = this.#ecamOf(host, functions);
      if (ecam?.delivery === "translated") windows.set(host.windows.segment, ecam);
    }
    return windows;
  }

  /** Where the chipset's own register puts it, if one of the functions has such a register; else where it was configured. */
  #ecamOf({ windows }: Host, functions: readonly PciFunction[]): EcamWindow | null {
    const chipset = functions.find(
      (fn) => fn.plan.root !== null && fn.plan.root >>> 16 === windows.segment && fn.plan.device.ecam !== undefined,
    );
    if (chipset === undefined) return windows.ecam ?? null;
    const found = chipset.ecam();
    const { claim = "functions", delivery = "native" } = windows.ecam ?? {};
    return found === null ? null : { firstBus: 0, claim, delivery, ...found };
  }

  #ecamRegion({ windows, name }: Host, ecam: EcamWindow, functions: readonly PciFunction[]): Region {
    const target = new Ecam(this.#functions, windows.segment, ecam.firstBus);
    const region = { base: ecam.base, size: ecam.buses << 20, target, label: `${name} ECAM` };
    return ecam.claim === "window" ? region : { ...region, within: target.pages(ecam, functions) };
  }

  #hostOf(fn: PciFunction): Host | undefined {
    if (fn.parent !== null) return this.#hostOf(fn.parent);
    const at = fn.plan.root as number;
    return this.#hosts.find(({ windows }) => windows.segment === at >>> 16 && windows.bus === ((at >>> 8) & 0xff));
  }
}
