// SPDX-License-Identifier: MIT
/** What this machine has and lacks, for `ioreqd doctor`. */

import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { messageOf } from "../base/errors.js";
import { XENSIM_LIBRARIES } from "../base/place.js";
import { loadAddon } from "./addon.js";
import { type DeviceNode, EVTCHN, PRIVCMD } from "./errno.js";
import { ADAPTERS, type AdapterName, openAdapter } from "./ffi/index.js";
import type { FfiAdapter, LibraryTable } from "./ffi/table.js";
import { ADDON_PATH, locate, simulatedLibraries, xensimSocket } from "./libraries.js";
import { NativeXen } from "./native.js";
import { libxendevicemodel } from "./tables/libxendevicemodel.js";
import { libxenevtchn } from "./tables/libxenevtchn.js";
import { libxenforeignmemory } from "./tables/libxenforeignmemory.js";
import { libxentoolcore } from "./tables/libxentoolcore.js";

export interface Check {
  readonly name: string;
  readonly ok: boolean;
  /** Whether a guest can be served without it. */
  readonly needed: boolean;
  /** What was found, or what is wrong. */
  readonly detail: string;
  /** What to do about it; empty when nothing is to be done. */
  readonly fix: string;
}

const OLDEST_NODE = 20;
const LIBRARIES: readonly LibraryTable[] = [libxendevicemodel, libxenforeignmemory, libxenevtchn, libxentoolcore];

/** All checks, in the order in which they are best mended. Nothing is changed; nothing throws. */
export function probeHost(): Check[] {
  const adapters = ADAPTERS.map((name) => ({ name, ...attempt(() => openAdapter(name)) }));
  const ffi = adapters.find(({ name }) => name === "koffi")?.value;
  return [
    nodeVersion(),
    result("addon", attempt(loadAddon), { detail: ADDON_PATH, fix: "npm run build (needs cc and make)" }),
    ...adapters.map(({ name, ...tried }) => adapter(name, tried)),
    ...(ffi === undefined ? [] : LIBRARIES.map((table) => library(ffi, table))),
    ...(xensimSocket() === undefined ? realHost() : [simulatedHost(ffi)]),
    xensim(),
  ];
}

function nodeVersion(): Check {
  const major = Number.parseInt(process.versions.node, 10);
  const ok = major >= OLDEST_NODE;
  return {
    name: "Node.js",
    ok,
    needed: true,
    detail: process.version,
    fix: ok ? "" : `install Node.js ${OLDEST_NODE} or later`,
  };
}

function adapter(name: AdapterName, tried: Attempt<FfiAdapter>): Check {
  const needed = name === "koffi";
  const detail = needed ? "loaded" : "loaded; slower, used with --ffi ffi-napi";
  // The error says itself what to install.
  const check = result(`adapter ${name}`, tried, {
    detail,
    fix: needed ? "npm install" : "nothing, unless --ffi ffi-napi is wanted",
  });
  return { ...check, needed };
}

function library(ffi: FfiAdapter, table: LibraryTable): Check {
  const path = locate(table.soname);
  return result(
    table.soname,
    attempt(() => ffi.bind(table)),
    { detail: path === table.soname ? "found by the loader" : path, fix: `apt install ${table.debian}` },
  );
}

function realHost(): Check[] {
  return [hypervisor(), controlDomain(), deviceNode(PRIVCMD), deviceNode(EVTCHN)];
}

function hypervisor(): Check {
  const type = read("/sys/hypervisor/type");
  return {
    name: "Xen",
    ok: type === "xen",
    needed: true,
    detail: type === "xen" ? "this kernel runs on Xen" : "this kernel does not run on Xen",
    fix:
      type === "xen" ? "" : "boot Xen and run in dom0; without Xen, ioreqd demo and ioreqd sim run on a simulated one",
  };
}

function controlDomain(): Check {
  const capabilities = read("/proc/xen/capabilities");
  const ok = capabilities?.includes("control_d") === true;
  const detail = ok
    ? "this is the control domain"
    : capabilities === undefined
      ? "/proc/xen is not there"
      : "this domain does not control others";
  const fix = ok
    ? ""
    : capabilities === undefined
      ? "mount -t xenfs xenfs /proc/xen (modprobe xenfs)"
      : "run in dom0, or in a stub domain of the guest";
  // A stub domain may serve its own guest.
  return { name: "control domain", ok, needed: false, detail, fix };
}

function deviceNode({ node, module }: DeviceNode): Check {
  if (!existsSync(node)) {
    return { name: node, ok: false, needed: true, detail: "there is no such node", fix: `modprobe ${module}, in dom0` };
  }
  const tried = attempt(() => accessSync(node, constants.R_OK | constants.W_OK));
  return result(node, tried, { detail: "readable and writable", fix: `run as root, or give this user ${node}` });
}

function simulatedHost(ffi: FfiAdapter | undefined): Check {
  const socket = xensimSocket() as string;
  const name = "simulated host";
  if (!simulatedLibraries()) {
    const detail = `XENSIM_SOCKET is ${socket}, but the libraries that would be loaded are not the simulated ones`;
    return {
      name,
      ok: false,
      needed: true,
      detail,
      fix: `npm run build, which makes them in ${XENSIM_LIBRARIES}; or unset XENSIM_SOCKET`,
    };
  }
  const tried = attempt(() => {
    if (ffi !== undefined) new NativeXen(ffi).close();
  });
  return result(name, tried, {
    detail: `answers at ${socket}`,
    fix: "start it (ioreqd sim), or unset XENSIM_SOCKET to use the real Xen",
  });
}

/** Whether a simulated host could be started here. */
function xensim(): Check {
  const ok = existsSync(XENSIM_LIBRARIES);
  const detail = ok ? `built in ${XENSIM_LIBRARIES}` : "not built";
  return { name: "xensim", ok, needed: false, detail, fix: ok ? "" : "npm run build, to try devices without Xen" };
}

interface Attempt<T> {
  readonly value?: T;
  readonly error?: unknown;
}

function attempt<T>(what: () => T): Attempt<T> {
  try {
    return { value: what() };
  } catch (error) {
    return { error };
  }
}

function result(name: string, tried: Attempt<unknown>, { detail, fix }: { detail: string; fix: string }): Check {
  return "error" in tried
    ? { name, ok: false, needed: true, detail: messageOf(tried.error), fix }
    : { name, ok: true, needed: true, detail, fix: "" };
}

function read(path: string): string | undefined {
  return attempt(() => readFileSync(path, "utf8").trim()).value;
}
