// SPDX-License-Identifier: MIT
/**
 * Functions that come to a running tree, and leave it.
 *
 * What changes in the arena changes in one transaction: the registers of the
 * new function, the header of its neighbours, the slot of a port above, and
 * the layout, which says whose every place is. A process that dies in the
 * middle leaves the function there or not there. What the hypervisor has to
 * know follows after the commit.
 *
 * Where nobody can ask the guest, a function comes and goes as a card that is
 * pulled out of a running machine.
 */

import { IoreqdError } from "../base/errors.js";
import type { Arena } from "../state/arena.js";
import { type ArenaLayout, type DeviceDescription, type DeviceRecipe, LayoutBuilder } from "../state/layout.js";
import { readLayout } from "../state/read-layout.js";
import type { PciFunction } from "./function.js";
import { type FunctionPlace, isMultiFunction, placesOf } from "./places.js";
import { type DeviceRequest, type FunctionPlan, planFunction } from "./plan.js";
import { moveDevice, recipeOf, takeState } from "./plan-again.js";
import { type DeviceRights, tellingWhose } from "./rights.js";
import type { PciTree } from "./tree.js";
import type { HostWindows } from "./windows.js";

export class Hotplug {
  readonly #tree: PciTree;
  readonly #hosts: readonly HostWindows[];
  readonly #arena: Arena;
  readonly #rights: DeviceRights;

  constructor(tree: PciTree, hosts: readonly HostWindows[], arena: Arena, rights: DeviceRights) {
    this.#tree = tree;
    this.#hosts = hosts;
    this.#arena = arena;
    this.#rights = rights;
  }

  /** What is there now, as it could be asked for. */
  get requests(): DeviceRequest[] {
    const plans = this.#tree.functions.map(({ plan }) => plan);
    return plans.map((plan) => requestOf(plan, plans));
  }

  /** How it is made. Throws STATE_INCOMPATIBLE where the state file does not say. */
  recipe({ plan, label }: PciFunction): DeviceRecipe {
    const found = this.#layout().devices.find(({ path }) => path === plan.path);
    return recipeOf(found ?? { path: plan.path, device: label });
  }

  /**
   * Make a function, and let the guest find it. Throws what planTree() throws, ARENA_FULL, DEVICE_FAILED, what its
   * chardevs throw and what the hypervisor refuses; then nothing is left of it.
   */
  add(request: DeviceRequest): PciFunction {
    const arena = this.#arena;
    const places = placesOf([...this.requests, request], this.#hosts);
    const place = places.find((one) => one.request === request) as FunctionPlace;
    const builder = new LayoutBuilder(this.#layout(), arena.dataLength);
    const plan = planFunction(builder, place, isMultiFunction(places, place));
    const { groups } = builder.layout.devices.at(-1) as DeviceDescription;
    for (const { at, length } of groups) arena.clear(at, length);
    const fn = this.#tree.create(plan);
    try {
      arena.transact(() => {
        fn.reset();
        tellingWhose(fn.label, () => fn.attach(this.#rights));
        for (const neighbour of this.#neighbours(fn)) neighbour.multiFunction = true;
        this.#tellSlot(fn);
        arena.setLayout(builder.toJSON());
      });
    } catch (error) {
      fn.remove();
      this.#rights.release(fn);
      throw error;
    }
    const order = places.map(({ path }) => path);
    const functions = [...this.#tree.functions, fn];
    this.#tree.set(functions.sort((a, b) => order.indexOf(a.plan.path) - order.indexOf(b.plan.path)));
    try {
      this.#tree.claimFunctions([fn]);
    } catch (error) {
      this.#takeOut(fn);
      throw error;
    }
    this.#tree.flush();
    return fn;
  }

  /**
   * Put a function in the place of another, with another table or other code, while the guest uses it: what the former
   * knows it goes on with. Throws what planFunction() throws, ARENA_FULL, STATE_INCOMPATIBLE, DEVICE_FAILED, BRIDGE_IN_USE;
   * then the former goes on.
   */
  replace(former: PciFunction, request: DeviceRequest): PciFunction {
    refuseWithChildren(former);
    const arena = this.#arena;
    const { path, parent } = former.plan;
    const before = this.#layout();
    const builder = new LayoutBuilder(before, arena.dataLength, (one) => one === path);
    const plan = planFunction(builder, { request, path, parent }, this.#neighbours(former).length > 0);
    const [old, now] = [before, builder.layout].map(({ devices }) => devices.find((one) => one.path === path));
    const contents = moveDevice(arena, old as DeviceDescription, now as DeviceDescription, request.device);
    const layout = builder.toJSON();
    arena.checkLayout(layout);
    const fn = this.#tree.create(plan);
    const replacement = this.#rights.replace(former, fn);
    try {
      arena.transact(() => {
        takeState(arena, { contents, layout });
        // It was the former's code that ended processes.
        if (fn.state.quarantined) fn.state.forgive();
        tellingWhose(fn.label, () => fn.attach(this.#rights));
      });
    } catch (error) {
      fn.remove();
      replacement.undo();
      throw error;
    }
    former.remove();
    this.#tree.set(this.#tree.functions.map((one) => (one === former ? fn : one)));
    replacement.keep();
    this.#tree.flush();
    former.abandonLate(this.#tree.access, true);
    return fn;
  }

  /**
   * Take a function away, whatever the guest is doing with it: from now on its registers read as all-ones. A vCPU that
   * waits for a late answer of it gets all-ones too. Throws NO_FUNCTION_0, BRIDGE_IN_USE.
   */
  remove(fn: PciFunction): void {
    this.#refuseIfNeeded(fn);
    this.#takeOut(fn);
  }

  /**
   * Ask the guest to let go of it, and take it away when it has. False where there is nobody to ask: it has no
   * port of its own above that can, or the guest has switched that off. Throws as remove() does.
   */
  request(fn: PciFunction): boolean {
    this.#refuseIfNeeded(fn);
    const port = fn.parent;
    if (port === null || port.isolated || port.children.length !== 1 || port.bridge?.isOpen !== true) return false;
    let asked = false;
    this.#arena.transact(() => {
      asked = port.slot.request();
    });
    this.#tree.flush();
    // The guest lets go in an access of its own, and that one is committed first.
    if (asked) port.slot.onRelease = () => setImmediate(() => this.#released(fn));
    return asked;
  }

  #released(fn: PciFunction): void {
    if (this.#tree.functions.includes(fn)) this.#takeOut(fn);
  }

  #refuseIfNeeded(fn: PciFunction): void {
    const [next] = this.#neighbours(fn);
    if ((fn.plan.devfn & 7) === 0 && next !== undefined) {
      throw new IoreqdError(
        "NO_FUNCTION_0",
        `${fn.label} is function 0, without which no guest would find ${next.label}: remove that first`,
        { path: fn.plan.path },
      );
    }
    refuseWithChildren(fn);
  }

  #takeOut(fn: PciFunction): void {
    const layout = this.#layout();
    const devices = layout.devices.filter(({ path }) => path !== fn.plan.path);
    const neighbours = this.#neighbours(fn);
    this.#arena.transact(() => {
      for (const neighbour of neighbours) neighbour.multiFunction = neighbours.length > 1 || neighbour.plan.sharesSlot;
      this.#tellSlot(fn);
      this.#arena.setLayout(JSON.stringify({ ...layout, devices }));
    });
    fn.remove();
    if (fn.parent !== null) fn.parent.slot.onRelease = () => {};
    this.#tree.set(this.#tree.functions.filter((one) => one !== fn));
    this.#tree.flush();
    fn.abandonLate(this.#tree.access);
    this.#rights.release(fn);
  }

  /** Of a device it is function 0 that makes a slot full or empty. */
  #tellSlot(fn: PciFunction): void {
    if ((fn.plan.devfn & 7) === 0) fn.parent?.slot.changed();
  }

  /** The other functions of its device: their paths differ in the last digit. */
  #neighbours(fn: PciFunction): PciFunction[] {
    const device = fn.plan.path.slice(0, -1);
    return this.#tree.functions.filter((other) => other !== fn && other.plan.path.slice(0, -1) === device);
  }

  #layout(): ArenaLayout {
    return readLayout(this.#arena.layout(), this.#arena.dataLength);
  }
}

function refuseWithChildren(fn: PciFunction): void {
  if (fn.children.length === 0) return;
  throw new IoreqdError(
    "BRIDGE_IN_USE",
    `${fn.label} has devices behind it: remove ${fn.children.map(({ label }) => label).join(", ")} first`,
    { path: fn.plan.path },
  );
}

function requestOf(plan: FunctionPlan, plans: readonly FunctionPlan[]): DeviceRequest {
  const { device, options, id, root, parent, devfn, sharesSlot, shadows } = plan;
  const bus = plans.find(({ path }) => path === parent)?.id ?? null;
  return {
    device,
    options,
    sharesSlot,
    shadows,
    sbdf: root ?? (devfn as DeviceRequest["sbdf"]),
    ...(id === null ? {} : { id }),
    ...(bus === null ? {} : { bus }),
  };
}
